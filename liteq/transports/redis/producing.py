"""Storing new jobs, and where their tasks live."""

from __future__ import annotations

import struct
from collections.abc import Iterable, Sequence
from typing import Any

from liteq.errors import PayloadTooLargeError
from liteq.job import PRIORITY_MAX, NewJob, TaskOrigin
from liteq.transports.redis.calls import Calls
from liteq.transports.redis.records import body_of, lane_of, pack, record_of

__all__ = ["Origins", "Shipment", "enqueue"]

MOST_BYTES = 256 << 20
"""Payloads in one call; a server takes 512 MB, and needs room to work on it."""
SOON = 1.0
"""Seconds; sleepers look this often by themselves, so jobs due later need no ring."""
_PLACE = struct.Struct(">HBd").pack
_EARLY = bytes(255 - byte for byte in range(256))


class Origins:
    """Where tasks live, as far as that was declared here and not stored yet."""

    def __init__(self) -> None:
        self._declared: dict[str, TaskOrigin] = {}
        self._sent: dict[str, TaskOrigin] = {}

    def declare(self, origin: TaskOrigin) -> None:
        """Remember it for the next job of that task."""
        self._declared[origin.task] = origin

    def of(self, task: str) -> tuple[str, bytes] | None:
        """Return what is to be stored with a job of a task, if anything is."""
        if not self._declared:
            return None
        origin = self._declared.get(task)
        if origin is None:
            return None
        self._sent[task] = origin
        return task, pack((origin.task, origin.module, origin.root, origin.directory))

    def stored(self, tasks: Iterable[str]) -> None:
        """Note that those of these tasks are stored."""
        if self._declared:
            for task in set(tasks):
                # Another may have been declared meanwhile.
                if task in self._declared and self._declared[task] is self._sent.get(task):
                    del self._declared[task]


class Shipment:
    """New jobs as the scripts take them.

    Attributes:
        lanes: each lane's name and queue.
        origins: for each lane the origin of its task, or False.
    """

    def __init__(self, origins: Origins, now: float) -> None:
        self.lanes: list[tuple[bytes, str]] = []
        self.origins: list[Any] = []
        self._numbers: dict[tuple[str, str], int] = {}
        self._origins = origins
        self._now = now

    def pack(self, job: NewJob) -> tuple[Any, ...]:
        """Return a job as the scripts take it; see `storing.lua`."""
        names = (job.queue, job.task)
        number = self._numbers.get(names)
        lane = lane_of(*names)
        if number is None:
            self.lanes.append((lane, job.queue))
            self.origins.append(self._origins.of(job.task) or False)
            # Lua counts from 1.
            number = self._numbers[names] = len(self.lanes)
        now = self._now
        due = now if job.eta is None else max(now, job.eta)
        expires = False if job.expires is None else job.expires
        return (
            *(job.id, number, due, _place(job.priority, due), expires),
            *(record_of(job, lane, due, now), body_of(job, now)),
        )


def enqueue(calls: Calls, origins: Origins, jobs: Sequence[NewJob], now: float) -> list[bool]:
    """Store jobs; for each, tell whether it was stored or gave way to an unfinished one of its id."""
    _check_size(jobs)
    if len(jobs) == 1 and origins.of(jobs[0].task) is None and _enqueue_one(calls, jobs[0], now):
        return [True]
    shipment = Shipment(origins, now)
    packed = [shipment.pack(job) for job in jobs]
    stored = calls.act("enqueue", now, shipment.lanes, packed, shipment.origins)
    origins.stored(job.task for job, is_new in zip(jobs, stored, strict=True) if is_new)
    return [is_new == 1 for is_new in stored]


def _check_size(jobs: Sequence[NewJob]) -> None:
    """Refuse what a server would not take in one call, and would hang up on.

    Raises:
        PayloadTooLargeError: the payloads come to more than `MOST_BYTES`.
    """
    size = sum([len(job.payload) for job in jobs])
    if size > MOST_BYTES:
        raise PayloadTooLargeError(
            f"The arguments of {len(jobs)} calls come to {size / 1e6:,.0f} MB, and a Redis server takes "
            f"{MOST_BYTES / 1e6:,.0f} MB at once. Store them in several calls, without atomic=True."
        )


def _place(priority: int, due: float) -> bytes:
    """Return where a job stands among the ready ones, but for its number; see `place` in `moves.lua`."""
    if due < 0:
        place = _PLACE(PRIORITY_MAX - priority, 0, due)
        return place[:3] + place[3:].translate(_EARLY)
    return _PLACE(PRIORITY_MAX - priority, 1, due)


def _enqueue_one(calls: Calls, job: NewJob, now: float) -> bool:
    """Store one job, in less time; False if something has its id."""
    lane = lane_of(job.queue, job.task)
    due = now if job.eta is None or job.eta <= now else job.eta
    waits = due > now
    return bool(
        calls.do(
            "enqueue_one",
            job.id.encode("utf-8", "surrogatepass"),
            lane,
            job.queue if due - now <= SOON else b"",
            b"" if waits else _place(job.priority, due),
            due,
            b"" if job.expires is None else job.expires,
            record_of(job, lane, due, now),
            body_of(job, now),
            (b"17:PENDING" if waits else b"07:PENDING") + lane,
        )
    )
