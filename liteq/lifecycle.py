"""What becomes of a job: one table of transitions, and `decide`, which applies it.

Pure: no I/O, no clock, no global random. A worker says what execution did (an *outcome*), `decide`
says what the store is to record (a *transition*), and the transport only writes that down.
`TRANSITIONS` is the whole state machine; the diagram in the documentation is drawn from it.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from liteq.job import Claim, Transition
from liteq.retry import Random, RetryPolicy, crash_delay
from liteq.states import FAILURE, PENDING, RETRY, REVOKED, STARTED, SUCCESS, State

__all__ = [
    "TRANSITIONS",
    "Crashed",
    "Event",
    "Ignored",
    "Lost",
    "Outcome",
    "Raised",
    "Rejected",
    "RetryAsked",
    "Returned",
    "Succeeded",
    "decide",
]


class Event(StrEnum):
    """What can happen to a job."""

    CLAIM = "claim"
    SUCCEED = "succeed"
    FAIL = "fail"
    RETRY = "retry"
    CRASH = "crash"
    HAND_BACK = "hand back"
    EXPIRE = "expire"
    REVOKE = "revoke"
    REQUEUE = "requeue"


TRANSITIONS: dict[tuple[State, Event], State] = {
    (PENDING, Event.CLAIM): STARTED,
    (RETRY, Event.CLAIM): STARTED,
    (STARTED, Event.SUCCEED): SUCCESS,
    (STARTED, Event.FAIL): FAILURE,
    (STARTED, Event.RETRY): RETRY,
    (STARTED, Event.CRASH): RETRY,
    (STARTED, Event.HAND_BACK): PENDING,
    (PENDING, Event.EXPIRE): REVOKED,
    (RETRY, Event.EXPIRE): REVOKED,
    (PENDING, Event.REVOKE): REVOKED,
    (RETRY, Event.REVOKE): REVOKED,
    (FAILURE, Event.REQUEUE): PENDING,
    (REVOKED, Event.REQUEUE): PENDING,
}
"""From a state, by an event, to a state. What is not here cannot happen."""


@dataclass(frozen=True, slots=True)
class Succeeded:
    """The task returned; `result` is its encoded value, None for None or where none is wanted."""

    result: bytes | None = None


@dataclass(frozen=True, slots=True)
class Raised:
    """The task raised, or ran into its time limit; `automatic` says that the policy retries that type."""

    error: bytes
    reason: str
    policy: RetryPolicy
    automatic: bool = False


@dataclass(frozen=True, slots=True)
class RetryAsked:
    """The task raised `self.retry()`, which has checked that an attempt is left and when it is due."""

    error: bytes
    reason: str
    due: float


@dataclass(frozen=True, slots=True)
class Rejected:
    """The task raised `Reject`."""

    error: bytes
    reason: str
    requeue: bool = False


@dataclass(frozen=True, slots=True)
class Ignored:
    """The task raised `Ignore`; `state` and `result` are what it had reported itself, if it had."""

    state: str | None = None
    result: bytes | None = None


@dataclass(frozen=True, slots=True)
class Crashed:
    """The process died while it ran this job, and its supervisor lived to see it: the job is charged."""

    error: bytes
    reason: str


@dataclass(frozen=True, slots=True)
class Returned:
    """Handed back unharmed: never started, or interrupted by a stop. It loses no attempt."""


@dataclass(frozen=True, slots=True)
class Lost:
    """Its lease was recovered from a holder that is gone or silent; nobody can be blamed.

    `started` says whether it may have begun to run: then a task that must run at most once
    (`max_crashes=0`) has had its one run.
    """

    started: bool
    error: bytes
    reason: str


Outcome = Succeeded | Raised | RetryAsked | Rejected | Ignored | Crashed | Returned | Lost


def decide(job: Claim, outcome: Outcome, now: float, random: Random) -> Transition:
    """Return what the store is to record for a claimed job, given what happened to it.

    Args:
        job: the job under its lease.
        outcome: what execution did.
        now: UTC seconds since the epoch.
        random: a source of floats in [0, 1), for jitter.
    """
    match outcome:
        case Succeeded(result):
            return _finished(job, Event.SUCCEED, now, result, keep=not job.ignore_result)
        case Raised(error, reason, policy, automatic):
            if automatic and policy.has_retries_left(job.retries):
                return _retried(job, now, now + policy.delay(job.retries, random), error, reason)
            return _finished(job, Event.FAIL, now, error, reason)
        case RetryAsked(error, reason, due):
            return _retried(job, now, due, error, reason)
        case Rejected(error, reason, requeue):
            if requeue:
                return _handed_back(job, now, due=now, attempts=job.attempts)
            return _finished(job, Event.FAIL, now, error, reason)
        case Ignored(state, result):
            ended = _finished(job, Event.SUCCEED, now, result, keep=state is not None)
            return ended if state is None else ended._replace(state=state)
        case Crashed(error, reason):
            return _crashed(job, now, error, reason)
        case Returned():
            return _handed_back(job, now, job.due, job.attempts - 1)
        case Lost(started, error, reason):
            if started and job.max_crashes == 0:
                return _finished(job, Event.FAIL, now, error, reason)
            return _handed_back(job, now, job.due, job.attempts - (not started))


def _finished(
    job: Claim, event: Event, now: float, result: bytes | None, reason: str | None = None, keep: bool = True
) -> Transition:
    state = TRANSITIONS[STARTED, event]
    facts = (job.attempts, job.retries, job.crashes)
    return Transition(job.seq, job.token, state, now, None, *facts, result, reason, keep, job.id)


def _retried(job: Claim, now: float, due: float, error: bytes, reason: str) -> Transition:
    state = TRANSITIONS[STARTED, Event.RETRY]
    facts = (job.attempts, job.retries + 1, job.crashes)
    return Transition(job.seq, job.token, state, now, due, *facts, error, reason, True, job.id)


def _crashed(job: Claim, now: float, error: bytes, reason: str) -> Transition:
    crashes = job.crashes + 1
    if crashes >= job.max_crashes:
        return _finished(job._replace(crashes=crashes), Event.FAIL, now, error, reason)
    state = TRANSITIONS[STARTED, Event.CRASH]
    facts = (job.attempts, job.retries, crashes)
    return Transition(
        job.seq, job.token, state, now, now + crash_delay(crashes), *facts, error, reason, True, job.id
    )


def _handed_back(job: Claim, now: float, due: float, attempts: int) -> Transition:
    state = TRANSITIONS[STARTED, Event.HAND_BACK]
    return Transition(job.seq, job.token, state, now, due, attempts, job.retries, job.crashes, id=job.id)
