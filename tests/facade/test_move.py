"""`liteq.move`: all of a queue is in the other store afterwards, once, wherever the move was cut off."""

from __future__ import annotations

import json
import os
import socket
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from redis_server import RedisServer

import liteq
from liteq import (
    ConfigurationError,
    Moved,
    MoveRefusedError,
    NotSupportedError,
    Queue,
    StoreMovedError,
    every,
)
from liteq.app.mover import CHECK, Mover
from liteq.app.opening import open_transport
from liteq.errors import StoreError, StoreFullError, StoreUnavailableError
from liteq.job import ClaimRequest, Job, JobFilter, WorkerInfo
from liteq.lifecycle import Raised, Returned, Succeeded, decide
from liteq.retry import RetryPolicy
from liteq.testing import ManualClock
from liteq.testing.contract.base import new_job
from liteq.timetable import ScheduleRecord
from liteq.transport import Transport
from liteq.transports.memory import MemoryTransport
from liteq.transports.sqlite.transport import SqliteTransport

NOW = 1_700_000_000.0
EVERYTHING = ClaimRequest({"add": 1})
SCHEDULE = ScheduleRecord(
    name="nightly",
    task="add",
    spec="a spec",
    policy="a policy",
    job=new_job(""),
    next_run=NOW + 60,
    paused=True,
)


class Stopped(BaseException):
    """The move ends here, as a kill would have it end."""


class Cut:
    """A store on which a move stops once its budget of steps is used up, before a verb or after it."""

    def __init__(self, transport: Transport, budget: list[int]) -> None:
        self.transport = transport
        self.budget = budget

    def __getattr__(self, name: str) -> Any:
        found = getattr(self.transport, name)
        if name not in ("begin_move", "adopt", "end_move", "discard_moved", "reopen"):
            return found

        def call(*arguments: Any) -> Any:
            self.step()
            answer = found(*arguments)
            self.step()
            return answer

        return call

    def step(self) -> None:
        if not self.budget[0]:
            raise Stopped
        self.budget[0] -= 1


KINDS = ("file to file", "memory to file", "file to memory", "file to redis", "redis to file")


@pytest.fixture(params=KINDS)
def stores(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[tuple[Transport, Transport]]:
    def opened(kind: str, name: str) -> Transport:
        if kind == "file":
            return SqliteTransport(tmp_path / name, durability="normal")
        if kind == "memory":
            return MemoryTransport(f"memory://{name}")
        server = request.getfixturevalue("redis_server")
        return open_transport(server.url(prefix=name), durability="normal")

    source, _, target = request.param.split()
    with opened(source, "source.db") as one, opened(target, "target.db") as other:
        yield one, other


def move(source: Transport, target: Transport, batch: int = 3) -> Moved:
    return Mover(source, target, batch=batch, clock=ManualClock(NOW)).run()


def fill(store: Transport) -> None:
    """Store jobs of every kind, and two schedules."""
    holder = store.register(WorkerInfo("worker", "host", 1, 1), 60.0, NOW)
    store.enqueue([new_job("done"), new_job("failed"), new_job("again")], NOW)
    ends = (Succeeded(b"3"), Raised(b"no", "no", RetryPolicy()), Raised(b"no", "no", RetryPolicy(), True))
    for claim, end in zip(store.claim(holder, EVERYTHING, NOW), ends, strict=True):
        store.settle(holder, [decide(claim, end, NOW, lambda: 0.5)], NOW)
    store.unregister(holder)
    store.enqueue([new_job(f"waiting {number}", priority=number % 3) for number in range(5)], NOW)
    store.enqueue([new_job("later", eta=NOW + 50)], NOW)
    store.save_schedules([SCHEDULE, replace(SCHEDULE, name="hourly", paused=False)])


def told(store: Transport) -> list[Job]:
    return [job._replace(seq=0) for job in store.find(JobFilter())]


def test_everything_is_moved(stores: tuple[Transport, Transport]):
    source, target = stores
    fill(source)
    expected = (told(source), source.count(), source.schedules())
    reports: list[Moved] = []
    moved = Mover(source, target, batch=4, progress=reports.append, clock=ManualClock(NOW)).run()

    assert moved == Moved(waiting=5, delayed=2, failed=1, results=1, schedules=2)
    assert [report.jobs for report in reports] == [4, 8, 9, 9]
    assert (told(target), target.count(), target.schedules()) == expected
    assert (source.count(), source.schedules()) == ([], [])
    with pytest.raises(StoreMovedError, match=r"was moved to .*target\.db"):
        source.enqueue([new_job("late")], NOW)

    assert move(source, target) == moved, "once more changes nothing"
    assert told(target) == expected[0]


def test_what_is_moved_back_finds_the_old_store_open_again(stores: tuple[Transport, Transport]):
    source, target = stores
    fill(source)
    expected = (told(source), source.count(), source.schedules())
    moved = move(source, target)
    assert move(target, source) == moved
    assert (told(source), source.count(), source.schedules()) == expected
    assert source.enqueue([new_job("new")], NOW) == [True]
    with pytest.raises(StoreMovedError):
        target.enqueue([new_job("new")], NOW)


def test_a_move_that_is_cut_off_anywhere_goes_on_and_moves_each_job_once(
    stores: tuple[Transport, Transport],
):
    source, target = stores
    fill(source)
    expected = told(source)
    holder = target.register(WorkerInfo("worker", "host", 1, 1), 60.0, NOW)
    ran: list[str] = []
    stops = 0
    while True:
        budget = [stops % 4]
        try:
            moved = Mover(Cut(source, budget), Cut(target, budget), batch=1, clock=ManualClock(NOW)).run()
            break
        except Stopped:
            stops += 1
            assert stops < 1000
        for claim in target.claim(holder, EVERYTHING, NOW):
            ran.append(claim.id)
            # It leaves no record: only the progress of the move says that it has been here.
            end = decide(claim, Succeeded(b""), NOW, lambda: 0.5)._replace(keep=False)
            target.settle(holder, [end], NOW)
    ran += [claim.id for claim in target.claim(holder, EVERYTHING, NOW)]

    assert stops > 10
    assert sorted(ran) == [f"waiting {number}" for number in range(5)]
    assert moved == Moved(waiting=5, delayed=2, failed=1, results=1, schedules=2)
    there = {job.id: job for job in told(target)}
    rest = [job for job in expected if not job.id.startswith("waiting")]
    assert [there[job.id] for job in rest] == rest
    assert [record.name for record in target.schedules()] == ["hourly", "nightly"]
    assert source.count() == []


@pytest.mark.parametrize("remembers", [False, True], ids=["everything", "its end"])
def test_what_the_target_has_lost_is_moved_again_as_long_as_the_source_has_it(
    stores: tuple[Transport, Transport], tmp_path: Path, remembers: bool
):
    source, target = stores
    fill(source)
    expected = (told(source), source.schedules())
    with pytest.raises(Stopped):
        # The last step notes in the source that the target has everything.
        Mover(Cut(source, [4]), target, batch=100, clock=ManualClock(NOW)).run()
    assert (told(source), source.schedules()) == expected
    mark = source.moving()
    assert mark is not None
    assert mark.ended is not None
    with SqliteTransport(tmp_path / "restored.db") as restored:
        restored.url = target.url
        if remembers:
            jobs = source.export(None, 4)
            progress = json.dumps([jobs[-1].seq, False, [1, 1, 1, 1, 0]]).encode()
            assert restored.adopt(mark.id, None, progress, jobs)
        moved = move(source, restored)
        assert (told(restored), restored.schedules()) == expected
    assert moved == Moved(waiting=5, delayed=2, failed=1, results=1, schedules=2)
    assert (source.count(), source.schedules()) == ([], [])


def test_a_move_goes_on_to_the_same_target_only(stores: tuple[Transport, Transport], tmp_path: Path):
    source, target = stores
    fill(source)
    with pytest.raises(Stopped):
        move(source, Cut(target, [3]))
    with SqliteTransport(tmp_path / "other.db") as other:
        with pytest.raises(MoveRefusedError, match=r"is being moved to .*target\.db; let that end first"):
            move(source, other)
        with pytest.raises(MoveRefusedError, match=r"is being moved to .*target\.db itself"):
            move(other, source)
        assert other.moving() is None
        move(source, target)
        with pytest.raises(MoveRefusedError, match=r"was moved to .*target\.db, and there is nothing left"):
            move(source, other)


def test_of_two_stores_that_were_closed_to_be_moved_to_each_other_one_is_opened_again(
    stores: tuple[Transport, Transport],
):
    source, target = stores
    fill(source)
    target.enqueue([new_job("another")], NOW)
    expected = sorted([*told(source), *told(target)])
    # As if both had begun at the same moment.
    source.begin_move("there", target.url, NOW)
    target.begin_move("back", source.url, NOW)
    with pytest.raises(MoveRefusedError, match=r"is being moved to .* itself; let that end first"):
        move(source, target)
    assert source.moving() is None
    move(target, source)
    assert sorted(told(source)) == expected
    move(source, target)
    assert sorted(told(target)) == expected


def test_a_target_that_is_closed_at_the_last_moment_leaves_the_source_open(
    stores: tuple[Transport, Transport],
):
    source, target = stores
    fill(source)
    expected = told(source)

    class Closing(Cut):
        """A target that is closed right before it takes its first batch."""

        def adopt(self, *arguments: Any) -> bool:
            if arguments[0] != CHECK:
                target.begin_move("away", "elsewhere.db", NOW)
            return self.transport.adopt(*arguments)

    with pytest.raises(MoveRefusedError, match=r"is being moved to elsewhere\.db itself"):
        move(source, Closing(target, [0]))
    assert source.moving() is None
    assert told(source) == expected


def test_a_target_that_was_moved_on_meanwhile_is_to_be_moved_back_first(
    stores: tuple[Transport, Transport], tmp_path: Path
):
    source, target = stores
    fill(source)
    expected = sorted(told(source))
    with pytest.raises(Stopped):
        move(source, Cut(target, [3]))
    with SqliteTransport(tmp_path / "other.db", durability="normal") as other:
        move(target, other)
        with pytest.raises(MoveRefusedError, match=r"was moved to .*other\.db itself .* Move it back"):
            move(source, target)
        move(other, target)
        move(source, target)
        move(target, other)
        assert sorted(told(other)) == expected


def test_a_damaged_note_of_how_far_a_move_has_come_is_told_as_such(stores: tuple[Transport, Transport]):
    source, target = stores
    source.begin_move("move", target.url, NOW)
    target.adopt("move", None, b"[1, 2")
    with pytest.raises(MoveRefusedError, match=r"is damaged: b'\[1, 2'"):
        move(source, target)


def test_a_store_is_not_moved_to_itself(tmp_path: Path):
    with MemoryTransport() as store, pytest.raises(MoveRefusedError, match="the same store"):
        move(store, store)
    path = tmp_path / "queue.db"
    with SqliteTransport(path) as store:
        store.enqueue([new_job("one")], NOW)
    with pytest.raises(MoveRefusedError, match="the same store"):
        liteq.move(path, os.path.relpath(path))


def test_a_target_that_cannot_be_written_to_is_found_out_before_the_source_is_closed(
    start_redis: Callable[..., RedisServer], tmp_path: Path
):
    server = start_redis()
    with SqliteTransport(tmp_path / "source.db", durability="normal") as source:
        fill(source)
        with open_transport(server.url(), durability="normal") as target:
            assert server.ask("CONFIG", "SET", "maxmemory", "1") == b"+OK\r\n"
            with pytest.raises(StoreFullError):
                move(source, target)
            assert source.moving() is None
            assert server.ask("CONFIG", "SET", "maxmemory", "0") == b"+OK\r\n"
        rights = ("on", ">secret", "~*", "&*", "+@all", "-@write")
        assert server.ask("ACL", "SETUSER", "reader", *rights) == b"+OK\r\n"
        url = server.url().replace("unix://", "unix://reader:secret@")
        with open_transport(url, durability="normal") as target:
            with pytest.raises(StoreError, match="can't run this command"):
                move(source, target)
            assert source.moving() is None


def test_a_server_that_is_full_can_be_left(start_redis: Callable[..., RedisServer], tmp_path: Path):
    server = start_redis("--maxmemory-policy", "noeviction")
    with (
        open_transport(server.url(), durability="normal") as source,
        SqliteTransport(tmp_path / "target.db", durability="normal") as target,
    ):
        fill(source)
        expected = told(source)
        assert server.ask("CONFIG", "SET", "maxmemory", "1") == b"+OK\r\n"
        with pytest.raises(StoreFullError):
            source.enqueue([new_job("one more")], NOW)
        move(source, target)
        assert told(target) == expected
        assert source.count() == []


class Renamed(SqliteTransport):
    """A store that is reached by a name that nobody can compare."""

    def __init__(self, path: Path) -> None:
        super().__init__(path)
        self.url = "another name"


def test_a_store_is_not_moved_to_itself_by_another_name(tmp_path: Path):
    with SqliteTransport(tmp_path / "queue.db") as store, Renamed(tmp_path / "queue.db") as same:
        with pytest.raises(MoveRefusedError, match="the same store"):
            move(store, same)
        assert store.moving() is None


def test_ids_and_names_that_the_target_has_are_refused_before_anything_is_moved(
    stores: tuple[Transport, Transport],
):
    source, target = stores
    fill(source)
    target.enqueue([new_job("later"), new_job("failed")], NOW)
    target.save_schedules([replace(SCHEDULE, spec="another")])
    before = (told(source), told(target), target.schedules())
    with pytest.raises(MoveRefusedError, match=r"2 of the jobs \(failed, later\) and 1 .* \(nightly\)"):
        move(source, target)
    assert (told(source), told(target), target.schedules()) == before
    assert source.moving() is None
    target.purge(None, NOW)
    assert [target.forget("later"), target.forget("failed")] == [True, True]
    target.remove_schedules(["nightly"])
    move(source, target)


def test_a_refused_move_that_is_cut_off_is_refused_again_and_leaves_the_source_open(
    stores: tuple[Transport, Transport],
):
    source, target = stores
    fill(source)
    target.enqueue([new_job("later")], NOW)
    for steps in range(9):
        budget = [steps]
        with pytest.raises((Stopped, MoveRefusedError)) as told_so:
            Mover(Cut(source, budget), Cut(target, budget), clock=ManualClock(NOW)).run()
        if told_so.type is MoveRefusedError:
            assert "(later)" in str(told_so.value)
            assert source.moving() is None
    assert told_so.type is MoveRefusedError
    assert [job.id for job in target.find(JobFilter())] == ["later"]


def test_a_move_that_somebody_has_withdrawn_cannot_go_on(stores: tuple[Transport, Transport]):
    source, target = stores
    fill(source)
    expected = told(source)

    class Overtaken(Cut):
        """A target in which another program finds an id in use, before this one brings its first batch."""

        def adopt(self, *arguments: Any) -> bool:
            if arguments[0] != CHECK and self.budget[0]:
                self.budget[0] = 0
                target.enqueue([new_job("later")], NOW)
                with pytest.raises(MoveRefusedError, match="later"):
                    move(source, target)
            return self.transport.adopt(*arguments)

    with pytest.raises(MoveRefusedError, match="opened again by another program"):
        move(source, Overtaken(target, [1]))
    assert told(source) == expected
    assert [job.id for job in told(target)] == ["later"]


def test_a_schedule_that_the_target_has_from_the_same_declaration_is_no_conflict(
    stores: tuple[Transport, Transport],
):
    source, target = stores
    declared = replace(SCHEDULE, name="declared", module="shop", declaration="digest t1", runs=3)
    source.save_schedules([declared, SCHEDULE])
    newer = replace(declared, declaration="digest n2", next_run=NOW + 70, runs=0)
    same = replace(SCHEDULE, next_run=NOW + 10, runs=9)
    target.save_schedules([newer, same])
    before = target.schedules()
    assert move(source, target) == Moved(schedules=2)
    assert target.schedules() == before


def test_a_declaration_that_is_paused_in_one_store_only_is_a_conflict(stores: tuple[Transport, Transport]):
    source, target = stores
    declared = replace(SCHEDULE, module="shop", declaration="digest t1")
    source.save_schedules([declared])
    target.save_schedules([replace(declared, paused=False)])
    with pytest.raises(MoveRefusedError, match="nightly"):
        move(source, target)


def test_a_store_is_not_moved_while_workers_run(tmp_path: Path):
    with Queue(tmp_path / "queue.db") as q:
        holder = q.transport.register(WorkerInfo("tom", socket.gethostname(), 7, 7), 60.0, time.time())
        with pytest.raises(MoveRefusedError, match=r"tom \(pid 7 on .*Stop them first"):
            liteq.move(q, tmp_path / "other.db")
        assert q.transport.enqueue([new_job("one")], NOW) == [True]
        q.transport.unregister(holder)
        assert liteq.move(q, tmp_path / "other.db") == Moved(waiting=1)


def test_what_dead_workers_held_is_taken_back_and_moved(stores: tuple[Transport, Transport]):
    source, target = stores
    source.enqueue([new_job("one"), new_job("two")], NOW)
    holder = source.register(WorkerInfo("worker", "host", 1, 1), 60.0, NOW)
    claims = source.claim(holder, EVERYTHING, NOW)
    source.settle(holder, [decide(claims[0], Returned(), NOW, lambda: 0.5)], NOW)
    source.expel(holder, None)
    assert move(source, target).jobs == 2
    assert source.workers() == []


def test_a_move_that_was_overtaken_by_another_adopts_nothing_twice(stores: tuple[Transport, Transport]):
    source, target = stores
    fill(source)

    class Slow(Cut):
        """A store whose first batch is delayed until another program has moved everything."""

        def adopt(self, *arguments: Any) -> bool:
            if arguments[0] != CHECK and self.budget[0]:
                self.budget[0] = 0
                mark = source.moving()
                assert mark is not None
                Mover(source, target, clock=ManualClock(NOW))._copy(mark)
            return self.transport.adopt(*arguments)

    expected = told(source)
    moved = move(source, Slow(target, [1]))
    assert moved.jobs == len(expected)
    assert told(target) == expected


def test_a_program_that_goes_on_with_the_old_file_is_told_so(tmp_path: Path):
    with Queue(tmp_path / "old.db") as old, Queue(tmp_path / "new.db") as new:

        @old.task(name="add")
        def add(x: int, y: int) -> int:
            return x + y

        result = add.delay(1, 2)
        old.add_periodic_task(every(60), add.s(1, 2), name="each minute")
        assert liteq.move(old, new).waiting == 1
        for late in (
            lambda: add.delay(1, 2),
            lambda: result.get(timeout=5),
            lambda: result.revoke(),
            lambda: old.start_workers(1),
        ):
            with pytest.raises(StoreMovedError, match=r"was moved to .*new\.db"):
                late()
        with pytest.raises(StoreMovedError), old.transaction():
            pass
        assert new.AsyncResult(result.id).status == "PENDING"


def test_a_connection_of_ones_own_stores_nothing_in_a_file_that_was_moved(tmp_path: Path):
    import sqlite3
    from contextlib import closing

    with Queue(tmp_path / "old.db") as old, closing(sqlite3.connect(tmp_path / "old.db")) as own:

        @old.task(name="add")
        def add(x: int, y: int) -> int:
            return x + y

        add.using(own).delay(1, 2)
        own.commit()
        liteq.move(old, tmp_path / "new.db")
        for level in ("DEFERRED", "IMMEDIATE", None):
            own.isolation_level = level
            with pytest.raises(StoreMovedError):
                add.using(own).delay(1, 2)
            assert not own.in_transaction


def test_only_a_queue_itself_can_name_memory(tmp_path: Path):
    with pytest.raises(ConfigurationError, match="memory://"):
        liteq.move("memory://", tmp_path / "new.db")
    with Queue("memory://") as q:
        q.transport.enqueue([new_job("one")], NOW)
        assert liteq.move(q, tmp_path / "new.db") == Moved(waiting=1)


def test_a_source_that_is_not_there_is_refused_and_no_target_made(tmp_path: Path):
    with pytest.raises(StoreUnavailableError, match="no queue here"):
        liteq.move(tmp_path / "old.db", tmp_path / "new.db")
    assert not (tmp_path / "new.db").exists()
    with pytest.raises(ConfigurationError, match="batch"):
        liteq.move(tmp_path / "old.db", tmp_path / "new.db", batch=0)


def test_a_move_inside_a_transaction_is_refused(tmp_path: Path):
    with Queue(tmp_path / "old.db") as q, q.transaction(), pytest.raises(NotSupportedError, match="outside"):
        liteq.move(q, tmp_path / "new.db")


@pytest.mark.parametrize(
    "keys",
    [{"signing_key": b"0123456789abcdef"}, {"encryption_key": "0123456789abcdef" * 4}],
    ids=["signed", "encrypted"],
)
def test_sealed_jobs_are_moved_without_their_keys_and_run_and_read_with_them(
    keys: dict[str, Any], tmp_path: Path, redis_url: str
):
    if "encryption_key" in keys:
        pytest.importorskip("cryptography")

    def add(x: int, y: int) -> int:
        return x + y

    with Queue(tmp_path / "old.db", **keys) as old, Queue(redis_url, durability="normal", **keys) as new:
        before = old.task(name="add")(add).delay(1, 2)
        old.drain()
        after = old.task(name="add")(add).options(compression="zlib").delay(3, 4)
        assert liteq.move(str(tmp_path / "old.db"), redis_url) == Moved(waiting=1, results=1)
        new.task(name="add")(add)
        assert new.drain().ran == 1
        assert [new.AsyncResult(result.id).get(timeout=0) for result in (before, after)] == [3, 7]
