"""Lives, slots and offices of workers whose jobs are on Redis: of one machine, and of others."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from redis_server import RedisServer

from liteq.app.opening import open_transport
from liteq.errors import StoreUnavailableError
from liteq.job import Running, WorkerInfo
from liteq.transports.local import machine
from liteq.transports.redis import liveness, offices
from liteq.transports.redis.connection import Connection
from liteq.transports.redis.liveness import FOLDER_VARIABLE, Liveness
from liteq.transports.redis.offices import Offices
from liteq.urls import read_redis_url

PATIENCE = 10.0
PLACE = "redis://host:6379/0"


@pytest.fixture(autouse=True)
def runtime(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder for runtime folders."""
    folder = tmp_path / "run"
    folder.mkdir(mode=0o700)
    monkeypatch.setenv(FOLDER_VARIABLE, str(folder))
    return folder


@pytest.fixture
def lives() -> Iterator[Liveness]:
    with_worker = Liveness(PLACE)
    with_worker.claim(7)
    yield with_worker
    with_worker.close()


def files(runtime: Path) -> list[str]:
    return sorted(path.name for path in runtime.rglob("*") if path.is_file() and path.name != "id")


def test_a_worker_lives_as_long_as_it_says(lives: Liveness, runtime: Path) -> None:
    other = Liveness(PLACE)
    host = lives.host_id
    assert host == other.host_id
    assert other.is_alive(7, host) is True
    # Of one that nobody has seen begin, nothing is known.
    assert other.is_alive(8, host) is None

    lives.close()
    assert other.is_alive(7, host) is False

    lives.claim(9)
    lives.release(9)
    lives.release(9)
    assert other.is_alive(9, host) is None
    assert files(runtime) == ["life-7"]


def test_the_end_of_a_process_ends_the_life_of_its_worker(runtime: Path) -> None:
    code = (
        "import sys; from liteq.transports.redis.liveness import Liveness\n"
        f"lives = Liveness({PLACE!r}); lives.claim(3); slot = lives.slot(3); slot.begin(5, 6, None)\n"
        "print(lives.host_id, flush=True); sys.stdin.read()"
    )
    command = [sys.executable, "-c", code]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        host = process.stdout.readline().strip()
        ours = Liveness(PLACE)
        assert ours.host_id == host
        assert ours.is_alive(3, host) is True
        process.kill()
        process.wait()

        assert ours.is_alive(3, host) is False
        running = ours.running(3)
        assert running is not None
        assert running[:2] == (5, 6)
        assert ours.is_trusted(3, host)


def test_a_slot_tells_what_runs_to_everyone_on_the_machine(lives: Liveness) -> None:
    other = Liveness(PLACE)
    slot = lives.slot(7)
    assert other.running(7, lives.host_id) is None
    slot.begin(1, 2, 3.0)
    told = other.running(7, lives.host_id)
    assert isinstance(told, Running)
    assert (told.seq, told.token, told.deadline) == (1, 2, 3.0)
    slot.clear()
    assert other.running(7, lives.host_id) is None
    slot.close()


def test_stores_have_folders_of_their_own(lives: Liveness) -> None:
    other = Liveness(PLACE + "?prefix=other")
    other.claim(7)
    lives.close()

    assert other.is_alive(7, other.host_id) is True
    assert lives.host_id != other.host_id
    other.close()


def test_who_does_not_share_the_folder_is_on_another_host(
    lives: Liveness, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    host = lives.host_id
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.setenv(FOLDER_VARIABLE, str(tmp_path / "elsewhere"))
    other = Liveness(PLACE)

    assert other.is_alive(7, host) is None
    assert other.host_id != host
    assert other.is_alive(7, host) is None
    assert other.running(7, host) is None
    assert not other.is_trusted(7, host)


@pytest.mark.parametrize(
    ("what", "is_alive"), [("machine_id", None), ("boot_id", False)], ids=["another machine", "a restart"]
)
def test_a_folder_seen_from_another_kernel(
    lives: Liveness, monkeypatch: pytest.MonkeyPatch, what: str, is_alive: bool | None
) -> None:
    monkeypatch.setattr(liveness, "machine_id", lambda: "this")
    host = lives.host_id

    monkeypatch.setattr(liveness, what, lambda: "another")

    assert Liveness(PLACE).is_alive(7, host) is is_alive
    assert not Liveness(PLACE).is_trusted(7, host)


def test_where_machines_cannot_be_told_apart_a_restart_proves_no_death(
    lives: Liveness, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(liveness, "machine_id", lambda: "")
    host = lives.host_id

    monkeypatch.setattr(liveness, "boot_id", lambda: "another")

    assert Liveness(PLACE).is_alive(7, host) is None


def test_a_lock_that_its_worker_has_not_taken_yet_proves_no_death(lives: Liveness, runtime: Path) -> None:
    (life,) = runtime.rglob("life-7")
    life.with_name("life-8").touch(mode=0o600)

    assert lives.is_alive(8, lives.host_id) is None


def test_files_of_those_who_are_gone_are_removed_and_no_others(
    lives: Liveness, runtime: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    gone = Liveness(PLACE)
    gone.claim(1)
    gone.slot(1).begin(1, 1, None)
    gone.claim(2)
    gone.close()
    lives.slot(7)

    lives.tidy([2])
    assert files(runtime) == ["life-1", "life-2", "life-7", "slot-1", "slot-7"]

    monkeypatch.setattr(liveness, "SETTLED_AFTER", -1.0)
    lives.tidy([2, 7])
    assert files(runtime) == ["life-2", "life-7", "slot-7"]
    lives.tidy([])
    # Whoever lives keeps its life, whatever the store says of it.
    assert files(runtime) == ["life-7"]


def test_processes_that_come_at_once_agree_on_the_folders_id(runtime: Path) -> None:
    code = f"from liteq.transports.redis.liveness import Liveness; print(Liveness({PLACE!r}).host_id)"
    started = [
        subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True) for _ in range(4)
    ]
    assert len({process.communicate()[0] for process in started}) == 1


@pytest.mark.skipif(os.name != "posix", reason="modes of folders say nothing on this system")
def test_a_folder_that_others_can_write_is_not_used(lives: Liveness, runtime: Path) -> None:
    folder = next(runtime.iterdir())
    folder.chmod(0o777)

    with pytest.raises(StoreUnavailableError, match=f"open to others.*{FOLDER_VARIABLE}"):
        Liveness(PLACE).claim(1)
    assert Liveness(PLACE).is_alive(7, lives.host_id) is None


def test_this_machine_has_an_id_or_none() -> None:
    assert isinstance(machine.machine_id(), str)
    assert isinstance(machine.boot_id(), str)


# ---- offices -----------------------------------------------------------------------------------------


@pytest.fixture
def office_of(redis_server: RedisServer) -> Iterator[Callable[[], Offices]]:
    made: list[tuple[Offices, Connection]] = []

    def make() -> Offices:
        connection = Connection(read_redis_url(redis_server.url()), 5.0)
        made.append((Offices(connection), connection))
        return made[-1][0]

    yield make
    for each, connection in made:
        each.close()
        connection.close()


def until(reached: Callable[[], bool]) -> None:
    """Wait until something has happened in another thread."""
    give_up = time.monotonic() + PATIENCE
    while not reached():
        assert time.monotonic() < give_up
        time.sleep(0.001)


def test_an_office_is_renewed_while_it_is_held_and_free_afterwards(
    office_of: Callable[[], Offices], redis_server: RedisServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(offices, "RENEW_EVERY", 0.02)
    one, other = office_of(), office_of()
    key = "{liteq}:office:upkeep"
    with one.lead("upkeep") as leads:
        assert leads
        first = one._until.copy()
        until(lambda: one._until != first)
        assert one.keeps("upkeep")
        assert not one.keeps("scheduler")
        with other.lead("upkeep") as leads:
            assert not leads
            assert not other.keeps("upkeep")
    assert redis_server.ask("EXISTS", key) == b":0\r\n"
    assert not one.keeps("upkeep")


def test_an_office_that_somebody_else_has_taken_is_lost_and_left_to_them(
    office_of: Callable[[], Offices], redis_server: RedisServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(offices, "RENEW_EVERY", 0.02)
    ours = office_of()
    with ours.lead("upkeep"):
        redis_server.ask("SET", "{liteq}:office:upkeep", "theirs")
        until(lambda: not ours.keeps("upkeep"))
    assert redis_server.ask("GET", "{liteq}:office:upkeep") == b"$6\r\ntheirs\r\n"


def test_an_office_is_lost_when_its_time_is_over_and_nobody_can_be_asked(
    start_redis: Callable[..., RedisServer], monkeypatch: pytest.MonkeyPatch
) -> None:
    server = start_redis()
    monkeypatch.setattr(offices, "LASTS", 0.1)
    connection = Connection(read_redis_url(server.url()), 0.01)
    ours = Offices(connection)
    with ours.lead("upkeep"):
        server.stop()
        until(lambda: not ours.keeps("upkeep"))
    ours.close()
    connection.close()


def test_an_office_that_a_server_has_forgotten_is_taken_again(
    office_of: Callable[[], Offices], redis_server: RedisServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(offices, "RENEW_EVERY", 0.02)
    ours = office_of()
    with ours.lead("upkeep"):
        redis_server.ask("FLUSHALL")
        until(lambda: redis_server.ask("EXISTS", "{liteq}:office:upkeep") == b":1\r\n")
        assert ours.keeps("upkeep")


# ---- workers that are gone ---------------------------------------------------------------------------


def test_a_worker_of_a_host_that_is_gone_is_forgotten_after_a_day(
    redis_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "elsewhere").mkdir()
    with open_transport(redis_url) as here:
        here.register(WorkerInfo("lives", "this", 1, 1), 60.0, 1000.0)
        monkeypatch.setenv(FOLDER_VARIABLE, str(tmp_path / "elsewhere"))
        with open_transport(redis_url) as elsewhere:
            elsewhere.register(WorkerInfo("gone", "other", 1, 1), 60.0, 1000.0)
            assert [record.alive for record in here.workers()] == [True, None]

            here.tend(1000.0 + 86400)
            assert len(here.workers()) == 2
            here.tend(1061.0 + 86400)
            assert [record.info.name for record in here.workers()] == ["lives"]
