"""A stored job as people and programs see it; nothing that it names is imported to read it."""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import Any, NamedTuple

import click

from liteq.calls.options import decode_options
from liteq.cli.output import stamp
from liteq.codec.contents import Contents
from liteq.codec.protection import bare_label
from liteq.codec.signing import is_signed
from liteq.errors import DecodingError
from liteq.failure import Failure, decode_failure
from liteq.job import Job
from liteq.states import FAILURE, RETRY, REVOKED
from liteq.transport import EXPIRED, Transport

__all__ = [
    "Arguments",
    "Content",
    "is_over",
    "read_arguments",
    "read_content",
    "state_of",
    "summary",
    "tell_if_moved",
]


class Arguments(NamedTuple):
    """A job's arguments, or why they cannot be read here."""

    args: list[object] | None
    kwargs: dict[str, object] | None
    unreadable: str | None = None


class Content(NamedTuple):
    """What a job's state carries: a value, a failure, or bytes that cannot be read here."""

    value: object = None
    failure: Failure | None = None
    unreadable: str | None = None
    is_there: bool = True


def tell_if_moved(transport: Transport) -> None:
    """Say on standard error where a closed queue is: what it shows itself is empty, or about to be."""
    mark = transport.moving()
    if mark is not None:
        way = "is being" if mark.ended is None else "was"
        click.echo(f"liteq: {transport.url} {way} moved to {mark.target}; use that queue instead.", err=True)


def state_of(job: Job) -> str:
    """Return a job's state as callers see it: one that has expired unclaimed is REVOKED already."""
    if not job.finished and job.holder is None and job.expires is not None and job.expires <= time.time():
        return REVOKED
    return job.state


def is_over(job: Job) -> bool:
    """Tell whether a job has come to its end."""
    return job.finished or state_of(job) == REVOKED


def reason_of(job: Job) -> str | None:
    """Return why a job failed, was revoked or waits."""
    return EXPIRED if job.reason is None and state_of(job) == REVOKED else job.reason


def read_arguments(job: Job, contents: Contents) -> Arguments:
    """Decode a job's arguments, if its codec is accepted, and it and their types are known here."""
    try:
        return Arguments(*contents.shown_call(job))
    # Anything: the codec may be an application's own.
    except Exception as error:
        return Arguments(None, None, str(error))


def read_content(job: Job, contents: Contents) -> Content:
    """Decode what a job's state carries, if that is possible here."""
    if job.result is None:
        return Content(is_there=False)
    if job.state in (FAILURE, RETRY):
        try:
            return Content(failure=decode_failure(contents.failure(job)))
        except DecodingError:
            # A task may report such a state with a meta of its own.
            pass
    try:
        return Content(value=contents.shown(job))
    except Exception as error:
        return Content(unreadable=str(error))


def summary(job: Job) -> dict[str, Any]:
    """Return the facts of a job without its payload and its result, for JSON."""
    return {
        "id": job.id,
        "task": job.task,
        "queue": job.queue,
        "state": state_of(job),
        "ready": is_over(job),
        "reason": reason_of(job),
        "priority": job.priority,
        "enqueued": stamp(job.enqueued),
        "due": stamp(job.due),
        "eta": stamp(job.eta),
        "expires": stamp(job.expires),
        "started": stamp(job.started),
        "done": stamp(job.done),
        "attempts": job.attempts,
        "retries": job.retries,
        "crashes": job.crashes,
        "max_crashes": job.max_crashes,
        "ignore_result": job.ignore_result,
        "codec": job.codec,
    }


def carried(job: Job, contents: Contents) -> dict[str, Any]:
    """Return what a job's state carries, for JSON."""
    content = read_content(job, contents)
    failure = content.failure
    return {
        "result": content.value,
        "exception": None if failure is None else {"type": failure.dotted, "message": failure.message},
        "traceback": None if failure is None else failure.traceback or None,
        "unreadable": content.unreadable,
    }


def options_of(job: Job, contents: Contents) -> Mapping[str, Any]:
    """Return the options that travel with a job, for JSON."""
    try:
        options = decode_options(contents.options(job))
    except DecodingError as error:
        return {"unreadable": str(error)}
    return {
        "time_limit": options.time_limit,
        "soft_time_limit": options.soft_time_limit,
        "headers": dict(options.headers),
        "root_id": options.root_id or job.id,
        "parent_id": options.parent_id,
        "signed": is_signed(job.options),
        "encrypted": bare_label(job.codec) != job.codec,
    }
