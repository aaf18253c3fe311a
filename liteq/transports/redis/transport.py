"""The Redis transport: the port's verbs, each one script on the server."""

from __future__ import annotations

import time
from collections.abc import Collection, Sequence
from contextlib import AbstractContextManager

from liteq.errors import StoreUnreachableError
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
from liteq.transport import Listener, RunningSlot, Transport
from liteq.transports.redis.calls import Calls
from liteq.transports.redis.diagnosis import describe, examine
from liteq.transports.redis.doorbell import Doorbells
from liteq.transports.redis.liveness import Liveness
from liteq.transports.redis.managing import Desk
from liteq.transports.redis.moving import MovableStore
from liteq.transports.redis.offices import Offices
from liteq.transports.redis.opening import open_connection
from liteq.transports.redis.producing import Origins, enqueue
from liteq.transports.redis.records import as_count, as_origin
from liteq.transports.redis.registry import about, as_worker
from liteq.transports.redis.schedules import StoredSchedules
from liteq.transports.redis.turns import Turns, wanted

__all__ = ["RedisTransport"]

FORGOTTEN_AFTER = 86400.0
"""Seconds after the end of its lease for which a worker stays listed that holds no job and cannot be seen."""


class RedisTransport(StoredSchedules, MovableStore, Transport):
    """A queue on a Redis server."""

    crosses_processes = True

    def __init__(
        self,
        url: str,
        *,
        durability: str = "full",
        create: bool = True,
        busy_timeout: float = 30.0,
        task_timeout: float = 0.0,
        **secrets: str,
    ) -> None:
        """Connect to the server, and begin a queue there if there is none.

        Args:
            url: where it is; see `liteq.urls`.
            durability: `full` to be warned if the server may lose what it has confirmed.
            create: whether a queue is begun where there is none.
            busy_timeout: seconds to wait for a server that does not serve, before `StoreUnreachableError`.
            task_timeout: the same for what a running task asks for, if that is longer.
            secrets: the passwords that are not in the URL.

        Raises:
            ConfigurationError: the URL cannot be read, or redis-py is missing.
            StoreError: the server cannot serve; the subclass and the message say why.
        """
        self._connection = open_connection(
            url, durability=durability, busy_timeout=busy_timeout, create=create, **secrets
        )
        self.url = self._connection.shown
        self._durability = durability
        self._task_timeout = task_timeout
        self._lives = Liveness(self._connection.url.place)
        self._offices = Offices(self._connection)
        self._calls = Calls(self._connection, busy_timeout)
        self._bells = Doorbells(self._connection)
        self._origins = Origins()
        self._turns = Turns(self._calls, self._bells)
        self._desk = Desk(self._calls, self._bells)

    # ---- producing -------------------------------------------------------------------------------

    def declare(self, origin: TaskOrigin) -> None:
        self._origins.declare(origin)

    def enqueue(self, jobs: Sequence[NewJob], now: float) -> list[bool]:
        return enqueue(self._calls, self._origins, jobs, now) if jobs else []

    # ---- working ---------------------------------------------------------------------------------

    def register(self, worker: WorkerInfo, visibility_timeout: float, now: float) -> int:
        facts = about(worker, self._lives.host_id)
        holder = int(self._calls.act("register", facts, visibility_timeout, now))
        try:
            self._lives.claim(holder)
        except BaseException:
            self.expel(holder, None)
            raise
        return holder

    def unregister(self, holder: int) -> None:
        self.expel(holder, None)
        self._turns.forget(holder)
        self._lives.release(holder)

    def turn(
        self,
        holder: int,
        now: float,
        settlements: Sequence[Transition] = (),
        request: ClaimRequest | None = None,
    ) -> Turn:
        return self._turns.take(holder, now, settlements, request)

    def is_registered(self, holder: int) -> bool:
        return bool(self._calls.ask("is_registered", holder))

    def update_state(self, seq: int, token: int, state: str, result: bytes | None) -> bool:
        told = False if result is None else result
        give_up = time.monotonic() + self._task_timeout
        while True:
            try:
                return bool(self._calls.act("update_state", seq, token, str(state), told))
            except StoreUnreachableError:
                # A worker looks around every few seconds; a task is not to fail because of that.
                if time.monotonic() >= give_up:
                    raise

    def renew(self, holders: Collection[int], visibility_timeout: float, now: float) -> None:
        if holders:
            self._calls.act("renew", list(holders), now + visibility_timeout)

    def next_due(self, request: ClaimRequest) -> float | None:
        due = self._calls.ask("next_due", (wanted(request), self._turns.seen))
        return None if due is False else float(due)

    def slot(self, holder: int, places: int = 1) -> RunningSlot:
        return self._lives.slot(holder, places)

    def running(self, holder: int) -> Running | None:
        return self._lives.running(holder, self._lives.host_id)

    # ---- recovering ------------------------------------------------------------------------------

    def workers(self) -> list[WorkerRecord]:
        found = [as_worker(facts, self._lives) for facts in self._calls.ask("workers")]
        return sorted(found, key=lambda record: record.holder)

    def expel(self, holder: int, seen_expires: float | None) -> bool:
        return bool(self._calls.act("expel", holder, False if seen_expires is None else seen_expires))

    def leases(self, holder: int) -> list[Claim]:
        return self._desk.leases(holder)

    # ---- reading and managing --------------------------------------------------------------------

    def get(self, job_ids: Sequence[str]) -> list[Job | None]:
        return self._desk.get(job_ids)

    def find(self, which: JobFilter) -> list[Job]:
        return self._desk.find(which)

    def count(self) -> list[LaneCount]:
        told = self._calls.ask("count")
        return sorted(as_count(*told[at : at + 2]) for at in range(0, len(told), 2))

    def origins(self) -> list[TaskOrigin]:
        found = [as_origin(told) for told in self._calls.ask("origins")]
        return sorted((one for one in found if one is not None), key=lambda origin: origin.task)

    def revoke(self, job_ids: Sequence[str], now: float, reason: str) -> list[bool]:
        return self._desk.revoke(job_ids, now, reason)

    def purge(self, queues: Sequence[str] | None, now: float) -> int:
        return self._desk.purge(queues, now)

    def requeue(self, job_ids: Sequence[str], now: float) -> list[bool]:
        return self._desk.requeue(job_ids, now)

    def forget(self, job_id: str) -> bool:
        return self._desk.forget(job_id)

    def sweep(self, now: float, limit: int = 1000) -> int:
        return self._desk.sweep(now, limit)

    def next_sweep(self) -> float | None:
        return self._desk.next_sweep()

    # ---- waking ----------------------------------------------------------------------------------

    def listen_for_jobs(self, queues: Sequence[str] | None = None) -> Listener:
        return self._bells.listen_jobs(queues)

    def listen_for_result(self, job_id: str | None = None) -> Listener:
        return self._bells.listen_result(job_id)

    def listen_for_schedules(self) -> Listener:
        return self._bells.listen_schedules()

    def is_awaited(self) -> bool:
        return self._bells.is_awaited()

    # ---- the store itself ------------------------------------------------------------------------

    def lead(self, office: str = "upkeep") -> AbstractContextManager[bool]:
        return self._offices.lead(office)

    def keeps(self, office: str) -> bool:
        return self._offices.keeps(office)

    def tend(self, now: float) -> None:
        records = self.workers()
        self._lives.tidy([record.holder for record in records])
        for record in records:
            # Of another host, and nothing was heard of it since; if it lives after all, it registers anew.
            if record.alive is not True and not record.leases and record.expires < now - FORGOTTEN_AFTER:
                self.expel(record.holder, record.expires)

    def diagnose(self, now: float) -> list[Finding]:
        broken = sum(record.broken is not None for record in self.schedules())
        found = examine(self._connection, self.workers(), self._durability, broken, now)
        return [*findings(self.moving()), *found]

    def describe(self) -> list[tuple[str, str]]:
        return describe(self._connection, self._durability)

    def hurry(self, seconds: float | None) -> None:
        self._connection.hurry(seconds)

    def until(self, deadline: float | None) -> AbstractContextManager[None]:
        return self._connection.until(deadline)

    def close(self) -> None:
        self._bells.close()
        self._offices.close()
        self._lives.close()
        self._connection.close()
