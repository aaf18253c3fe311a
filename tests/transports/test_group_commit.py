"""Threads that enqueue at the same time share transactions, and each learns what became of its own jobs."""

from __future__ import annotations

import threading
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest

from liteq.errors import StoreError
from liteq.ids import new_id
from liteq.job import JobFilter, NewJob
from liteq.transports.sqlite.connection import Database, Unit
from liteq.transports.sqlite.intake import Intake
from liteq.transports.sqlite.lanes import Lanes
from liteq.transports.sqlite.producing import insert_jobs
from liteq.transports.sqlite.transport import SqliteTransport

PATIENCE = 30.0


def new_job() -> NewJob:
    return NewJob(new_id(), "tests.task", b"\x92\x90\x80")


@pytest.fixture
def transport(tmp_path: Path) -> Iterator[SqliteTransport]:
    transport = SqliteTransport(tmp_path / "queue.db", durability="normal")
    yield transport
    transport.close()


class Door:
    """An intake on a real file whose insertions can be held up, and are recorded by transaction."""

    def __init__(self, path: Path) -> None:
        self.database = Database(path, durability="normal", create=True, busy_timeout=PATIENCE)
        self.lanes = Lanes()
        self.intake = Intake(self.database, self.insert)
        self.entered = threading.Event()
        self.go_on = threading.Event()
        self.transactions: list[list[str]] = []
        self._seen: set[int] = set()
        self._units: list[Unit] = []
        self.interrupt: type[BaseException] | None = None

    def insert(self, unit: Unit, jobs: Sequence[NewJob], now: float) -> list[bool]:
        if not self._units or self._units[-1] is not unit:
            self._units.append(unit)
            self.transactions.append([])
        self.transactions[-1] += [job.id for job in jobs]
        self.entered.set()
        assert self.go_on.wait(PATIENCE)
        if self.interrupt is not None:
            kind, self.interrupt = self.interrupt, None
            raise kind
        return insert_jobs(unit, self.lanes, jobs, now)

    def stored(self) -> set[str]:
        with self.database.read() as connection:
            return {row[0] for row in connection.execute("SELECT id FROM liteq_jobs")}

    def wait_for_line(self, length: int) -> None:
        given_up = threading.Event()
        timer = threading.Timer(PATIENCE, given_up.set)
        timer.start()
        while len(self.intake._line) < length and not given_up.is_set():
            given_up.wait(0.001)
        timer.cancel()
        assert len(self.intake._line) == length


@pytest.fixture
def door(tmp_path: Path) -> Iterator[Door]:
    door = Door(tmp_path / "queue.db")
    yield door
    door.go_on.set()
    if not door.database._closed:
        door.database.close()


class Caller(threading.Thread):
    """A thread that enqueues some jobs, and remembers what came of it."""

    def __init__(self, door: Door, jobs: Sequence[NewJob]) -> None:
        super().__init__()
        self.door, self.jobs = door, jobs
        self.answer: list[bool] | None = None
        self.error: BaseException | None = None
        self.start()

    def run(self) -> None:
        try:
            self.answer = self.door.intake.enqueue(self.jobs, 1.0)
        except BaseException as error:
            self.error = error

    def finish(self) -> None:
        self.join(PATIENCE)
        assert not self.is_alive()


def start_callers(door: Door, jobs: Sequence[NewJob]) -> list[Caller]:
    """Start one caller that leads and is held up, and the others, who then wait in line."""
    callers = [Caller(door, jobs[:1])]
    assert door.entered.wait(PATIENCE)
    for number, job in enumerate(jobs[1:], 1):
        callers.append(Caller(door, [job]))
        door.wait_for_line(number)
    return callers


def test_those_who_come_during_a_transaction_share_the_next_one(door: Door) -> None:
    jobs = [new_job() for _ in range(6)]
    callers = start_callers(door, jobs)
    door.go_on.set()
    for caller in callers:
        caller.finish()
    assert [caller.answer for caller in callers] == [[True]] * 6
    assert door.transactions == [[jobs[0].id], [job.id for job in jobs[1:]]]
    assert door.stored() == {job.id for job in jobs}


def test_a_job_that_cannot_be_stored_fails_its_own_caller_only(door: Door) -> None:
    jobs = [new_job() for _ in range(4)]
    jobs[2] = jobs[2]._replace(payload=None)  # type: ignore[arg-type]
    callers = start_callers(door, jobs)
    door.go_on.set()
    for caller in callers:
        caller.finish()
    assert [caller.error is not None for caller in callers] == [False, False, True, False]
    assert door.stored() == {job.id for number, job in enumerate(jobs) if number != 2}


@pytest.mark.parametrize("kind", [KeyboardInterrupt, SystemExit])
def test_an_interrupted_leader_stores_nothing_and_the_others_are_stored_all_the_same(
    door: Door, kind: type[BaseException]
) -> None:
    jobs = [new_job() for _ in range(4)]
    door.interrupt = kind
    callers = start_callers(door, jobs)
    door.go_on.set()
    for caller in callers:
        caller.finish()
    assert isinstance(callers[0].error, kind)
    assert [caller.answer for caller in callers[1:]] == [[True]] * 3
    assert door.stored() == {job.id for job in jobs[1:]}


def test_a_leader_interrupted_with_a_group_sends_the_group_back_to_the_line(door: Door) -> None:
    jobs = [new_job() for _ in range(4)]
    callers = start_callers(door, jobs)
    first_insert = door.insert

    signals = [KeyboardInterrupt]

    def interrupt_the_group(unit: Unit, group: Sequence[NewJob], now: float) -> list[bool]:
        if group[0].id == jobs[2].id and signals:
            raise signals.pop()
        return first_insert(unit, group, now)

    door.intake._insert = interrupt_the_group
    door.go_on.set()
    for caller in callers:
        caller.finish()
    interrupted = [caller for caller in callers if caller.error is not None]
    assert [type(caller.error) for caller in interrupted] == [KeyboardInterrupt]
    # The thread that led the group is the one that the signal struck; only its own job is not stored.
    assert interrupted == [callers[1]]
    assert door.stored() == {job.id for job in jobs} - {jobs[1].id}


def test_a_closed_file_refuses_those_who_lead_and_those_who_wait(door: Door) -> None:
    callers = start_callers(door, [new_job(), new_job()])
    door.go_on.set()
    for caller in callers:
        caller.finish()
    door.database.close()
    with pytest.raises(StoreError, match="closed"):
        door.intake.enqueue([new_job()], 1.0)


def test_a_handler_that_enqueues_while_its_thread_leads_does_not_wait_for_itself(door: Door) -> None:
    outer, inner = new_job(), new_job()
    door.go_on.set()
    first_insert = door.insert

    def handler_comes_first(unit: Unit, jobs: Sequence[NewJob], now: float) -> list[bool]:
        if jobs[0].id == outer.id:
            door.intake.enqueue([inner], 1.0)
        return first_insert(unit, jobs, now)

    door.intake._insert = handler_comes_first
    with pytest.raises(StoreError):
        door.intake.enqueue([outer], 1.0)
    assert inner.id in door.stored()
    assert door.intake.enqueue([new_job()], 1.0) == [True]


def test_many_threads_store_every_job_once(transport: SqliteTransport) -> None:
    threads, calls = 16, 50
    ids: list[str] = []

    def enqueue() -> None:
        for _ in range(calls):
            job = new_job()
            assert transport.enqueue([job], 1.0) == [True]
            ids.append(job.id)

    running = [threading.Thread(target=enqueue) for _ in range(threads)]
    for thread in running:
        thread.start()
    for thread in running:
        thread.join(PATIENCE)
    found = transport.find(JobFilter(limit=threads * calls + 1))
    assert sorted(job.id for job in found) == sorted(ids)
    assert len(ids) == threads * calls
