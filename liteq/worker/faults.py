"""What is wrong with a job that the worker itself ends, as the error that is stored of it."""

from __future__ import annotations

from liteq.calls.options import decode_options
from liteq.codec.protection import NOT_ENCRYPTED
from liteq.codec.types import dotted_name
from liteq.errors import DecodingError, EncodingError, NotSupportedError, SecurityError, TimeLimitExceeded
from liteq.failure import reason
from liteq.job import Claim

__all__ = ["insecure", "left_open", "overrun", "time_limit_of", "unreadable", "unwritable"]


def time_limit_of(job: Claim, default: float | None) -> float | None:
    """Return the seconds that a job may take: those given at the call, else its task's own.

    Options that cannot be read give none; the executor meets the same bytes, and the job fails there.
    """
    if job.options is None:
        return default
    try:
        given = decode_options(job.options).time_limit
    except DecodingError:
        return default
    return default if given is None else given


def overrun(job: Claim, limit: float) -> TimeLimitExceeded:
    """Return the error of a job that was ended at its time limit."""
    return TimeLimitExceeded(f"{job.task}[{job.id}] ran longer than its time limit of {round(limit, 3):g} s.")


def insecure(job: Claim, refusal: str) -> SecurityError:
    """Return the error of a job that was not run because of its signature, or for want of encryption."""
    kind, done = ("an encryption", "encrypted") if refusal == NOT_ENCRYPTED else ("a signing", "signed")
    return SecurityError(
        f"This job of task {job.task} was not run, because {refusal}; its queue has {kind} key, and runs "
        f"jobs only that were {done} with it."
    )


def _said(error: BaseException) -> str:
    """Return what an exception says, or what can be said of it if it cannot."""
    try:
        return str(error)
    except BaseException:
        return reason(error)


def unreadable(job: Claim, error: BaseException) -> DecodingError:
    """Return the error of a job whose arguments cannot be decoded."""
    told = DecodingError(f"The arguments of this job cannot be read as {job.codec!s:.100}: {_said(error)}")
    told.__cause__ = error
    return told


def left_open(job: Claim) -> NotSupportedError:
    """Return the error of a job whose task returned inside a transaction."""
    return NotSupportedError(
        f"Task {job.task} returned inside a transaction that it had begun, so it was rolled back. "
        "Use `with ...transaction():` or `async with ...atransaction():`, which ends it."
    )


def _type_name(value: object) -> str:
    kind = type(value)
    try:
        return dotted_name(kind)
    # A metaclass may have ideas of its own about names.
    except BaseException:
        return str(type.__getattribute__(kind, "__name__"))


def unwritable(job: Claim, value: object, error: BaseException) -> EncodingError:
    """Return the error of a job whose result cannot be encoded."""
    told = EncodingError(
        f"The result of task {job.task}, of type {_type_name(value)}, cannot be encoded as {job.codec}: "
        f"{_said(error)} Return something that can be, or set ignore_result=True."
    )
    told.__cause__ = error
    return told
