"""What must be recorded of a run, and of the end of a lease, by the rights of whoever ends it."""

from __future__ import annotations

from chaos.simulation.jobs import Entry, How, Lease
from chaos.simulation.tasks import Act
from liteq.codec import get_codec
from liteq.failure import decode_failure
from liteq.job import Claim, Transition
from liteq.states import FAILURE, PENDING, RETRY, SUCCESS

__all__ = ["facts", "fits", "misjudged"]

CODEC = get_codec("msgpack")


def facts(to: Transition) -> tuple[object, ...]:
    return (to.state, to.due, to.attempts, to.retries, to.crashes, to.reason, to.keep)


def fits(how: How, lease: Lease, to: Transition, now: float) -> bool:
    """Tell whether this is how a lease is ended by this right."""
    entry, claim = lease.entry, lease.claim
    attempts, retries, crashes, limit = claim.attempts, claim.retries, claim.crashes, entry.kind.max_crashes
    counts = (to.attempts, to.retries, to.crashes)
    returned = to.state == PENDING and to.due == claim.due and to.reason is None
    match how:
        case How.OUTCOME:
            return to is lease.outcome
        case How.RETURNED | How.TAKEN | How.LOST_UNBEGUN:
            return returned and counts == (attempts - 1, retries, crashes)
        case How.CHARGED:
            if counts != (attempts, retries, crashes + 1):
                return False
            if crashes + 1 >= limit:
                return _failed(to, "WorkerLostError")
            return to.state == RETRY and to.due == now + (0.25 if crashes == 0 else 2.0)
        case How.LATE:
            if entry.kind.retries_late and _may_retry(entry, retries):
                return counts == (attempts, retries + 1, crashes) and _retried(entry, retries, to, now)
            return counts == (attempts, retries, crashes) and _failed(to, "TimeLimitExceeded")
        case How.INTERRUPTED:
            if limit == 0:
                return counts == (attempts, retries, crashes) and _failed(to, "WorkerLostError")
            return returned and counts == (attempts - 1, retries, crashes)
        case How.LOST_BEGUN:
            fails = limit == 0 and _failed(to, "WorkerLostError")
            return counts == (attempts, retries, crashes) and (fails or (limit > 0 and returned))


def _failed(to: Transition, kind: str) -> bool:
    failure = to.state == FAILURE and to.due is None and to.keep and to.result
    return bool(failure) and decode_failure(to.result or b"").type == kind


def _may_retry(entry: Entry, retries: int) -> bool:
    return entry.kind.max_retries is None or retries < entry.kind.max_retries


def _retried(entry: Entry, retries: int, to: Transition, now: float) -> bool:
    least, most = entry.kind.delays(retries)
    return to.state == RETRY and to.due is not None and now + least <= to.due <= now + most


def misjudged(entry: Entry, lease: Lease, to: Transition, now: float) -> str:
    """Return what is wrong with what the executor made of a run; nothing if it is right."""
    claim = lease.claim
    act = entry.acts[min(claim.attempts, len(entry.acts)) - 1]
    retries = act in (Act.BUSY, Act.AGAIN, Act.BY_HAND) and _may_retry(entry, claim.retries)
    if (to.attempts, to.retries, to.crashes) != (claim.attempts, claim.retries + retries, claim.crashes):
        return "its counts are others"
    if (to.seq, to.token, to.id, to.at) != (claim.seq, claim.token, claim.id, now):
        return "it is another job"
    if act == Act.AGAIN and retries:
        is_right = to.state == RETRY and to.due is not None and abs(to.due - lease.asked) < 1e-5
        return "" if is_right else "it is not tried again when it asked to be"
    if retries:
        return "" if _retried(entry, claim.retries, to, now) else "it is not tried again in time"
    if act == Act.REQUEUE:
        return "" if (to.state, to.due) == (PENDING, now) else "it is not ready at once"
    if to.due is not None:
        return "it waits"
    return _wrong_end(act, claim, lease.run, to)


def _wrong_end(act: str, claim: Claim, run: int, to: Transition) -> str:
    """Return what is wrong with the end of a job; nothing if it is right."""
    if act in (Act.RETURN, Act.REPORT, Act.RETURN_NOTHING) or (
        act == Act.UNENCODABLE and claim.ignore_result
    ):
        kept = None if to.result is None else CODEC.decode(to.result)
        expected = None if claim.ignore_result or act == Act.RETURN_NOTHING else [claim.id, run]
        right = (SUCCESS, expected, not claim.ignore_result)
        return "" if (to.state, kept, to.keep) == right else f"its result is {kept}"
    if act == Act.IGNORE:
        return "" if not to.keep else "it is kept"
    if act == Act.REPORT_AND_IGNORE:
        kept = None if to.result is None else CODEC.decode(to.result)
        return "" if (to.state, kept, to.keep) == ("PROGRESS", run, True) else "its own state is not kept"
    names = {
        Act.RAISE: "ValueError",
        Act.EXIT: "SystemExit",
        Act.UNENCODABLE: "EncodingError",
        Act.REJECT: "Reject",
        Act.BUSY: "Busy",
        Act.AGAIN: "MaxRetriesExceededError",
        Act.BY_HAND: "Retry",
    }
    return "" if _failed(to, names[Act(act)]) else "it failed otherwise"
