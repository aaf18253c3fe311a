"""The records of a move from one store to another.

Times are UTC, in seconds since the epoch.
"""

from __future__ import annotations

from typing import NamedTuple

from liteq.job import PRIORITY_MAX, PRIORITY_MIN, Job

__all__ = ["MoveMark", "Moved", "StoredJob", "within_bounds"]

_EARLIEST, _LATEST = -62135596800.0, 253402300799.0
"""The first second and the last that a `datetime` can say."""
_MOST = 2**31 - 1


class StoredJob(NamedTuple):
    """Everything that a store knows of a job that nobody holds: what goes with it into another store."""

    seq: int
    """Its number in the store it comes from, which says where it stands among the others there."""
    id: str
    task: str
    queue: str
    station: str
    """`ready`, `delayed` or `finished`."""
    state: str
    priority: int
    enqueued: float
    due: float
    eta: float | None
    expires: float | None
    started: float | None
    done: float | None
    discard: float | None
    """When its record is dropped; None while it is not finished, or if it is kept for ever."""
    attempts: int
    retries: int
    crashes: int
    max_crashes: int
    ignore_result: bool
    result_expires: float | None
    """As in `NewJob`."""
    codec: str
    payload: bytes
    options: bytes | None
    result: bytes | None
    reason: str | None

    @classmethod
    def of(cls, job: Job, station: str, discard: float | None, result_expires: float | None) -> StoredJob:
        """Return a job as readers see it, with what only its store knows."""
        shared = {name: getattr(job, name) for name in cls._fields if name in Job._fields}
        return cls(**shared, station=station, discard=discard, result_expires=result_expires)


def within_bounds(job: StoredJob) -> StoredJob:
    """Return a job with numbers and times that every store can hold; those of a job that is sound are such.

    A damaged one may say anything, and stores of different kinds have different bounds.
    """
    keep = job.result_expires
    return job._replace(
        priority=min(max(job.priority, PRIORITY_MIN), PRIORITY_MAX),
        enqueued=_time(job.enqueued) or 0.0,
        due=_time(job.due) or 0.0,
        eta=_time(job.eta),
        expires=_time(job.expires),
        started=_time(job.started),
        done=_time(job.done),
        discard=_time(job.discard),
        attempts=_count(job.attempts),
        retries=_count(job.retries),
        crashes=_count(job.crashes),
        max_crashes=_count(job.max_crashes),
        result_expires=keep if keep is not None and 0 <= keep <= _LATEST else None,
    )


def _time(value: float | None) -> float | None:
    return value if value is not None and _EARLIEST <= value <= _LATEST else None


def _count(value: int) -> int:
    return min(max(value, 0), _MOST)


class MoveMark(NamedTuple):
    """What a store that is moved away says of that: it is closed, and where its jobs are to be found."""

    id: str
    """The move's own id."""
    target: str
    """The URL of the store that it is moved to, without a password."""
    began: float
    ended: float | None = None
    """When the target had everything; None until then."""


class Moved(NamedTuple):
    """How much a move has brought to its target so far, in all its runs."""

    waiting: int = 0
    """Jobs that are ready to run."""
    delayed: int = 0
    """Jobs that wait for their time, such as for a retry."""
    failed: int = 0
    """Jobs that ended FAILURE."""
    results: int = 0
    """Other finished jobs: results, and what was revoked."""
    schedules: int = 0

    @property
    def jobs(self) -> int:
        """How many jobs of all kinds."""
        return self.waiting + self.delayed + self.failed + self.results
