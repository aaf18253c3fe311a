"""Opening a queue on Redis: which servers and keys carry one, what is warned of, what the doctor finds."""

from __future__ import annotations

import logging
import re
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from fake_redis import FakeRedis, bulk
from redis_server import RedisServer

from liteq.app import opening as app_opening
from liteq.app.opening import open_for_workers, open_transport
from liteq.errors import NewerStoreError, NotAQueueError, StoreUnavailableError, StoreUnreachableError
from liteq.job import ClaimRequest, NewJob, WorkerInfo
from liteq.transport import Transport
from liteq.transports.redis import opening

Start = Callable[..., RedisServer]
Open = Callable[..., Transport]


@pytest.fixture(autouse=True)
def nothing_said_yet(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(opening, "_warned", set())


@pytest.fixture
def open_queue() -> Iterator[Open]:
    """Open queues that are closed at the end of the test."""
    opened: list[Transport] = []

    def make(url: str, **settings: object) -> Transport:
        opened.append(open_transport(url, **{"busy_timeout": 5.0, **settings}))
        return opened[-1]

    yield make
    for each in opened:
        each.close()


def found(transport: Transport) -> dict[str, tuple[bool, str]]:
    """What the doctor finds, by what was looked at."""
    return {finding.check: (finding.ok, finding.detail) for finding in transport.diagnose(time.time())}


# ---- servers -----------------------------------------------------------------------------------------


def info(**facts: object) -> Callable[[list[bytes]], bytes]:
    """Answer INFO with these facts, and everything else with an error."""
    text = "# Server\r\n" + "".join(f"{name}:{value}\r\n" for name, value in facts.items())
    return lambda words: bulk(text) if words == [b"INFO"] else b"-ERR unknown command\r\n"


def test_a_server_that_is_too_old_is_refused_with_what_is_needed(open_queue: Open) -> None:
    old = FakeRedis(info(redis_version="5.0.7", role="master"))
    says = r"this is Redis 5\.0\.7.* Redis 6\.2 or newer, or Valkey"
    with old, pytest.raises(StoreUnavailableError, match=says):
        open_queue(old.url)


def test_valkey_is_taken_for_what_it_is() -> None:
    valkey = FakeRedis(info(redis_version="7.2.4", valkey_version="8.0.1", role="master"))
    with valkey:
        connection = opening.Connection(opening.read_redis_url(valkey.url), 1.0)
        server = opening.ask_server(connection)
        connection.close()

    assert (server.name, server.version) == ("valkey", "8.0.1")
    # It does not tell its settings, as servers for rent mostly do not.
    assert (server.persistence, server.loss, server.evicts) == (
        "unknown; the server does not tell",
        "",
        False,
    )


def test_a_replica_is_refused_with_what_to_name_instead(open_queue: Open, start_redis: Start) -> None:
    server = start_redis()
    server.ask("REPLICAOF", "127.0.0.1", "1")

    with pytest.raises(StoreUnavailableError, match=r"is a replica.*redis\+sentinel://"):
        open_queue(server.url())


def test_a_missing_library_is_one_sentence_that_names_the_extra() -> None:
    code = (
        "import sys; sys.modules['redis'] = None\n"
        "import liteq\n"
        "try: liteq.Queue('redis://host').transport\n"
        "except liteq.ConfigurationError as error: print(error)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "A queue on Redis needs the redis extra: pip install 'liteq-queue[redis]'.\n"


# ---- keys --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("key", ["{liteq}:liteq", "{liteq}:jobs", "{liteq}:token", "{liteq}:closed"])
def test_another_programs_key_is_refused_and_stays(
    open_queue: Open, redis_server: RedisServer, key: str
) -> None:
    redis_server.ask("SET", key, "theirs")

    with pytest.raises(NotAQueueError, match=r"another program's.*prefix"):
        open_queue(redis_server.url())

    assert redis_server.ask("KEYS", "*") == b"*1\r\n$%d\r\n%s\r\n" % (len(key), key.encode())
    assert redis_server.ask("GET", key) == b"$6\r\ntheirs\r\n"
    # Under another prefix there is room.
    open_queue(redis_server.url(prefix="own"))


@pytest.mark.parametrize(
    ("said", "error"), [("2", NewerStoreError), ("0", NotAQueueError), ("x", NotAQueueError)]
)
def test_another_format_is_refused_and_stays(
    open_queue: Open, redis_server: RedisServer, said: str, error: type[Exception]
) -> None:
    redis_server.ask("HSET", "{liteq}:liteq", "format", said)

    with pytest.raises(error, match="format"):
        open_queue(redis_server.url())

    assert redis_server.ask("HGET", "{liteq}:liteq", "format") == b"$1\r\n%s\r\n" % said.encode()


def test_nothing_is_begun_where_that_was_not_asked_for(open_queue: Open, redis_server: RedisServer) -> None:
    with pytest.raises(StoreUnavailableError, match="there is no queue here"):
        open_queue(redis_server.url(), create=False)
    assert redis_server.ask("DBSIZE") == b":0\r\n"

    open_queue(redis_server.url())
    open_queue(redis_server.url(), create=False)


def test_databases_and_prefixes_are_queues_of_their_own(open_queue: Open, redis_server: RedisServer) -> None:
    for options in ({}, {"db": 1}, {"prefix": "other"}):
        transport = open_queue(redis_server.url(**options))
        assert transport.count() == []
        transport.register(WorkerInfo("w", "host", 1, 1), 60.0, time.time())
        assert len(transport.workers()) == 1


# ---- warnings ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("options", "durability", "warnings"),
    [
        (["--appendonly", "yes", "--appendfsync", "always"], "full", []),
        (["--appendonly", "yes", "--appendfsync", "everysec"], "full", ["may lose the last second or two"]),
        (["--appendonly", "yes", "--appendfsync", "everysec"], "normal", []),
        (["--save", "60", "1"], "full", ["may lose all that came after the last snapshot"]),
        ([], "full", ["may lose everything"]),
        ([], "normal", []),
        (["--maxmemory-policy", "allkeys-lru"], "normal", ["throws keys away.*allkeys-lru.*noeviction"]),
    ],
)
def test_what_a_server_may_lose_is_warned_of_once_and_found_by_the_doctor(
    open_queue: Open,
    start_redis: Start,
    caplog: pytest.LogCaptureFixture,
    options: list[str],
    durability: str,
    warnings: list[str],
) -> None:
    server = start_redis(*options)
    for _ in range(2):
        transport = open_queue(server.url(), durability=durability)

    said = [record.getMessage() for record in caplog.records if record.levelno >= logging.WARNING]
    assert len(said) == len(warnings)
    assert all(re.search(pattern, line) for pattern, line in zip(warnings, said, strict=True))
    checks = found(transport)
    assert checks["eviction"][0] == ("throws" not in "".join(warnings))
    assert checks["durability"][0] == ("lose" not in "".join(warnings))
    banner = dict(transport.describe())
    assert ("may lose" in banner["durability"]) == ("lose" in "".join(warnings))
    assert ("eviction" in banner) == ("throws" in "".join(warnings))


def test_who_comes_to_look_is_not_warned(
    open_queue: Open, redis_server: RedisServer, caplog: pytest.LogCaptureFixture
) -> None:
    open_queue(redis_server.url(), durability="normal")
    open_queue(redis_server.url(), create=False)
    assert not caplog.records


def test_a_server_that_is_nearly_full_is_found(open_queue: Open, start_redis: Start) -> None:
    server = start_redis("--maxmemory", "100mb")
    transport = open_queue(server.url(), durability="normal")
    assert found(transport)["memory"][0]

    server.ask("CONFIG", "SET", "maxmemory", "1000000")

    ok, detail = found(transport)["memory"]
    assert not ok
    assert detail.endswith("of 1.0 MB")


def test_a_healthy_server_is_found_healthy(open_queue: Open, start_redis: Start) -> None:
    server = start_redis("--appendonly", "yes", "--appendfsync", "always")
    transport = open_queue(server.url())

    assert all(ok for ok, _ in found(transport).values())
    assert dict(transport.describe())["redis"] == server.url()


def test_a_user_with_the_rights_that_the_guide_lists_can_do_everything(
    open_queue: Open, redis_server: RedisServer
) -> None:
    guide = (Path(__file__).parents[2] / "docs" / "guides" / "redis.md").read_text(encoding="utf-8")
    line = next(line for line in guide.splitlines() if line.startswith("ACL SETUSER shop"))
    assert redis_server.ask(*line.split()) == b"+OK\r\n"
    try:
        transport = open_queue(redis_server.url(username="shop", password="password"))
        now = time.time()
        listener = transport.listen_for_jobs()
        listener.arm()
        job = NewJob("1", "task", b"")
        assert transport.enqueue([job], now) == [True]
        assert listener.wait(10)
        holder = transport.register(WorkerInfo("w", "host", 1, 1), 60.0, now)
        (claim,) = transport.claim(holder, ClaimRequest({"task": 1}), now)
        assert claim.id == "1"
        assert transport.revoke(["1"], now, "why") == [False]
        with transport.lead() as leads:
            assert leads
        assert found(transport)["format"][0]
        assert transport.describe()
        assert transport.purge(None, now) == 0
        transport.tend(now)
    finally:
        redis_server.ask("ACL", "DELUSER", "shop")


def test_a_user_who_may_not_publish_is_told_so_before_anything_is_stored(
    open_queue: Open, redis_server: RedisServer
) -> None:
    redis_server.ask("ACL", "SETUSER", "mute", "on", ">pw", "~*", "resetchannels", "+@all")
    try:
        with pytest.raises(StoreUnavailableError, match="access rules"):
            open_queue(redis_server.url(username="mute", password="pw"))
    finally:
        redis_server.ask("ACL", "DELUSER", "mute")
    assert redis_server.ask("DBSIZE") == b":0\r\n"


def test_a_task_waits_longer_for_its_server_than_its_worker_does(
    start_redis: Start, monkeypatch: pytest.MonkeyPatch
) -> None:
    server = start_redis("--appendonly", "yes", "--appendfsync", "always")
    monkeypatch.setattr(app_opening, "WORKER_PATIENCE", 0.01)
    with open_for_workers(server.url(), over=lambda: True, busy_timeout=30.0) as transport:
        now = time.time()
        transport.enqueue([NewJob("1", "task", b"")], now)
        holder = transport.register(WorkerInfo("w", "host", 1, 1), 60.0, now)
        (claim,) = transport.claim(holder, ClaimRequest({"task": 1}), now)
        server.kill()
        with pytest.raises(StoreUnreachableError):
            transport.leases(holder)
        starting = threading.Timer(0.1, server.start)
        starting.start()

        assert transport.update_state(claim.seq, claim.token, "HALFWAY", None)
        starting.join()


def test_a_server_that_is_given_up_is_told(start_redis: Start) -> None:
    server = start_redis()
    server.stop()
    asked: list[bool] = []

    with pytest.raises(StoreUnreachableError):
        open_for_workers(server.url(), over=lambda: asked.append(True) or len(asked) == 3, busy_timeout=0.01)
    assert len(asked) == 3
