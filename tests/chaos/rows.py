"""What a store says when everything has stopped."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from liteq.codec import decode_call, get_codec
from liteq.failure import decode_failure
from liteq.job import Job, JobFilter
from liteq.transport import Transport

__all__ = ["ALL", "Contents", "Row", "read_rows"]

ALL = 1_000_000_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """A stored job.

    Attributes:
        tag: its first argument.
        value: the evidence that its attempt left: the result, or the message of the exception.
        error: the name of the exception's type, if it failed.
    """

    tag: str
    id: str
    state: str
    finished: bool = True
    seq: int = 0
    priority: int = 0
    due: float = 0.0
    eta: float | None = None
    expires: float | None = None
    enqueued: float = 0.0
    started: float | None = None
    done: float | None = None
    attempts: int = 1
    retries: int = 0
    crashes: int = 0
    max_crashes: int = 3
    value: str | None = None
    error: str | None = None
    reason: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Contents:
    """All that a store holds.

    Attributes:
        rows: the jobs.
        orders: the keys of the rows that callers wrote in the transactions of their calls.
        paid: tag and evidence of the rows that tasks wrote in the transactions of their completion.
        damage: what the store's own check found, and what could not be read.
    """

    rows: Sequence[Row] = ()
    orders: Sequence[str] = ()
    paid: Sequence[tuple[str, str]] = ()
    damage: Sequence[str] = ()


def read_rows(transport: Transport) -> list[Row]:
    """Return every job of a store."""
    return [_row(job) for job in transport.find(JobFilter(limit=ALL))]


def _row(job: Job) -> Row:
    codec = get_codec(job.codec)
    args, _ = decode_call(codec, job.payload)
    value = error = None
    if job.state in ("FAILURE", "RETRY") and job.result is not None:
        failure = decode_failure(job.result)
        value, error = failure.message, failure.type
    elif job.state == "SUCCESS" and job.result is not None:
        value = codec.decode(job.result)
    return Row(
        tag=args[0],
        id=job.id,
        state=job.state,
        finished=job.finished,
        seq=job.seq,
        priority=job.priority,
        due=job.due,
        eta=job.eta,
        expires=job.expires,
        enqueued=job.enqueued,
        started=job.started,
        done=job.done,
        attempts=job.attempts,
        retries=job.retries,
        crashes=job.crashes,
        max_crashes=job.max_crashes,
        value=value,
        error=error,
        reason=job.reason,
    )
