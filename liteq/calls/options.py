"""Options of one call: checked, kept apart from the task's own, and the blob that travels with a job.

A `Placement` is what a set of options comes to. A task has one of its own for calls without options, so
that such a call checks nothing twice.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime, timedelta, tzinfo
from types import MappingProxyType
from typing import Any, NamedTuple, TypedDict

from liteq.calls.checks import (
    LONGEST,
    check_flag,
    check_limits,
    check_name,
    check_options,
    check_priority,
    check_seconds,
    utc_seconds,
)
from liteq.codec import get_codec
from liteq.codec.compression import NONE, algorithm_name
from liteq.codec.signing import without_signature
from liteq.errors import CodecError, ConfigurationError, DecodingError, EncodingError
from liteq.job import DEFAULT_QUEUE

__all__ = ["CallOptions", "Format", "JobOptions", "Placement", "decode_options", "encode_options", "place"]

_NOTHING: Mapping[str, Any] = MappingProxyType({})

_WORKFLOWS = "workflows are not built yet; call the next task at the end of this one."
_BROKER = "there is no broker here; a queue is a file, and `queue=` names the lane."
NOT_BUILT = {
    "link": _WORKFLOWS,
    "link_error": _WORKFLOWS,
    "chord": _WORKFLOWS,
    "chain": _WORKFLOWS,
    "group_id": _WORKFLOWS,
    "max_retries": "set it for the task, or give it to self.retry().",
    "retry": _BROKER,
    "retry_policy": _BROKER,
    "connection": "use task.using(connection) to enqueue on your own sqlite3 connection.",
    "producer": _BROKER,
    "exchange": _BROKER,
    "routing_key": _BROKER,
    "router": _BROKER,
    "shadow": "a job shows under its task's name.",
    "reply_to": _BROKER,
    "replaced_task_nesting": _WORKFLOWS,
    "stamped_headers": "use headers.",
}
"""Options that Celery takes and liteq does not (yet), each with what to do."""


class CallOptions(TypedDict, total=False):
    """What `options(...)` and `apply_async(...)` take; each one overrides the task's own for this call.

    None means the same as leaving an option out.

    Attributes:
        countdown: seconds from the call before which the job does not start; not together with `eta`.
        eta: the time before which it does not start; without a time zone it is in the queue's own
            (Celery takes it for UTC, whatever its settings; so does `liteq.celery`).
        expires: seconds from the call, or the time, after which it no longer starts and ends REVOKED.
        queue: the queue name to wait in.
        priority: from -32768 to 32767; a higher one runs first.
        task_id: the job's id; while a job of that id is unfinished, the call returns that job.
        ignore_result: store nothing of a success.
        headers: a dict of what the task is to find in `self.request.headers`.
        time_limit: seconds after which its process is killed.
        soft_time_limit: seconds after which `SoftTimeLimitExceeded` is raised inside the task.
        serializer: the codec of the arguments and of the result.
        compression: what compresses them; "none" for nothing.
    """

    countdown: float | timedelta | None
    eta: datetime | None
    expires: float | timedelta | datetime | None
    queue: str | None
    priority: int | None
    task_id: str | None
    ignore_result: bool | None
    headers: Mapping[str, Any] | None
    time_limit: float | timedelta | None
    soft_time_limit: float | timedelta | None
    serializer: str | None
    compression: str | None


class JobOptions(NamedTuple):
    """What only the worker needs to know of a job."""

    time_limit: float | None = None
    """Seconds, as given at the call; None for the task's own."""
    headers: Mapping[str, Any] = _NOTHING
    root_id: str | None = None
    """None for the job's own id."""
    parent_id: str | None = None
    soft_time_limit: float | None = None
    """Seconds, as given at the call; None for the task's own."""


class Format(NamedTuple):
    """How a call is to be encoded, where that is not as its task says."""

    serializer: str | None = None
    compression: str | None = None


class Placement(NamedTuple):
    """Where and when a call is to run, and how it is encoded."""

    queue: str = DEFAULT_QUEUE
    priority: int = 0
    ignore_result: bool = False
    countdown: float | None = None
    """Seconds from the call; None if `eta` says when, or nothing does."""
    eta: float | None = None
    expires_in: float | None = None
    """Seconds from the call; None if `expires` says when, or nothing does."""
    expires: float | None = None
    task_id: str | None = None
    job_options: JobOptions = JobOptions()
    blob: bytes | None = None
    """`job_options`, encoded."""
    format: Format | None = None
    """None: as the task says."""


def encode_options(options: JobOptions) -> bytes | None:
    """Return a job's options as bytes, or None if there is nothing to say.

    Raises:
        EncodingError: the headers cannot be encoded.
    """
    fields: dict[str, Any] = {}
    if options.time_limit is not None:
        fields["t"] = options.time_limit
    if options.soft_time_limit is not None:
        fields["s"] = options.soft_time_limit
    if options.headers:
        fields["h"] = dict(options.headers)
    if options.root_id is not None:
        fields["r"] = options.root_id
    if options.parent_id is not None:
        fields["p"] = options.parent_id
    if not fields:
        return None
    return get_codec("msgpack").encode(fields)


def decode_options(blob: bytes | None) -> JobOptions:
    """Return the options that `encode_options` wrote, whether or not they were signed since.

    Raises:
        DecodingError: the bytes are no such options.
    """
    blob = without_signature(blob)
    if blob is None:
        return JobOptions()
    fields = get_codec("msgpack").decode(blob)
    if not isinstance(fields, dict):
        raise DecodingError(f"A job's options must be a map, not {type(fields).__name__}.")
    limit, soft, headers, root, parent = (
        fields.get("t"),
        fields.get("s"),
        fields.get("h", _NOTHING),
        fields.get("r"),
        fields.get("p"),
    )
    # The worker counts with the limits before the task begins, where a wrong value would end it.
    for seconds in (limit, soft):
        if seconds is not None and not (type(seconds) in (int, float) and 0 < seconds <= LONGEST):
            raise DecodingError(f"A job's time limit must be a number of seconds, not {seconds!r}.")
    if headers is not _NOTHING and not (type(headers) is dict and all(type(key) is str for key in headers)):
        raise DecodingError("A job's headers must be a map with string keys, and these are not.")
    if not all(job_id is None or type(job_id) is str for job_id in (root, parent)):
        raise DecodingError("The ids of a job's root and parent must be strings, and these are not.")
    return JobOptions(limit, headers, root, parent, soft)


def place(what: str, base: Placement, given: Mapping[str, Any], zone: tzinfo) -> Placement:
    """Return the placement that `given` options make of a base.

    Args:
        what: who takes the options, as the start of a sentence.
        base: what holds where an option is not given.
        given: the options, as `CallOptions` names them.
        zone: the time zone of times without one.

    Raises:
        NotSupportedError: an option that is not built yet.
        ConfigurationError: an unknown option, or a value that it cannot have.
        EncodingError: headers that cannot be encoded.
    """
    changes: dict[str, Any] = {}
    if base.format is not None:
        changes["format"] = base.format
    for option, value in given.items():
        setter = _SETTERS.get(option)
        if setter is None:
            check_options(what, given, _SETTERS, NOT_BUILT)
        elif value is not None:
            setter(changes, value, zone)
    if given.get("eta") is not None and given.get("countdown") is not None:
        raise ConfigurationError(f"{what} got both eta and countdown; give one of them.")
    travelling = {name: changes.pop(name) for name in _TRAVELLING if name in changes}
    if travelling:
        job_options = changes["job_options"] = base.job_options._replace(**travelling)
        check_limits(what, job_options.time_limit, job_options.soft_time_limit)
        changes["blob"] = _encoded(what, job_options)
    return base._replace(**changes)


def _encoded(what: str, options: JobOptions) -> bytes | None:
    try:
        return encode_options(options)
    except CodecError as error:
        raise EncodingError(f"{what} got headers that cannot be encoded: {error}") from error


def _set_countdown(changes: dict[str, Any], value: object, zone: tzinfo) -> None:
    changes.update(countdown=check_seconds("countdown", value), eta=None)


def _set_eta(changes: dict[str, Any], value: object, zone: tzinfo) -> None:
    changes.update(eta=utc_seconds("eta", value, zone), countdown=None)


def _set_expires(changes: dict[str, Any], value: object, zone: tzinfo) -> None:
    if isinstance(value, datetime):
        changes.update(expires_in=None, expires=utc_seconds("expires", value, zone))
    else:
        changes.update(expires_in=check_seconds("expires", value), expires=None)


def _set_queue(changes: dict[str, Any], value: object, zone: tzinfo) -> None:
    changes["queue"] = check_name("queue", value)


def _set_priority(changes: dict[str, Any], value: object, zone: tzinfo) -> None:
    changes["priority"] = check_priority(value)


def _set_task_id(changes: dict[str, Any], value: object, zone: tzinfo) -> None:
    changes["task_id"] = check_name("task_id", value)


def _set_ignore_result(changes: dict[str, Any], value: object, zone: tzinfo) -> None:
    changes["ignore_result"] = check_flag("ignore_result", value)


def _set_time_limit(changes: dict[str, Any], value: object, zone: tzinfo) -> None:
    changes["time_limit"] = check_seconds("time_limit", value, least=0.001)


def _set_soft_time_limit(changes: dict[str, Any], value: object, zone: tzinfo) -> None:
    changes["soft_time_limit"] = check_seconds("soft_time_limit", value, least=0.001)


def _set_headers(changes: dict[str, Any], value: object, zone: tzinfo) -> None:
    if not isinstance(value, Mapping) or not all(isinstance(key, str) for key in value):
        raise ConfigurationError(f"headers must be a dict with string keys, not {value!r}.")
    changes["headers"] = dict(value)


def _set_serializer(changes: dict[str, Any], value: object, zone: tzinfo) -> None:
    if not isinstance(value, str):
        raise ConfigurationError(f"serializer must be the name of a codec, not {value!r}.")
    changes["format"] = (changes.get("format") or Format())._replace(serializer=value)


def _set_compression(changes: dict[str, Any], value: object, zone: tzinfo) -> None:
    name = algorithm_name("compression", value) or NONE
    changes["format"] = (changes.get("format") or Format())._replace(compression=name)


_SETTERS = {
    "countdown": _set_countdown,
    "eta": _set_eta,
    "expires": _set_expires,
    "queue": _set_queue,
    "priority": _set_priority,
    "task_id": _set_task_id,
    "ignore_result": _set_ignore_result,
    "time_limit": _set_time_limit,
    "soft_time_limit": _set_soft_time_limit,
    "headers": _set_headers,
    "serializer": _set_serializer,
    "compression": _set_compression,
}
_TRAVELLING = ("time_limit", "soft_time_limit", "headers")
