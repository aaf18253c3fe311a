"""What becomes of the jobs that a dead worker process leaves behind, as its supervisor decides it."""

from __future__ import annotations

import signal
from collections.abc import Mapping
from enum import Enum
from typing import Any

from liteq.errors import TimeLimitExceeded, WorkerLostError
from liteq.failure import encode_failure, reason
from liteq.job import Claim, Running, Transition
from liteq.lifecycle import Crashed, Lost, Outcome, Raised, Returned, decide
from liteq.retry import Random, RetryPolicy
from liteq.worker.config import LOST_DESCRIPTORS
from liteq.worker.recovery import is_running

__all__ = ["Death", "describe_exit", "judge"]


class Death(Enum):
    """Why a worker process is dead."""

    CRASHED = "crashed"
    """By itself, or by somebody else's hand: the job that it ran is charged."""
    TIME_LIMIT = "time limit"
    """Killed by the supervisor because a job ran for too long."""
    STOPPED = "stopped"
    """It ended as asked, or the supervisor killed it to stop at once: nobody is charged."""


def judge(
    claims: list[Claim],
    running: Running | None,
    death: Death,
    status: int,
    tasks: Mapping[str, Mapping[str, Any]],
    now: float,
    random: Random,
) -> list[Transition]:
    """Decide about all jobs that a dead worker held: one may be charged, the others return unharmed.

    Args:
        claims: what it held.
        running: what it had published as running.
        death: why it died.
        status: its exit status, negative for a signal.
        tasks: each task's retry options, as the worker announced them.
        now: UTC seconds since the epoch.
        random: a source of floats in [0, 1).
    """
    return [decide(claim, _outcome(claim, running, death, status, tasks), now, random) for claim in claims]


def _outcome(
    claim: Claim,
    running: Running | None,
    death: Death,
    status: int,
    tasks: Mapping[str, Mapping[str, Any]],
) -> Outcome:
    if not is_running(running, claim):
        return Returned()
    if death is Death.STOPPED:
        return _interrupted(claim)
    if death is Death.TIME_LIMIT and running is not None and running.deadline is not None:
        limit = round(running.deadline - running.since, 3)
        late = TimeLimitExceeded(f"{claim.task}[{claim.id}] ran longer than its time limit of {limit:g} s.")
        described = tasks.get(claim.task, {})
        automatic = bool(described.get("retries_time_limit"))
        return Raised(encode_failure(late), reason(late), _policy(described), automatic)
    lost = WorkerLostError(
        f"{claim.task}[{claim.id}]: its worker process {describe_exit(status)} while it ran "
        f"(crash {claim.crashes + 1} of at most {max(1, claim.max_crashes)})."
    )
    return Crashed(encode_failure(lost), reason(lost))


def _interrupted(claim: Claim) -> Outcome:
    """Give the job back without losing an attempt, unless this attempt was the only one it may have."""
    if claim.max_crashes > 0:
        return Returned()
    lost = WorkerLostError(f"{claim.task}[{claim.id}]: it was interrupted by a stop, and may run only once.")
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
