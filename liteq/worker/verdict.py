"""What becomes of the jobs that a dead worker process leaves behind, as its supervisor decides it."""

from __future__ import annotations

import math
import signal
from collections.abc import Mapping
from enum import Enum
from typing import Any, NamedTuple

from liteq.errors import WorkerLostError
from liteq.failure import encode_failure, reason
from liteq.job import Claim, Running, Transition
from liteq.lifecycle import Crashed, Lost, Outcome, Raised, Returned, decide
from liteq.retry import Random, RetryPolicy
from liteq.worker.config import LOST_DESCRIPTORS
from liteq.worker.faults import overrun, time_limit_of
from liteq.worker.recovery import find_running

__all__ = ["Death", "End", "describe_exit", "interrupted", "judge"]


class Death(Enum):
    """Why a worker process is dead."""

    CRASHED = "crashed"
    """By itself, or by somebody else's hand: the job that it ran is charged."""
    TIME_LIMIT = "time limit"
    """Killed by the supervisor because a job ran for too long."""
    STOPPED = "stopped"
    """It ended as asked, or the supervisor killed it to stop at once: nobody is charged."""


class End(NamedTuple):
    """How a worker process ended."""

    death: Death
    status: int
    """Its exit status, negative for a signal."""
    at: float = math.inf
    """When it was killed for a time limit, on the monotonic clock."""


def judge(
    claims: list[Claim],
    running: Running | None,
    end: End,
    tasks: Mapping[str, Mapping[str, Any]],
    now: float,
    random: Random,
) -> list[Transition]:
    """Decide about all jobs that a dead worker held.

    A crash is charged to what ran: to one job, and to all of several, of which nobody can say which it was. A
    time limit is charged to those that had passed theirs. The others return unharmed.

    Args:
        claims: what it held.
        running: what it had published as running.
        end: how it ended.
        tasks: each task's retry options, as the worker announced them.
        now: UTC seconds since the epoch.
        random: a source of floats in [0, 1).
    """
    return [decide(claim, _outcome(claim, running, end, tasks), now, random) for claim in claims]


def _outcome(
    claim: Claim, running: Running | None, end: End, tasks: Mapping[str, Mapping[str, Any]]
) -> Outcome:
    ran = find_running(running, claim.seq, claim.token)
    if ran is None:
        return Returned()
    if end.death is Death.STOPPED:
        return interrupted(claim, "a stop")
    if end.death is Death.TIME_LIMIT:
        if ran.deadline is None or ran.deadline > end.at:
            return interrupted(claim, "the time limit of a job beside it")
        described = tasks.get(claim.task, {})
        late = overrun(claim, time_limit_of(claim, described.get("time_limit")) or ran.deadline - ran.since)
        automatic = bool(described.get("retries_time_limit"))
        return Raised(encode_failure(late), reason(late), _policy(described), automatic)
    company = "" if not running or not running.beside else f" beside {len(running.beside)} others"
    lost = WorkerLostError(
        f"{claim.task}[{claim.id}]: its worker process {describe_exit(end.status)} while it ran{company} "
        f"(crash {claim.crashes + 1} of at most {max(1, claim.max_crashes)})."
    )
    return Crashed(encode_failure(lost), reason(lost))


def interrupted(claim: Claim, by: str) -> Outcome:
    """Give the job back without losing an attempt, unless this attempt was the only one it may have."""
    if claim.max_crashes > 0:
        return Returned()
    lost = WorkerLostError(f"{claim.task}[{claim.id}]: it was interrupted by {by}, and may run only once.")
    return Lost(True, encode_failure(lost), reason(lost))


def _policy(described: Mapping[str, Any]) -> RetryPolicy:
    options = ("max_retries", "default_retry_delay", "retry_backoff", "retry_backoff_max", "retry_jitter")
    return RetryPolicy(**{option: described[option] for option in options if option in described})


def describe_exit(status: int) -> str:
    """Return an exit status in words, to follow "the process"."""
    if status == LOST_DESCRIPTORS:
        return "ended itself because descriptors that it needs were closed or replaced"
    if status >= 0:
        return f"exited with status {status}"
    try:
        name = signal.Signals(-status).name
    except ValueError:
        name = f"signal {-status}"
    return f"was killed by {name}"
