"""Connections to a Redis server: calls that are made again, what is told meanwhile, what ends at once."""

from __future__ import annotations

import logging
import os
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import redis
from fake_redis import FakeRedis, bulk
from redis_server import RedisServer

from liteq.errors import (
    ConfigurationError,
    StoreBusyError,
    StoreError,
    StoreFullError,
    StoreUnavailableError,
    StoreUnreachableError,
)
from liteq.transports.redis import connection as connection_module
from liteq.transports.redis.connection import Connection
from liteq.transports.redis.dialing import Dialer
from liteq.transports.redis.scripts import Script
from liteq.urls import read_redis_url

Connect = Callable[..., Connection]
Start = Callable[..., RedisServer]

PATIENCE = 10.0


@pytest.fixture
def connect() -> Iterator[Connect]:
    """Make connections that are closed at the end of the test."""
    made: list[Connection] = []

    def make(url: str, patience: float = PATIENCE, **secrets: str) -> Connection:
        made.append(Connection(read_redis_url(url, **secrets), patience))
        return made[-1]

    yield make
    for each in made:
        each.close()


def script(connection: Connection, source: str) -> str:
    """Let the connection know a script under a name."""
    connection._scripts["own"] = Script(source.encode(), connection.key)
    return "own"


def count_calls(connection: Connection) -> str:
    """A script that counts how often it runs, and returns that with its arguments."""
    return script(connection, "return {redis.call('INCR', KEYS[1] .. ':runs'), unpack(ARGV)}")


class Restarting(threading.Thread):
    """Starts a server when somebody is known to miss it."""

    def __init__(self, server: RedisServer, missed: threading.Event) -> None:
        super().__init__()
        self._server, self._missed = server, missed

    def run(self) -> None:
        if self._missed.wait(PATIENCE):
            self._server.start()


@pytest.fixture
def missed() -> Iterator[threading.Event]:
    """Set once somebody has logged that a server cannot be reached."""
    event = threading.Event()

    class Watch(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            if "cannot be reached" in record.getMessage():
                event.set()

    watch = Watch()
    logging.getLogger("liteq").addHandler(watch)
    yield event
    logging.getLogger("liteq").removeHandler(watch)


# ---- calls -------------------------------------------------------------------------------------------


def test_a_call_carries_an_id_of_its_own_and_arrives_byte_for_byte(connect: Connect, redis_url: str) -> None:
    connection = connect(redis_url)
    name = count_calls(connection)
    values = (b"\x00\xff\r\n", "a\udcff", 2**53, 0.1 + 0.2, 1e300)

    first = connection.run(name, values)
    second = connection.run(name, values)

    assert first[0] == 1
    assert first[2:5] == [b"0", b"\x00\xff\r\n", b"a\xff"]
    assert first[5:] == [b"9007199254740992", b"0.30000000000000004", b"1e+300"]
    assert second[0] == 2
    assert first[1] != second[1]


def test_a_call_that_only_reads_gets_its_arguments_alone(connect: Connect, redis_url: str) -> None:
    connection = connect(redis_url)

    assert connection.run(count_calls(connection), ("a",), mutates=False) == [1, b"a"]


def test_a_script_that_the_server_has_forgotten_is_sent_again(
    connect: Connect, redis_server: RedisServer
) -> None:
    connection = connect(redis_server.url())
    name = count_calls(connection)
    connection.run(name, ())
    redis_server.ask("SCRIPT", "FLUSH")

    assert connection.run(name, ())[::2] == [2, b"0"]


def test_threads_do_not_hear_each_others_answers(connect: Connect, redis_url: str) -> None:
    connection = connect(redis_url)
    name = script(connection, "return ARGV[3]")
    heard: dict[int, set[bytes]] = {}

    def ask(number: int) -> None:
        heard[number] = {connection.run(name, (number,)) for _ in range(100)}

    threads = [threading.Thread(target=ask, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert heard == {number: {b"%d" % number} for number in range(8)}


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system does not fork")
@pytest.mark.filterwarnings("ignore:.*multi-threaded.*fork:DeprecationWarning")
def test_a_forked_child_has_connections_and_ids_of_its_own(connect: Connect, redis_url: str) -> None:
    connection = connect(redis_url)
    name = count_calls(connection)
    first = connection.run(name, ())
    reading, writing = os.pipe()

    child = os.fork()
    if not child:
        try:
            os.write(writing, b"%d %s" % tuple(connection.run(name, ())[:2]))
        finally:
            os._exit(0)
    os.waitpid(child, 0)
    told = os.read(reading, 100).split()
    for end in (reading, writing):
        os.close(end)

    assert told[0] == b"2"
    assert told[1] != first[1]
    assert connection.run(name, ())[0] == 3


# ---- an outage ---------------------------------------------------------------------------------------


def test_a_call_waits_for_a_server_that_comes_back(
    connect: Connect, start_redis: Start, missed: threading.Event, caplog: pytest.LogCaptureFixture
) -> None:
    server = start_redis("--appendonly", "yes", "--appendfsync", "always")
    connection = connect(server.url())
    name = count_calls(connection)
    connection.run(name, ())
    server.kill()
    restarting = Restarting(server, missed)
    restarting.start()

    answer = connection.run(name, ())
    restarting.join()

    # The connection broke under the call, so that it may have run before: here it had not.
    assert (answer[0], answer[2]) == (2, b"1")
    told = [record.getMessage() for record in caplog.records]
    assert len(told) == 2
    assert "cannot be reached" in told[0]
    assert "serves again" in told[1]


def test_a_call_whose_answer_was_lost_is_made_again_under_its_id(connect: Connect) -> None:
    answers = iter([None, b":7\r\n"])
    with FakeRedis(lambda words: next(answers)) as server:
        connection = connect(server.url)

        assert connection.run(count_calls(connection), ("a",)) == 7

        first, second = (words[4:] for words in server.asked)
    assert first[0] == second[0]
    assert (first[1:], second[1:]) == ([b"0", b"a"], [b"1", b"a"])


@pytest.mark.parametrize(
    "refusal",
    [
        b"-LOADING Redis is loading the dataset in memory\r\n",
        b"-BUSY Redis is busy running a script.\r\n",
        b"-MASTERDOWN Link with MASTER is down\r\n",
        b"-CLUSTERDOWN The cluster is down\r\n",
        b"-TRYAGAIN Multiple keys request during rehashing of slot\r\n",
        b"-READONLY You can't write against a read only replica.\r\n",
        b"-NOREPLICAS Not enough good replicas to write.\r\n",
        b"-ERR Error running script (call to f_1): @user_script:1: -LOADING Redis is loading\r\n",
        b"-ERR max number of clients reached\r\n",
    ],
)
def test_what_passes_is_waited_out_and_such_a_call_was_not_done(connect: Connect, refusal: bytes) -> None:
    answers = iter([refusal, b":7\r\n"])
    with FakeRedis(lambda words: next(answers)) as server:
        connection = connect(server.url)

        assert connection.run(count_calls(connection), ()) == 7

        assert [words[5] for words in server.asked] == [b"0", b"0"]


def test_a_server_that_does_not_serve_in_time_is_a_typed_error(connect: Connect, start_redis: Start) -> None:
    server = start_redis()
    server.stop()
    connection = connect(server.url(), patience=0.05)

    for builtin in (StoreBusyError, ConnectionError, TimeoutError):
        with pytest.raises(builtin, match=r"did not serve within 0\.05 s") as caught:
            connection.run(count_calls(connection), ())
        assert type(caught.value) is StoreUnreachableError
        # Nothing was sent, so there is no doubt.
        assert "may have been done" not in str(caught.value)


def test_a_call_to_a_server_that_stays_silent_ends_in_doubt(connect: Connect, start_redis: Start) -> None:
    server = start_redis()
    connection = connect(server.url(socket_timeout=0.05), patience=0.01)
    name = count_calls(connection)
    connection.run(name, ())
    server.freeze()

    with pytest.raises(StoreUnreachableError, match="may have been done"):
        connection.run(name, ())

    server.thaw()
    assert connection.run(name, ())[0] >= 2


def test_a_silent_server_is_given_up_with_a_redis_py_that_forgets_how_long_to_wait(
    connect: Connect, start_redis: Start, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Forgetful(redis.UnixDomainSocketConnection):
        """As in redis-py 5.0; with a limit of its own, so that this test ends whatever happens."""

        def __init__(self, socket_timeout: float | None = None, **options: Any) -> None:
            super().__init__(socket_timeout=2 * PATIENCE, **options)

    monkeypatch.setattr(redis, "UnixDomainSocketConnection", Forgetful)
    link = connect(start_redis().url(socket_timeout=0.05)).dial()
    link.disconnect()

    assert link.socket_timeout == 0.05


def test_attempts_become_rarer_and_never_spin(connect: Connect, monkeypatch: pytest.MonkeyPatch) -> None:
    slept: list[float] = []
    monkeypatch.setattr(connection_module.time, "sleep", slept.append)
    with FakeRedis(lambda words: b"-LOADING\r\n" if len(slept) < 12 else b":7\r\n") as server:
        assert connect(server.url).command("PING") == 7

    assert 0.005 <= slept[0] <= 0.01
    assert all(0.25 <= pause <= 0.5 for pause in slept[6:])


def test_a_closed_connection_says_so(connect: Connect, redis_url: str) -> None:
    connection = connect(redis_url)
    connection.command("PING")
    connection.close()
    connection.close()

    with pytest.raises(StoreUnavailableError, match="was closed"):
        connection.command("PING")


# ---- what does not pass ------------------------------------------------------------------------------


def test_a_full_server_is_full_at_once_and_nothing_is_stored(connect: Connect, start_redis: Start) -> None:
    server = start_redis("--maxmemory", "1")
    connection = connect(server.url())

    with pytest.raises(StoreFullError, match=r"nothing of this call was stored.*maxmemory"):
        connection.run(count_calls(connection), ())

    server.ask("CONFIG", "SET", "maxmemory", "0")
    assert connection.run(count_calls(connection), ())[0] == 1


@pytest.mark.parametrize("refusal", [b"-OOM command not allowed", b"-MISCONF Redis is configured to save"])
def test_a_script_that_finds_no_room_says_so_in_every_version(connect: Connect, refusal: bytes) -> None:
    code, _, said = refusal.partition(b" ")
    old = b"-ERR Error running script (call to f_1f): @user_script:1: @user_script: 1: %s %s" % (code, said)
    for spoken in (refusal, old):
        with FakeRedis(lambda words, spoken=spoken: spoken + b"\r\n") as server:  # type: ignore[misc]
            connection = connect(server.url)
            with pytest.raises(StoreFullError):
                connection.run(count_calls(connection), ())
            assert len(server.asked) == 1


def test_a_wrong_password_is_an_error_at_once_that_shows_none(
    connect: Connect, start_redis: Start, caplog: pytest.LogCaptureFixture
) -> None:
    server = start_redis("--requirepass", "right")

    for url in (server.url(password="wrong-secret"), server.url()):
        with pytest.raises(StoreUnavailableError, match="user or the password") as caught:
            connect(url).command("PING")
        assert "wrong-secret" not in str(caught.value) + caplog.text
    for url, secrets in ((server.url(password="right"), {}), (server.url(), {"password": "right"})):
        assert connect(url, **secrets).command("PING") == b"PONG"


def test_a_long_call_without_the_password_that_a_server_wants_by_now_is_told_as_such(
    connect: Connect,
) -> None:
    said = b"-ERR Protocol error: unauthenticated multibulk length\r\n"
    with FakeRedis(lambda words: said) as server, pytest.raises(StoreUnavailableError, match="wants one"):
        connect(server.url).command(*"abcdefghijklm")


def test_what_a_user_may_not_do_is_an_error_at_once(connect: Connect, redis_server: RedisServer) -> None:
    redis_server.ask("ACL", "SETUSER", "reader", "on", ">pass", "~*", "+ping", "+select")
    connection = connect(redis_server.url(username="reader", password="pass"))
    try:
        assert connection.command("PING") == b"PONG"
        with pytest.raises(StoreUnavailableError, match="access rules"):
            connection.run(count_calls(connection), ())
    finally:
        redis_server.ask("ACL", "DELUSER", "reader")


def test_what_a_user_may_not_do_in_a_script_is_told_as_such(
    connect: Connect, redis_server: RedisServer
) -> None:
    redis_server.ask("ACL", "SETUSER", "half", "on", ">secret", "~*", "+@all", "-incr")
    connection = connect(redis_server.url(username="half", password="secret"))

    with pytest.raises(StoreUnavailableError, match="access rules"):
        connection.run(count_calls(connection), ())


def test_an_error_of_a_script_is_told_once(connect: Connect, redis_url: str) -> None:
    connection = connect(redis_url)

    with pytest.raises(StoreError, match="no such thing"):
        connection.run(script(connection, "return redis.error_reply('ERR no such thing')"), ())


def test_a_file_that_a_url_names_and_that_is_not_there_is_an_error_at_once(connect: Connect) -> None:
    with pytest.raises(ConfigurationError, match=r"there is no file /no/ca\.pem \(ssl_ca_certs\)"):
        connect("rediss://host?ssl_ca_certs=/no/ca.pem")


@pytest.mark.parametrize("option", ["ssl_ca_certs", "ssl_certfile"])
def test_a_file_for_tls_that_is_of_no_use_is_an_error_at_once(
    connect: Connect, tmp_path: Path, option: str
) -> None:
    """And not at each attempt, of which a worker makes one after the other."""
    (tmp_path / "no.pem").write_text("this is no certificate")

    with pytest.raises(ConfigurationError, match="files for TLS cannot be used"):
        connect(f"rediss://localhost:1/0?{option}={tmp_path / 'no.pem'}")


def test_a_key_for_tls_without_its_certificate_is_an_error_at_once(connect: Connect, tmp_path: Path) -> None:
    (tmp_path / "key.pem").touch()

    with pytest.raises(ConfigurationError, match="without ssl_certfile"):
        connect(f"rediss://localhost:1/0?ssl_keyfile={tmp_path / 'key.pem'}")


def test_a_connection_that_is_refused_for_good_is_not_announced_as_an_outage(
    connect: Connect, start_redis: Start, caplog: pytest.LogCaptureFixture
) -> None:
    server = start_redis("--requirepass", "right")
    with pytest.raises(StoreUnavailableError):
        connect(server.url(password="wrong")).command("PING")
    assert not caplog.records


# ---- several servers ---------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["redis+cluster", "redis"])
def test_a_node_that_names_another_is_believed(connect: Connect, kind: str) -> None:
    with FakeRedis(lambda words: b":7\r\n") as right:
        moved = f"-MOVED 1234 127.0.0.1:{right.port}\r\n".encode()
        with FakeRedis(lambda words: moved) as wrong:
            connection = connect(f"{kind}://127.0.0.1:{wrong.port}")
            name = count_calls(connection)

            assert [connection.run(name, ()) for _ in range(3)] == [7, 7, 7]

            assert (len(wrong.asked), len(right.asked)) == (1, 3)


def test_a_node_that_has_some_of_the_keys_is_not_asked_before_it_has_all(connect: Connect) -> None:
    with FakeRedis(lambda words: b":7\r\n") as importing:
        answers = iter([f"-{what} 1234 127.0.0.1:{importing.port}\r\n".encode() for what in ("ASK", "MOVED")])
        with FakeRedis(lambda words: next(answers)) as leaving:
            connection = connect(f"redis+cluster://127.0.0.1:{leaving.port}")

            assert connection.run(count_calls(connection), ()) == 7

            assert (len(leaving.asked), len(importing.asked)) == (2, 1)


def test_a_node_that_is_gone_is_replaced_by_another_of_the_url(connect: Connect) -> None:
    with FakeRedis(lambda words: b":7\r\n") as living:
        with FakeRedis(lambda words: b":1\r\n") as dead:
            pass
        connection = connect(f"redis+cluster://127.0.0.1:{dead.port},127.0.0.1:{living.port}")

        assert connection.run(count_calls(connection), ()) == 7


def test_threads_that_learn_one_after_the_other_of_a_node_that_is_gone_all_turn_to_the_next() -> None:
    """Or every second of them would turn back, and wait for the same silent node again."""
    with FakeRedis(lambda words: b":7\r\n") as gone, FakeRedis(lambda words: b":7\r\n") as living:
        hosts = f"127.0.0.1:{gone.port},127.0.0.1:{living.port}"
        dialer = Dialer(read_redis_url(f"redis+cluster://{hosts}"), PATIENCE)

        for _ in range(2):
            dialer.turn_away(("127.0.0.1", gone.port))
        link = dialer.dial()
        link.disconnect()

        assert link.port == living.port


def test_a_node_that_was_silent_is_not_asked_again_before_another_has_said_who_has_the_queue(
    connect: Connect,
) -> None:
    with FakeRedis(lambda words: b":7\r\n") as new:
        moved = f"-MOVED 1234 127.0.0.1:{new.port}\r\n".encode()
        with FakeRedis(lambda words: None) as frozen, FakeRedis(lambda words: moved) as other:
            connection = connect(f"redis+cluster://127.0.0.1:{frozen.port},127.0.0.1:{other.port}")

            assert connection.run(count_calls(connection), ()) == 7

            assert [len(node.asked) for node in (frozen, other, new)] == [1, 1, 1]


def master(words: list[bytes]) -> bytes:
    return b"*3\r\n$6\r\nmaster\r\n:0\r\n*0\r\n" if words == [b"ROLE"] else b":7\r\n"


def former_master(words: list[bytes]) -> bytes:
    return b"*1\r\n$5\r\nslave\r\n" if words == [b"ROLE"] else b"-READONLY replica\r\n"


def names(server: FakeRedis) -> bytes:
    return b"*2\r\n" + bulk("127.0.0.1") + bulk(str(server.port))


def test_sentinels_are_asked_for_the_master_until_they_name_one(connect: Connect) -> None:
    with FakeRedis(master) as new, FakeRedis(former_master) as old:
        answers = iter([names(old), names(old), names(new)])
        with FakeRedis(lambda words: next(answers)) as sentinel:
            with FakeRedis(lambda words: b":1\r\n") as dead:
                pass
            hosts = f"127.0.0.1:{dead.port},127.0.0.1:{sentinel.port}"
            connection = connect(f"redis+sentinel://{hosts}/mymaster")

            assert connection.run(count_calls(connection), ()) == 7

            assert sentinel.asked[0] == [b"SENTINEL", b"GET-MASTER-ADDR-BY-NAME", b"mymaster"]
            assert all(words == [b"ROLE"] for words in old.asked)


def test_a_service_that_no_sentinel_knows_is_an_error_at_once(connect: Connect) -> None:
    with FakeRedis(lambda words: b"*-1\r\n") as sentinel:
        connection = connect(f"redis+sentinel://127.0.0.1:{sentinel.port}/misspelt")

        with pytest.raises(StoreUnavailableError, match="know no service 'misspelt'"):
            connection.command("PING")


def test_another_program_is_no_redis(connect: Connect) -> None:
    server = FakeRedis(lambda words: b"HTTP/1.1 400 Bad Request\r\n")
    with server, pytest.raises(StoreUnavailableError, match="another program than Redis"):
        connect(server.url).command("PING")
