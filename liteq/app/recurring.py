"""Recurring work as users describe it: a schedule, a call, and what is to become of the ticks; checked."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, tzinfo
from typing import Any, NamedTuple

from liteq.app.naming import nearest
from liteq.app.store import Store
from liteq.calls.calling import call_arguments
from liteq.calls.checks import check_flag, check_name, check_options
from liteq.calls.options import NOT_BUILT, CallOptions, Placement, place
from liteq.calls.policies import POLICY_OPTIONS, make_policy
from liteq.canvas import Signature
from liteq.codec import encode_call
from liteq.codec.protection import Protection
from liteq.errors import ConfigurationError, LiteqError, PayloadTooLargeError, ScheduleError
from liteq.firing import Policy
from liteq.job import NewJob
from liteq.schedule import Interval, Schedule, as_schedule, encode
from liteq.task import Task
from liteq.zones import read_zone, same_zone

__all__ = [
    "CALL_OPTIONS",
    "Recurring",
    "Template",
    "begun",
    "check_headers",
    "check_size",
    "describe",
    "make_template",
    "never_runs",
    "read_schedule",
    "split_options",
    "tell_of",
    "unknown_task",
]

_TICK = "a schedule says when it runs."
_NO_SENSE = {
    "eta": _TICK,
    "countdown": _TICK,
    "task_id": "each run is a job of its own, with an id of its own.",
}
CALL_OPTIONS = tuple(
    name for name in CallOptions.__annotations__ if name not in _NO_SENSE and name not in POLICY_OPTIONS
)
"""The options of a call that a schedule takes."""
_LONGEST_NAME = 200


class Recurring(NamedTuple):
    """Recurring work, checked as far as it can be without the store."""

    name: str
    schedule: Schedule
    """With a time zone; an interval without an anchor."""
    policy: Policy
    task: str
    callee: Task[..., Any] | None
    """The task, if it was given and not only named."""
    args: tuple[Any, ...]
    kwargs: Mapping[str, Any]
    options: Mapping[str, Any]
    """The options of the call."""
    is_named: bool
    """Whether the user gave the name."""


class Template(NamedTuple):
    """What each tick enqueues."""

    job: NewJob
    """Without an id, times and signature."""
    expires: float | None
    """Seconds after which a job of the task no longer starts, where the policy does not say."""
    protection: Protection
    """What signs and encrypts it."""

    def completed(self, policy: Policy) -> Policy:
        """Return a policy with what the task says where it says nothing."""
        return policy if policy.expires is not None else policy._replace(expires=self.expires)


def describe(
    what: str,
    store: Store,
    schedule: object,
    signature: object,
    *,
    args: Sequence[Any] | None = None,
    kwargs: Mapping[str, Any] | None = None,
    name: str | None = None,
    options: Mapping[str, Any],
    parameters: Sequence[str] = (),
) -> Recurring:
    """Return recurring work as a user describes it.

    Args:
        what: who takes this, as the start of a sentence.
        store: the queue's hold on its store.
        schedule: as `as_schedule` takes it.
        signature: a signature, a task, or a task's name.
        args: further arguments, before those of the signature, as in Celery.
        kwargs: further arguments by name.
        name: its name; None for one made of the call.
        options: policies, options of the call, `relative` and `timezone`.
        parameters: what else can be given there by name, to be suggested for a misspelt option.

    Raises:
        ConfigurationError: a value that something cannot have; a task of another queue.
        SignatureError: args or kwargs are no arguments.
    """
    task, callee, own_args, own_kwargs, own_options = _called(what, store, signature)
    args, kwargs = call_arguments(task, args, kwargs)
    if not (isinstance(signature, Signature) and signature.immutable):
        own_args, own_kwargs = (*args, *own_args), {**own_kwargs, **kwargs}
    elif args or kwargs:
        raise ConfigurationError(f"{what} got arguments for {signature!r}, which is immutable.")
    zone = store.settings.timezone
    policies, call, form = split_options(what, {**own_options, **options}, parameters)
    policy = make_policy(what, policies, zone)
    check_headers(what, store, place(what, Placement(), call, zone).blob)
    if name is None and store.settings.cipher is not None and (own_args or own_kwargs):
        raise ConfigurationError(
            f"{what} needs a name=... in a queue with an encryption_key: the name that is made of the call "
            "would show its arguments."
        )
    full = f"{task}({_shown(own_args, own_kwargs)})"
    return Recurring(
        name=_short(full) if name is None else check_name("name", name),
        schedule=read_schedule(what, schedule, form, zone),
        policy=policy,
        task=task,
        callee=callee,
        args=tuple(own_args),
        kwargs=dict(own_kwargs),
        options=call,
        is_named=name is not None,
    )


def split_options(
    what: str, given: Mapping[str, Any], parameters: Sequence[str] = ()
) -> tuple[dict[str, Any], dict[str, Any], dict[str, Any]]:
    """Return the policies, the options of the call, and those of the schedule itself, that are not None.

    Args:
        what: who takes them, as the start of a sentence.
        given: the options.
        parameters: what else can be given there by name, to be suggested for a misspelt option.

    Raises:
        NotSupportedError: an option that is not built yet.
        ConfigurationError: an unknown option, or one that makes no sense for recurring work.
    """
    for option, why in _NO_SENSE.items():
        if given.get(option) is not None:
            raise ConfigurationError(f"{what} does not take {option!r}: {why}")
    forms = ("relative", "timezone")
    given = {option: value for option, value in given.items() if option not in _NO_SENSE}
    check_options(what, given, (*POLICY_OPTIONS, *CALL_OPTIONS, *forms), NOT_BUILT, parameters)
    present = {option: value for option, value in given.items() if value is not None}
    policies = {option: value for option, value in present.items() if option in POLICY_OPTIONS}
    call = {option: value for option, value in present.items() if option in CALL_OPTIONS}
    return policies, call, {option: value for option, value in present.items() if option in forms}


def read_schedule(what: str, value: object, form: Mapping[str, Any], zone: tzinfo) -> Schedule:
    """Return the schedule that a value means, with a time zone.

    Args:
        what: who takes it, as the start of a sentence.
        value: as `as_schedule` takes it.
        form: `relative` and `timezone`, where they are given.
        zone: the zone of a schedule that has none.

    Raises:
        ScheduleError: no schedule, or one that is impossible.
        ConfigurationError: a zone that cannot be stored, or that contradicts the schedule's own.
    """
    schedule = as_schedule(value)
    if check_flag("relative", form.get("relative", False)):
        if not isinstance(schedule, Interval):
            raise ScheduleError(f"{what}: relative=True goes with an interval, not with {schedule}.")
        schedule = Interval(schedule.seconds, True, schedule.anchor, schedule.timezone)
    if "timezone" in form:
        wanted = read_zone(form["timezone"])
        if schedule.timezone is not None and not same_zone(schedule.timezone, wanted):
            raise ConfigurationError(
                f"{what} got timezone={form['timezone']!r}, and the schedule {schedule} has one of its own."
            )
        schedule = schedule.in_zone(wanted)
    schedule = schedule.in_zone(read_zone(zone))
    # Whether its zone can be written down is found out here and not at the start of a worker.
    encode(schedule)
    return schedule


def begun(schedule: Schedule, now: float) -> Schedule:
    """Return a schedule as it begins now: an interval without an anchor gets one."""
    # To the millisecond: finer, rounding could put the anchor after now, and it would be the first tick.
    return schedule.anchored(math.floor(now * 1000) / 1000)


def make_template(store: Store, work: Recurring, task: Task[..., Any] | None) -> Template:
    """Return what each tick enqueues, checked and encoded.

    Args:
        store: the queue that describes the work.
        work: the work.
        task: its task; None where it is known by name only: then the arguments are not checked.

    Raises:
        SignatureError: the arguments do not fit the task.
        CodecError: an argument cannot be encoded, or they are too large.
        ConfigurationError: an option has a value that it cannot have.
    """
    if task is None:
        settings = store.settings
        placed = place(work.task, Placement(queue=settings.default_queue), work.options, settings.timezone)
        codec = settings.codecs.writer(settings.serializer, settings.compression)
        if placed.format is not None:
            codec = settings.codecs.changed(codec.name, *placed.format)
        payload = encode_call(codec, work.args, work.kwargs)
        check_size(work.task, store, payload)
        job = NewJob("", work.task, payload, codec.name, placed.queue, placed.priority)
        job = job._replace(ignore_result=placed.ignore_result)
        protection = settings.protection
    else:
        placed = task.place(work.options)
        job = task.new_job(work.args, work.kwargs, placed, sealed=False)
        protection = task.store.settings.protection
    return Template(
        job._replace(id="", eta=None, expires=None, options=placed.blob), placed.expires_in, protection
    )


def check_size(task: str, store: Store, payload: bytes) -> None:
    """Raise PayloadTooLargeError if the encoded arguments of a call by name are too large."""
    most = store.settings.max_payload
    if len(payload) > most:
        raise PayloadTooLargeError(
            f"The arguments of {task} take {len(payload):,} bytes, and the queue's max_payload is {most:,}. "
            "Pass a path or a key instead of the data."
        )


def check_headers(what: str, store: Store, options: bytes | None) -> None:
    """Raise PayloadTooLargeError if the headers of a call, encoded with its other options, are too large."""
    most = store.settings.max_payload
    if options is not None and len(options) > most:
        raise PayloadTooLargeError(
            f"{what}: the headers take {len(options):,} bytes, and the queue's max_payload is {most:,}. "
            "Every run would carry them; pass a path or a key instead of the data."
        )


# ---- the parts -------------------------------------------------------------------------------------


def _called(
    what: str, store: Store, signature: object
) -> tuple[str, Task[..., Any] | None, tuple[Any, ...], Mapping[str, Any], Mapping[str, Any]]:
    if isinstance(signature, str):
        return check_name("task", signature), None, (), {}, {}
    called: object = signature
    args: tuple[Any, ...] = ()
    kwargs: Mapping[str, Any] = {}
    options: Mapping[str, Any] = {}
    if isinstance(signature, Signature):
        called, args = signature.task, tuple(signature.args)
        kwargs, options = signature.kwargs, signature.options
    if isinstance(called, Task):
        if called.store is not store and not store.is_same(called.store):
            raise ConfigurationError(
                f"{what}: {called!r} belongs to another queue, {called.store.settings.url}; declare it there."
            )
        return called.name, called, args, kwargs, options
    name = getattr(called, "name", None)
    if isinstance(signature, Signature) and isinstance(name, str):
        return name, None, args, kwargs, options
    raise ConfigurationError(
        f"{what} takes a call as task.s(...) makes it, a task, or a task's name, not {signature!r}."
    )


def _shown(args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> str:
    shown = [repr(value) for value in args]
    return ", ".join([*shown, *(f"{name}={value!r}" for name, value in kwargs.items())])


def _short(name: str) -> str:
    """Return a name made of a call, cut to the length that names may have."""
    name = name.encode("utf-8", "backslashreplace").decode().replace("\0", "\\0")
    if len(name) <= _LONGEST_NAME:
        return name
    return f"{name[: _LONGEST_NAME - 12]}... {_sha256(name)[:8]}"


def _sha256(text: str) -> str:
    # Imported here because programs that only enqueue have no use for it.
    import hashlib

    return hashlib.sha256(text.encode()).hexdigest()


def tell_of(what: str, error: LiteqError) -> None:
    """Let the message of an error begin with what it is about, unless it does."""
    text = str(error)
    if text.startswith(what):
        return
    error.args = (f"{what}: {text}",)
    if isinstance(error, ImportError):
        error.msg = error.args[0]


def never_runs(name: str, schedule: Schedule, policy: Policy) -> str:
    """Return the sentence about a schedule that has no tick to come."""
    end = "" if policy.end is None else f" before its end, {datetime.fromtimestamp(policy.end, UTC)}"
    return f"{name!r} would never run: {schedule} has no tick to come{end}."


def unknown_task(task: str, known: list[str], where: str) -> str:
    """Return the sentence about a task that nobody knows."""
    return f"No program has registered a task {task!r} in {where} so far.{nearest(task, known)}"
