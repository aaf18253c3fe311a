"""The memory transport: each verb of the port, written as the rules say it."""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Collection, Container, Iterator, Sequence
from contextlib import contextmanager

from liteq.errors import StoreUnavailableError, WorkerError
from liteq.job import (
    Claim,
    ClaimRequest,
    Finding,
    Job,
    JobFilter,
    LaneCount,
    NewJob,
    Running,
    TaskOrigin,
    Transition,
    Turn,
    WorkerInfo,
    WorkerRecord,
)
from liteq.move_store import findings
from liteq.states import FAILURE, PENDING, REVOKED, SUCCESS
from liteq.transport import EXPIRED, PURGED, Transport
from liteq.transports.local.listening import LocalListener
from liteq.transports.memory.moving import KeptMoves
from liteq.transports.memory.schedules import KeptSchedules
from liteq.transports.memory.stations import FINISHED, Record, Stations, Worker
from liteq.transports.memory.waking import MemorySlot

__all__ = ["MemoryTransport"]


class MemoryTransport(KeptSchedules, KeptMoves, Transport):
    """Jobs in the memory of this program: nothing to set up, and everything is lost at exit.

    Each object is a store of its own, and its workers are threads of the same program. One lock makes
    each verb atomic, and sleepers are rung when the verb is done. After `close`, every verb raises
    `StoreUnavailableError`.

    Args:
        url: what it calls itself.
    """

    crosses_processes = False

    def __init__(self, url: str = "memory://") -> None:
        self.url = url
        self._lock = threading.Lock()
        self._offices = {office: threading.Lock() for office in ("upkeep", "scheduler")}
        self._stations = Stations()
        self._last_holder = 0
        self._declared: dict[str, TaskOrigin] = {}
        self._origins: dict[str, TaskOrigin] = {}
        self._job_listeners: list[LocalListener] = []
        self._result_listeners: list[LocalListener] = []
        self._schedule_listeners: list[LocalListener] = []
        self._closed = False

    @contextmanager
    def _verb(self) -> Iterator[Stations]:
        """Be alone with the data, then ring those whom the changes concern."""
        with self._lock:
            if self._closed:
                raise StoreUnavailableError(
                    f"{self.url} was closed, and its jobs are gone; open a new queue."
                )
            yield self._stations
            queues, self._stations.woken = self._stations.woken, set()
            ended, self._stations.ended = self._stations.ended, set()
            sleepers = [*self._job_listeners] if queues else []
            callers = [*self._result_listeners] if ended else []
            rescheduled, self._stations.rescheduled = self._stations.rescheduled, False
            schedulers = [*self._schedule_listeners] if rescheduled else []
        for sleeper in sleepers:
            sleeper.hear(queues)
        for caller in callers:
            caller.hear(ended)
        for scheduler in schedulers:
            scheduler.hear(())

    # ---- producing -------------------------------------------------------------------------------

    def declare(self, origin: TaskOrigin) -> None:
        with self._verb():
            self._declared[origin.task] = origin

    def enqueue(self, jobs: Sequence[NewJob], now: float) -> list[bool]:
        with self._change() as stations:
            stored = [stations.store(job, now) for job in jobs]
            for job, was_stored in zip(jobs, stored, strict=True):
                if was_stored:
                    self._note_origin(job.task)
            return stored

    def _note_origin(self, task: str) -> None:
        if task in self._declared:
            self._origins[task] = self._declared.pop(task)

    # ---- working ---------------------------------------------------------------------------------

    def register(self, worker: WorkerInfo, visibility_timeout: float, now: float) -> int:
        with self._change() as stations:
            self._last_holder += 1
            expires = now + visibility_timeout
            stations.workers[self._last_holder] = Worker(worker, now, visibility_timeout, expires)
            return self._last_holder

    def unregister(self, holder: int) -> None:
        self.expel(holder, None)

    def turn(
        self,
        holder: int,
        now: float,
        settlements: Sequence[Transition] = (),
        request: ClaimRequest | None = None,
    ) -> Turn:
        with self._change() as stations:
            refused = [settlement for settlement in settlements if not _settle(stations, settlement, now)]
            for record in stations.delayed.until(now):
                stations.put_back(record, record.due, now)
            for record in stations.expiring.until(now):
                stations.finish(record, REVOKED, now, None, EXPIRED)
            worker = stations.workers.get(holder)
            if request is None or worker is None or not worker.registered:
                return Turn([], refused)
            left = worker.expires - now
            if not worker.visibility_timeout * 2 / 3 <= left <= worker.visibility_timeout:
                worker.expires = now + worker.visibility_timeout
            chosen = _choose(stations, request)
            for record in chosen:
                stations.lease(record, holder, now)
            return Turn([record.as_claim() for record in chosen], refused)

    def is_registered(self, holder: int) -> bool:
        with self._verb() as stations:
            return holder in stations.workers and stations.workers[holder].registered

    def update_state(self, seq: int, token: int, state: str, result: bytes | None) -> bool:
        with self._change() as stations:
            record = _under_lease(stations, seq, token)
            if record is None:
                return False
            record.state, record.result = state, result
            return True

    def renew(self, holders: Collection[int], visibility_timeout: float, now: float) -> None:
        with self._verb() as stations:
            for holder, worker in stations.workers.items():
                if holder in holders and worker.registered and worker.leased:
                    worker.expires = now + visibility_timeout

    def next_due(self, request: ClaimRequest) -> float | None:
        with self._verb() as stations:
            self._check_open(stations)
            is_ready = any(True for _ in _wanted(stations, request))
            return 0.0 if is_ready else stations.delayed.earliest()

    def slot(self, holder: int, places: int = 1) -> MemorySlot:
        with self._verb() as stations:
            if holder not in stations.workers:
                raise WorkerError(f"Worker {holder} is not registered here; register it before it publishes.")
            return MemorySlot(stations.workers[holder], places)

    def running(self, holder: int) -> Running | None:
        with self._verb() as stations:
            return stations.workers[holder].running if holder in stations.workers else None

    # ---- recovering ------------------------------------------------------------------------------

    def workers(self) -> list[WorkerRecord]:
        with self._verb() as stations:
            return stations.records()

    def expel(self, holder: int, seen_expires: float | None) -> bool:
        with self._change() as stations:
            worker = stations.workers.get(holder)
            if worker is None or not worker.registered:
                return True
            if seen_expires is not None and worker.expires != seen_expires:
                return False
            worker.registered = False
            stations.let_go(holder)
            return True

    def leases(self, holder: int) -> list[Claim]:
        with self._verb() as stations:
            worker = stations.workers.get(holder)
            return [] if worker is None else [record.as_claim() for record in worker.leased.values()]

    # ---- reading and managing --------------------------------------------------------------------

    def get(self, job_ids: Sequence[str]) -> list[Job | None]:
        with self._verb() as stations:
            records = [stations.jobs.get(job_id) for job_id in job_ids]
            jobs = [None if record is None else record.as_job() for record in records]
            self._check_answers(stations, jobs)
            return jobs

    def find(self, which: JobFilter) -> list[Job]:
        found: list[Job] = []
        with self._verb() as stations:
            for record in reversed(stations.jobs.values()):
                if len(found) >= which.limit:
                    break
                if _matches(record, which):
                    found.append(record.as_job())
        return found

    def count(self) -> list[LaneCount]:
        with self._verb() as stations:
            lanes = Counter(
                (record.new.queue, record.new.task, record.state, record.station)
                for record in stations.jobs.values()
            )
        return [LaneCount(*lane, count) for lane, count in sorted(lanes.items())]

    def origins(self) -> list[TaskOrigin]:
        with self._verb():
            return [*self._origins.values()]

    def revoke(self, job_ids: Sequence[str], now: float, reason: str) -> list[bool]:
        with self._change() as stations:
            return [_revoke(stations, job_id, now, reason) for job_id in job_ids]

    def purge(self, queues: Sequence[str] | None, now: float) -> int:
        with self._change() as stations:
            waiting = [record for record in stations.jobs.values() if record.waiting]
            purged = [record for record in waiting if _among(record.new.queue, queues)]
            for record in purged:
                stations.finish(record, REVOKED, now, None, PURGED)
            return len(purged)

    def requeue(self, job_ids: Sequence[str], now: float) -> list[bool]:
        with self._change() as stations:
            return [_requeue(stations, job_id, now) for job_id in job_ids]

    def forget(self, job_id: str) -> bool:
        with self._change() as stations:
            record = stations.jobs.get(job_id)
            if record is None:
                return False
            if record.station == FINISHED:
                stations.discard(record)
            else:
                record.ignore_result = True
            return True

    def sweep(self, now: float, limit: int = 1000) -> int:
        with self._change() as stations:
            outdated = stations.discarding.until(now)[:limit]
            expired = stations.expiring.until(now)[:limit]
            for record in outdated:
                stations.discard(record)
            for record in expired:
                stations.finish(record, REVOKED, now, None, EXPIRED)
            return len(outdated) + len(expired)

    def next_sweep(self) -> float | None:
        with self._verb() as stations:
            moments = (stations.expiring.earliest(), stations.discarding.earliest())
            return min((moment for moment in moments if moment is not None), default=None)

    # ---- waking ----------------------------------------------------------------------------------

    def listen_for_jobs(self, queues: Sequence[str] | None = None) -> LocalListener:
        with self._verb():
            return LocalListener(self._job_listeners, queues)

    def listen_for_result(self, job_id: str | None = None) -> LocalListener:
        with self._verb():
            return LocalListener(self._result_listeners, None if job_id is None else [job_id])

    def listen_for_schedules(self) -> LocalListener:
        with self._verb():
            return LocalListener(self._schedule_listeners, None)

    def is_awaited(self) -> bool:
        with self._lock:
            return any(listener.armed for listener in self._result_listeners)

    # ---- the store itself ------------------------------------------------------------------------

    @contextmanager
    def lead(self, office: str = "upkeep") -> Iterator[bool]:
        leads = self._offices[office].acquire(blocking=False)
        try:
            yield leads
        finally:
            if leads:
                self._offices[office].release()

    def tend(self, now: float) -> None:
        """Do nothing: memory needs no upkeep."""

    def diagnose(self, now: float) -> list[Finding]:
        with self._verb() as stations:
            kept = Finding("store", True, f"{len(stations.jobs)} jobs in the memory of this program")
            return [*findings(stations.mark), kept]

    def describe(self) -> list[tuple[str, str]]:
        return [("transport", "memory"), ("durability", "none: jobs last as long as this program")]

    def close(self) -> None:
        """Drop everything, and wake all sleepers; idempotent."""
        with self._lock:
            self._closed = True
            self._stations = Stations()
            sleepers = [*self._job_listeners, *self._result_listeners, *self._schedule_listeners]
        for sleeper in sleepers:
            sleeper.ring()


def _under_lease(stations: Stations, seq: int, token: int) -> Record | None:
    record = stations.leased.get(seq)
    return record if record is not None and record.token == token else None


def _settle(stations: Stations, settlement: Transition, now: float) -> bool:
    record = _under_lease(stations, settlement.seq, settlement.token)
    if record is None:
        return False
    record.attempts, record.retries = settlement.attempts, settlement.retries
    record.crashes = settlement.crashes
    if settlement.due is not None:
        record.state, record.result, record.reason = settlement.state, settlement.result, settlement.reason
        stations.put_back(record, settlement.due, now)
        return True
    stations.finish(record, settlement.state, settlement.at, settlement.result, settlement.reason)
    if not settlement.keep or (record.ignore_result and settlement.state == SUCCESS):
        stations.discard(record)
    return True


def _among(name: str, names: Container[str] | None) -> bool:
    return names is None or name in names


def _wanted(stations: Stations, request: ClaimRequest) -> Iterator[Record]:
    for record in stations.ready:
        if record.new.task in request.tasks and _among(record.new.queue, request.queues):
            yield record


def _choose(stations: Stations, request: ClaimRequest) -> list[Record]:
    chosen: list[Record] = []
    cost = 0
    for record in _wanted(stations, request):
        cost += request.tasks[record.new.task]
        if len(chosen) >= request.limit or (chosen and cost > request.budget):
            break
        chosen.append(record)
    return chosen


def _revoke(stations: Stations, job_id: str, now: float, reason: str) -> bool:
    record = stations.jobs.get(job_id)
    if record is None or not record.waiting:
        return False
    stations.finish(record, REVOKED, now, None, reason)
    return True


def _requeue(stations: Stations, job_id: str, now: float) -> bool:
    record = stations.jobs.get(job_id)
    if record is None or record.station != FINISHED or record.state not in (FAILURE, REVOKED):
        return False
    record.state = PENDING
    record.attempts = record.retries = record.crashes = 0
    record.started = record.done = None
    record.result = record.reason = None
    if record.expires is not None and record.expires <= now:
        record.expires = None
    stations.put_back(record, now, now)
    return True


def _matches(record: Record, which: JobFilter) -> bool:
    finished_in_time = which.done_since is None or (
        record.done is not None and record.done >= which.done_since
    )
    return (
        finished_in_time
        and _among(record.state, which.states)
        and _among(record.new.task, which.tasks)
        and _among(record.new.queue, which.queues)
    )
