"""The data of the memory transport: jobs in four stations, and the moves between them.

Each station has a list of its own, kept in order, so that what is finished never slows what waits.
Nothing here locks; the transport is alone with it during a verb.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right, insort
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Generic, TypeVar

from liteq.job import DEFAULT_RESULT_EXPIRES, Claim, Job, NewJob, Running, WorkerInfo, WorkerRecord
from liteq.moving import MoveMark
from liteq.states import PENDING, STARTED
from liteq.timetable import ScheduleRecord

__all__ = ["DELAYED", "FINISHED", "LEASED", "READY", "Ordered", "Record", "Stations", "Worker"]

READY, DELAYED, LEASED, FINISHED = "ready", "delayed", "leased", "finished"

SOON = 1.0
"""Seconds ahead of its time at which a delayed job wakes sleepers, who look once a second by themselves."""

Key = TypeVar("Key", bound=tuple[float, ...])


@dataclass(slots=True, eq=False)
class Record:
    """A stored job: what was published, and what has become of it."""

    seq: int
    new: NewJob
    enqueued: float
    due: float
    expires: float | None
    ignore_result: bool
    state: str = PENDING
    station: str = READY
    attempts: int = 0
    retries: int = 0
    crashes: int = 0
    token: int = 0
    holder: int | None = None
    started: float | None = None
    done: float | None = None
    discard: float | None = None
    """When its record is dropped; None while it is not finished, or if it is kept for ever."""
    result: bytes | None = None
    reason: str | None = None

    @property
    def waiting(self) -> bool:
        """Whether it is ready or delayed."""
        return self.station in (READY, DELAYED)

    def as_claim(self) -> Claim:
        """Return what a worker is told about it."""
        return Claim(
            seq=self.seq,
            token=self.token,
            id=self.new.id,
            task=self.new.task,
            queue=self.new.queue,
            payload=self.new.payload,
            codec=self.new.codec,
            priority=self.new.priority,
            due=self.due,
            eta=self.new.eta,
            expires=self.expires,
            attempts=self.attempts,
            retries=self.retries,
            crashes=self.crashes,
            max_crashes=self.new.max_crashes,
            ignore_result=self.ignore_result,
            options=self.new.options,
        )

    def as_job(self) -> Job:
        """Return what a reader is told about it."""
        return Job(
            seq=self.seq,
            id=self.new.id,
            task=self.new.task,
            queue=self.new.queue,
            state=self.state,
            finished=self.station == FINISHED,
            priority=self.new.priority,
            enqueued=self.enqueued,
            due=self.due,
            eta=self.new.eta,
            expires=self.expires,
            started=self.started,
            done=self.done,
            attempts=self.attempts,
            retries=self.retries,
            crashes=self.crashes,
            max_crashes=self.new.max_crashes,
            ignore_result=self.ignore_result,
            holder=self.holder,
            codec=self.new.codec,
            payload=self.new.payload,
            options=self.new.options,
            result=self.result,
            reason=self.reason,
        )


@dataclass(slots=True, eq=False)
class Worker:
    """A registered worker, or one that is gone and left leases."""

    info: WorkerInfo
    started: float
    visibility_timeout: float
    expires: float
    registered: bool = True
    leased: dict[int, Record] = field(default_factory=dict)
    """Its jobs by `seq`, in the order in which it claimed them."""
    running: Running | None = None


class Ordered(Generic[Key]):
    """Records in the order of a key that no two of them share, and that stays as it is meanwhile."""

    def __init__(self, key: Callable[[Record], Key]) -> None:
        self._key = key
        self._records: list[Record] = []

    def __iter__(self) -> Iterator[Record]:
        return iter(self._records)

    def add(self, record: Record) -> None:
        """Put a record in its place."""
        insort(self._records, record, key=self._key)

    def remove(self, record: Record) -> None:
        """Take a record out; it has to be here."""
        del self._records[bisect_left(self._records, self._key(record), key=self._key)]

    def until(self, moment: float) -> list[Record]:
        """Return the records whose key starts with this moment or an earlier one."""
        return self._records[: bisect_right(self._records, moment, key=lambda record: self._key(record)[0])]

    def earliest(self) -> float | None:
        """Return what the first key starts with; None if there is no record."""
        return self._key(self._records[0])[0] if self._records else None


def _claim_order(record: Record) -> tuple[float, float, int]:
    return (-record.new.priority, record.due, record.seq)


def _due_order(record: Record) -> tuple[float, int]:
    return (record.due, record.seq)


def _expiry_order(record: Record) -> tuple[float, int]:
    return (float("inf") if record.expires is None else record.expires, record.seq)


def _discard_order(record: Record) -> tuple[float, int]:
    return (float("inf") if record.discard is None else record.discard, record.seq)


class Stations:
    """All jobs and workers of one store.

    Attributes:
        jobs: every job by id, in the order in which they were stored.
        ready: the claimable ones, in the order in which they are claimed.
        delayed: those whose time has not come, by their time.
        leased: those that a worker holds, by `seq`.
        expiring: the ready and delayed ones that have an `expires`, by it.
        discarding: the finished ones that are not kept for ever, by the end of their keeping time.
        workers: the workers by holder number.
        schedules: the schedules by name.
        mark: the move for which it is closed; None while it is open.
        progress: how far each move to it has come, by the move's id.
        woken: queue names of jobs that have become ready, or will within a second; the transport clears it.
        ended: ids of jobs that have finished; the transport clears it.
        rescheduled: whether schedules were saved or removed; the transport clears it.
    """

    def __init__(self) -> None:
        self.jobs: dict[str, Record] = {}
        self.ready = Ordered(_claim_order)
        self.delayed = Ordered(_due_order)
        self.leased: dict[int, Record] = {}
        self.expiring = Ordered(_expiry_order)
        self.discarding = Ordered(_discard_order)
        self.workers: dict[int, Worker] = {}
        self.schedules: dict[str, ScheduleRecord] = {}
        self.mark: MoveMark | None = None
        self.progress: dict[str, bytes] = {}
        self.woken: set[str] = set()
        self.ended: set[str] = set()
        self.rescheduled = False
        self._last_seq = 0
        self._last_token = 0

    def store(self, job: NewJob, now: float) -> bool:
        """Add a job, unless an unfinished one has its id."""
        earlier = self.jobs.get(job.id)
        if earlier is not None:
            if earlier.station != FINISHED:
                return False
            self.discard(earlier)
        self._last_seq += 1
        due = now if job.eta is None else max(now, job.eta)
        record = Record(self._last_seq, job, now, due, job.expires, job.ignore_result)
        self.jobs[job.id] = record
        self._enter_waiting(record, now)
        return True

    def take_in(self, record: Record) -> None:
        """Add a record that has stood in another store, where it says that it stands."""
        self._last_seq += 1
        record.seq = self._last_seq
        self.jobs[record.new.id] = record
        if record.waiting:
            self._stand(record)
            self.woken.add(record.new.queue)
        else:
            self.ended.add(record.new.id)
            if record.discard is not None:
                self.discarding.add(record)

    def put_back(self, record: Record, due: float, now: float) -> None:
        """Let a record wait for `due`, wherever it was."""
        self._leave(record)
        record.due = due
        self._enter_waiting(record, now)

    def lease(self, record: Record, holder: int, now: float) -> None:
        """Give a waiting record to a worker, under a new token."""
        self._leave(record)
        self._last_token += 1
        record.station, record.state, record.token = LEASED, STARTED, self._last_token
        record.holder, record.started = holder, now
        record.attempts += 1
        record.result = record.reason = None
        self.leased[record.seq] = self.workers[holder].leased[record.seq] = record

    def finish(self, record: Record, state: str, at: float, result: bytes | None, reason: str | None) -> None:
        """End an unfinished record, and keep it for its keeping time."""
        self._leave(record)
        self.ended.add(record.new.id)
        record.station, record.state, record.done = FINISHED, state, at
        record.result, record.reason = result, reason
        if record.new.result_expires != 0:
            keep = record.new.result_expires
            record.discard = at + (DEFAULT_RESULT_EXPIRES if keep is None else keep)
            self.discarding.add(record)

    def discard(self, record: Record) -> None:
        """Drop a record that nobody holds."""
        self._leave(record)
        del self.jobs[record.new.id]

    def records(self) -> list[WorkerRecord]:
        """Describe the workers, and those that are gone and left leases."""
        return [_as_record(holder, worker) for holder, worker in self.workers.items()]

    def let_go(self, holder: int) -> None:
        """Drop a worker that is not registered and holds nothing."""
        worker = self.workers[holder]
        if not worker.registered and not worker.leased:
            del self.workers[holder]

    def _enter_waiting(self, record: Record, now: float) -> None:
        record.station = READY if record.due <= now else DELAYED
        self._stand(record)
        if record.due - now <= SOON:
            self.woken.add(record.new.queue)

    def _stand(self, record: Record) -> None:
        (self.ready if record.station == READY else self.delayed).add(record)
        if record.expires is not None:
            self.expiring.add(record)

    def _leave(self, record: Record) -> None:
        if record.waiting:
            (self.ready if record.station == READY else self.delayed).remove(record)
            if record.expires is not None:
                self.expiring.remove(record)
        elif record.holder is not None:
            del self.leased[record.seq]
            del self.workers[record.holder].leased[record.seq]
            self.let_go(record.holder)
            record.holder = None
        elif record.discard is not None:
            self.discarding.remove(record)
            record.discard = None


def _as_record(holder: int, worker: Worker) -> WorkerRecord:
    return WorkerRecord(
        holder=holder,
        info=worker.info,
        started=worker.started,
        expires=worker.expires,
        visibility_timeout=worker.visibility_timeout,
        alive=worker.registered,
        running=worker.running,
        leases=len(worker.leased),
    )
