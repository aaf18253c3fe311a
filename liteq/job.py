"""The records that travel between the facade, the lifecycle and a transport.

All are immutable. Those that are made once per job on the hot path are `NamedTuple`s, which are built
from a database row in a third of a microsecond; a frozen dataclass of this width takes four.
Times are UTC, in seconds since the epoch.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

__all__ = [
    "DEFAULT_QUEUE",
    "DEFAULT_RESULT_EXPIRES",
    "PRIORITY_MAX",
    "PRIORITY_MIN",
    "Claim",
    "ClaimRequest",
    "Finding",
    "Job",
    "JobFilter",
    "LaneCount",
    "NewJob",
    "Running",
    "TaskOrigin",
    "Transition",
    "Turn",
    "WorkerInfo",
    "WorkerRecord",
    "foremost",
]

DEFAULT_QUEUE = "default"
DEFAULT_RESULT_EXPIRES = 86400.0
PRIORITY_MIN = -32768
PRIORITY_MAX = 32767


class NewJob(NamedTuple):
    """A call of a task, encoded and checked, ready to be stored."""

    id: str
    task: str
    payload: bytes
    codec: str = "msgpack"
    queue: str = DEFAULT_QUEUE
    priority: int = 0
    eta: float | None = None
    """Not before this time; None for at once."""
    expires: float | None = None
    """Not at or after this time: then it ends REVOKED."""
    max_crashes: int = 3
    ignore_result: bool = False
    result_expires: float | None = None
    """Seconds to keep the finished job; None for the default (a day), 0 for ever."""
    options: bytes | None = None
    """What only the worker needs (time limit, headers, parent and root id), encoded; opaque here."""


class Claim(NamedTuple):
    """A job under a lease, with all that a worker needs to run it and decide about it."""

    seq: int
    """The transport's own number of the job; with `token`, it is what a settle must match."""
    token: int
    """The fencing token of this lease; no two leases of a job share one."""
    id: str
    task: str
    queue: str
    payload: bytes
    codec: str
    priority: int
    due: float
    """When it had become ready: its place among the waiting, if it is handed back."""
    eta: float | None
    expires: float | None
    attempts: int
    """Attempts so far, this one included."""
    retries: int
    """Attempts that failed before this one."""
    crashes: int
    max_crashes: int
    ignore_result: bool
    options: bytes | None


class Transition(NamedTuple):
    """What the store records when a lease ends: the absolute new values, and nothing to compute."""

    seq: int
    token: int
    state: str
    at: float
    """When it was decided."""
    due: float | None = None
    """When it may be claimed again; None: it is finished."""
    attempts: int = 1
    retries: int = 0
    crashes: int = 0
    result: bytes | None = None
    reason: str | None = None
    """Why it failed, was revoked, or waits: one line for people."""
    keep: bool = True
    """False: a finished job leaves no record (a success with `ignore_result`)."""
    id: str = ""
    """The job's id, so that those who wait for this very job are woken; "" wakes all who wait."""


class Job(NamedTuple):
    """A stored job as readers see it."""

    seq: int
    id: str
    task: str
    queue: str
    state: str
    finished: bool
    """True once it will never run again by itself."""
    priority: int
    enqueued: float
    due: float
    """When it became, or becomes, claimable."""
    eta: float | None
    expires: float | None
    started: float | None
    """When the current or last attempt was claimed."""
    done: float | None
    """When it finished."""
    attempts: int
    retries: int
    crashes: int
    max_crashes: int
    ignore_result: bool
    holder: int | None
    """The worker that holds its lease, as in `WorkerRecord.holder`."""
    codec: str
    payload: bytes
    options: bytes | None
    result: bytes | None
    """The encoded result, failure or progress, by `state`."""
    reason: str | None


class ClaimRequest(NamedTuple):
    """What a worker would take: which tasks, from which queues, and how much of each."""

    tasks: Mapping[str, int]
    """The tasks it knows, each with its expected cost in microseconds (at least 1)."""
    queues: Sequence[str] | None = None
    """The queue names it serves; None for all."""
    budget: int = 20_000
    """Stop before the sum of costs passes this many microseconds; the first job is always taken."""
    limit: int = 128
    """At most this many jobs."""


class Running(NamedTuple):
    """What a worker published about the job that it runs at this moment, or about several."""

    seq: int
    token: int
    since: float
    """When it began, on the monotonic clock."""
    deadline: float | None
    """When it is to be killed, on the monotonic clock; None for never."""
    beside: tuple[Running, ...] | None = None
    """The other jobs that run beside it, whose deadlines come no sooner; None for a worker that runs one job
    after the other, in the order in which it claimed them."""


def foremost(running: Iterable[Running], several: bool) -> Running | None:
    """Return the job that is to end first with the others beside it; None of none.

    Args:
        running: what runs, each alone.
        several: whether the worker may run several jobs at once.
    """
    ordered = sorted(running, key=lambda each: (each.deadline or math.inf, each.since))
    if not ordered:
        return None
    return ordered[0]._replace(beside=tuple(ordered[1:])) if several else ordered[0]


class Turn(NamedTuple):
    """What one turn of a worker brought."""

    claimed: list[Claim]
    refused: list[Transition]
    """Settlements whose lease had been superseded; nothing of them was stored."""
    expelled: bool = False
    """The worker is known to be registered no more; False also where the transport did not look."""


class JobFilter(NamedTuple):
    """Which jobs a reader wants; None means any."""

    states: Sequence[str] | None = None
    tasks: Sequence[str] | None = None
    queues: Sequence[str] | None = None
    done_since: float | None = None
    """Only jobs finished at or after this time."""
    limit: int = 100


class LaneCount(NamedTuple):
    """How many jobs of one queue, task and state there are."""

    queue: str
    task: str
    state: str
    waiting: str
    """`ready`, `delayed`, `leased` or `finished`."""
    jobs: int


@dataclass(frozen=True, slots=True)
class TaskOrigin:
    """Where a task's function lives, so that a worker in another process can import it."""

    task: str
    module: str
    root: str
    """The folder that has to be on the import path."""
    directory: str
    """The working directory of the program that registered it; its relative paths start there."""


@dataclass(frozen=True, slots=True)
class WorkerInfo:
    """What a worker tells the store about itself when it registers."""

    name: str
    hostname: str
    pid: int
    supervisor: int
    """The process id of its supervisor; its own when it has none."""
    queues: tuple[str, ...] | None = None


@dataclass(frozen=True, slots=True)
class WorkerRecord:
    """A registered worker as the store knows it."""

    holder: int
    info: WorkerInfo
    started: float
    expires: float
    """When its leases run out unless it renews."""
    visibility_timeout: float
    """Seconds that its leases last without renewal, as it registered; it renews three times as often."""
    alive: bool | None
    """False when it is provably dead (its OS lock is free), True when it holds it, None when unknown."""
    running: Running | None = None
    """What it runs, or ran when it died, where it publishes that."""
    trusted: bool = True
    """False when what it published is lost or from before a restart of the machine."""
    leases: int = 0
    """How many jobs it holds."""


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that `doctor` looked at."""

    check: str
    ok: bool
    detail: str
    advice: str | None = None
