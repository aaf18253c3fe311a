"""The SQLite transport: the port's verbs, each one transaction on the file, then the doorbell."""

from __future__ import annotations

import contextlib
import sqlite3
import threading
from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from functools import partial
from pathlib import Path

from liteq.errors import StoreError
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
from liteq.transport import Listener, RunningSlot, Transport
from liteq.transports.local.oslock import OsLock
from liteq.transports.local.slot import FileSlot, read_slot
from liteq.transports.sqlite import claiming, diagnosis, managing, reading, registry, soundness
from liteq.transports.sqlite.connection import Database, Unit
from liteq.transports.sqlite.doorbell import LOOK_INTERVAL, Doorbells
from liteq.transports.sqlite.foreign import check_connection, lend
from liteq.transports.sqlite.intake import Intake
from liteq.transports.sqlite.lanes import Lanes
from liteq.transports.sqlite.lives import Lives
from liteq.transports.sqlite.marks import check_answers
from liteq.transports.sqlite.moving import MovableFile
from liteq.transports.sqlite.opening import Durability
from liteq.transports.sqlite.place import PRIVATE, is_private
from liteq.transports.sqlite.producing import insert_jobs
from liteq.transports.sqlite.reserve import Reserve
from liteq.transports.sqlite.schedules import StoredSchedules
from liteq.transports.sqlite.settling import check_lease, settle_own
from liteq.transports.sqlite.trouble import translated
from liteq.transports.sqlite.turns import Turns
from liteq.transports.sqlite.upkeep import Upkeep

__all__ = ["SqliteTransport"]


class SqliteTransport(StoredSchedules, MovableFile, Transport):
    """A queue in one SQLite file."""

    crosses_processes = True

    def __init__(
        self,
        path: Path,
        *,
        durability: Durability = "full",
        create: bool = True,
        busy_timeout: float = 30.0,
        file_mode: int = PRIVATE,
    ) -> None:
        """Open or create the queue's file.

        Args:
            path: the file; its folder must exist.
            durability: `full`: a commit survives a power cut; `normal`: it may lose about the last second.
            create: whether a missing file, or missing tables in another program's database, are made.
            busy_timeout: seconds to wait for the write lock before `StoreBusyError`.
            file_mode: the mode of a file that is made here: 0o600, or 0o660 to share it with its group. Side
                files and their folder follow the mode of the file.

        Raises:
            StoreError: the file cannot serve; the subclass and the message say why.
        """
        self._database = Database(
            path, durability=durability, create=create, busy_timeout=busy_timeout, file_mode=file_mode
        )
        self.path = self._database.path
        self.url = str(self.path)
        self._side = self._database.side
        self._lanes = Lanes()
        self._intake = Intake(self._database, self._insert)
        try:
            with translated(self.path):
                self._bells = Doorbells(self._side)
        except StoreError:
            self._database.close()
            raise
        self._lives = Lives(self._side)
        self._reserve = Reserve(self._side.reserve)
        self._turns = Turns(self._database, self._lanes, self._bells, self._reserve)
        self._upkeep = Upkeep(self._database, self._lives, self._reserve)
        self._asked_due: object = None
        self._next_due: float | None = None
        self._closed = False
        self._closing = threading.Lock()

    @property
    def trusted(self) -> bool:
        """Whether what the file says may be imported: it is this user's, and nobody else may write it."""
        return is_private(self.path)

    # ---- producing -------------------------------------------------------------------------------

    def declare(self, origin: TaskOrigin) -> None:
        self._lanes.declare(origin)

    def enqueue(self, jobs: Sequence[NewJob], now: float) -> list[bool]:
        if not jobs:
            return []
        if self._database.joined() is None:
            return self._intake.enqueue(jobs, now)
        with self._database.write() as unit:
            return self._insert(unit, jobs, now)

    def _insert(self, unit: Unit, jobs: Sequence[NewJob], now: float) -> list[bool]:
        stored = insert_jobs(unit, self._lanes, jobs, now)
        self._ring_after(unit, jobs, stored, now)
        return stored

    def check_connection(self, connection: sqlite3.Connection) -> None:
        """Refuse a connection of the caller's that cannot carry jobs.

        Raises:
            ConfigurationError: it is no sqlite3 connection, cannot be used, or its main database is another
                file.
        """
        check_connection(connection, self.path)

    def enqueue_on(self, connection: sqlite3.Connection, jobs: Sequence[NewJob], now: float) -> list[bool]:
        """Store jobs through a connection that `check_connection` let pass, in the caller's transaction.

        Without an open transaction on an autocommit connection, the jobs are committed here. Workers are
        rung in that case; else they find the jobs at their next look, within a second of the commit.

        Raises:
            StoreError: SQLite refused the write.
        """
        with lend(connection, self.path) as unit:
            return self._insert(unit, jobs, now)

    def _ring_after(self, unit: Unit, jobs: Sequence[NewJob], stored: list[bool], now: float) -> None:
        soon = now + LOOK_INTERVAL
        queues = [
            job.queue
            for job, new in zip(jobs, stored, strict=True)
            if new and (job.eta is None or job.eta <= soon)
        ]
        if queues:
            unit.after_commit.append(partial(self._bells.ring_for_jobs, queues))

    def transaction(self) -> AbstractContextManager[sqlite3.Connection]:
        return self._database.user_transaction()

    def abandon(self) -> bool:
        return self._database.abandon()

    def guard(self) -> Callable[[], object]:
        self._database.hold.guard()
        return self._database.hold.probe

    @contextmanager
    def completion(
        self, seq: int, token: int, settle: Callable[[], Transition]
    ) -> Iterator[sqlite3.Connection]:
        with self._database.user_transaction() as connection:
            with translated(self.path):
                check_lease(connection, seq, token)
            yield connection
            connection.check_open()
            ended = settle()
            with translated(self.path):
                settle_own(connection, ended)
            unit = self._database.joined()
            assert unit is not None
            unit.after_commit.append(partial(self._turns.ring, (ended,), [], ended.at))

    # ---- working ---------------------------------------------------------------------------------

    def register(self, worker: WorkerInfo, visibility_timeout: float, now: float) -> int:
        with translated(self.path):
            life = self._lives.begin()
        try:
            with self._database.write() as unit:
                holder = registry.add(unit.connection.cursor(), worker, life, visibility_timeout, now)
        except BaseException:
            self._lives.abandon(life)
            raise
        self._lives.name(holder, life)
        return holder

    def unregister(self, holder: int) -> None:
        self.expel(holder, None)
        self._lives.end(holder)

    def turn(
        self,
        holder: int,
        now: float,
        settlements: Sequence[Transition] = (),
        request: ClaimRequest | None = None,
    ) -> Turn:
        return self._turns.take(holder, now, settlements, request)

    def is_registered(self, holder: int) -> bool:
        with self._database.read() as connection:
            return registry.is_registered(connection, holder)

    def update_state(self, seq: int, token: int, state: str, result: bytes | None) -> bool:
        with self._database.write() as unit:
            changed = unit.connection.execute(
                "UPDATE liteq_jobs SET state = ?, result = ? WHERE seq = ? AND token = ?",
                (state, result, seq, token),
            ).rowcount
        return changed == 1

    def renew(self, holders: Collection[int], visibility_timeout: float, now: float) -> None:
        with self._database.read(settling=True) as connection:
            needing = registry.with_leases(connection, holders)
        if needing:
            with self._database.write(settling=True) as unit:
                registry.renew(unit.connection.cursor(), needing, now + visibility_timeout)

    def next_due(self, request: ClaimRequest) -> float | None:
        with self._database.read() as connection:
            # Idle workers ask each second, and mostly nothing has been written meanwhile.
            version = connection.execute("PRAGMA data_version").fetchone()[0]
            asked = (version, request.tasks, request.queues)
            if self._asked_due != asked:
                check_answers(connection, self.path)
                self._next_due = claiming.next_due(connection, self._lanes, request)
                self._asked_due = asked
            return self._next_due

    def slot(self, holder: int, places: int = 1) -> RunningSlot:
        with translated(self.path):
            return FileSlot(self._side.slot(holder), places)

    def running(self, holder: int) -> Running | None:
        return read_slot(self._side.slot(holder))

    # ---- recovering ------------------------------------------------------------------------------

    def workers(self) -> list[WorkerRecord]:
        with self._database.read() as connection:
            return registry.list_workers(connection, self._side)

    def expel(self, holder: int, seen_expires: float | None) -> bool:
        if seen_expires is not None:
            # It may live, and not be able to renew because the disk is full.
            return self._expel(holder, seen_expires)
        return self._reserve.settle(partial(self._expel, holder, None))

    def _expel(self, holder: int, seen_expires: float | None) -> bool:
        with self._database.write(settling=True) as unit:
            return registry.expel(unit.connection.cursor(), holder, seen_expires)

    def leases(self, holder: int) -> list[Claim]:
        with self._database.read() as connection:
            return reading.leased_by(connection, self._lanes, holder)

    # ---- reading and managing --------------------------------------------------------------------

    def get(self, job_ids: Sequence[str]) -> list[Job | None]:
        with self._database.read() as connection:
            jobs = reading.get_jobs(connection, self._lanes, job_ids)
            if not all(job is not None and job.finished for job in jobs):
                check_answers(connection, self.path)
            return jobs

    def find(self, which: JobFilter) -> list[Job]:
        with self._database.read() as connection:
            return reading.find_jobs(connection, self._lanes, which)

    def count(self) -> list[LaneCount]:
        with self._database.read() as connection:
            return reading.count_lanes(connection, self._lanes)

    def origins(self) -> list[TaskOrigin]:
        with self._database.read() as connection:
            return reading.list_origins(connection)

    def revoke(self, job_ids: Sequence[str], now: float, reason: str) -> list[bool]:
        with self._database.write() as unit:
            revoked = managing.revoke(unit.connection.cursor(), job_ids, now, reason)
        self._bells.ring_for_results(job_ids)
        return revoked

    def purge(self, queues: Sequence[str] | None, now: float) -> int:
        with self._database.write() as unit:
            purged = managing.purge(unit.connection.cursor(), queues, now)
        if purged:
            self._bells.ring_for_results([""])
        return purged

    def requeue(self, job_ids: Sequence[str], now: float) -> list[bool]:
        with self._database.write() as unit:
            done = managing.requeue(unit.connection.cursor(), job_ids, now)
        if any(done):
            self._bells.ring_for_all_jobs()
        return done

    def forget(self, job_id: str) -> bool:
        with self._database.write() as unit:
            return managing.forget(unit.connection.cursor(), job_id)

    def sweep(self, now: float, limit: int = 1000) -> int:
        with self._database.read() as connection:
            at = managing.next_sweep(connection)
        if at is None or at > now:
            return 0
        with self._database.write() as unit:
            cursor = unit.connection.cursor()
            expired = claiming.expire_waiting(cursor, now, limit)
            discarded = managing.discard_results(cursor, now, limit)
            strays = soundness.end_strays(unit.connection, now, limit)
        if expired:
            self._bells.ring_for_results(expired)
        return len(expired) + discarded + strays

    def next_sweep(self) -> float | None:
        with self._database.read() as connection:
            return managing.next_sweep(connection)

    # ---- waking ----------------------------------------------------------------------------------

    def listen_for_jobs(self, queues: Sequence[str] | None = None) -> Listener:
        return self._bells.listen_for_jobs(queues)

    def listen_for_result(self, job_id: str | None = None) -> Listener:
        return self._bells.listen_for_result(job_id)

    def listen_for_schedules(self) -> Listener:
        return self._bells.listen_for_schedules()

    def is_awaited(self) -> bool:
        return self._bells.anyone_awaits_results()

    # ---- the store itself ------------------------------------------------------------------------

    @contextmanager
    def lead(self, office: str = "upkeep") -> Iterator[bool]:
        with translated(self.path):
            lock = OsLock(self._side.lead(office))
        try:
            with translated(self.path):
                leads = lock.try_acquire()
            yield leads
        finally:
            lock.close()

    def tend(self, now: float) -> None:
        self._upkeep.tend(now)

    def diagnose(self, now: float) -> list[Finding]:
        records = self.workers()
        with self._database.read() as connection:
            return diagnosis.examine(
                connection, self.path, records, self._database.wal_size(), self._reserve.size, now
            )

    def describe(self) -> list[tuple[str, str]]:
        return [
            ("file", str(self.path)),
            ("durability", self._database.durability),
            ("sqlite", diagnosis.sqlite_version()),
        ]

    def close(self) -> None:
        with self._closing:
            if self._closed:
                return
            self._closed = True
        with contextlib.suppress(OSError):
            self._bells.close()
        self._database.close()
        self._lives.close()
