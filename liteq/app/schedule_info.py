"""A stored schedule as people and programs read it."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, tzinfo
from typing import Any

from liteq.app.attribution import module_of
from liteq.codec import decode_call
from liteq.codec.accepting import Codecs
from liteq.codec.protection import Protection
from liteq.errors import LiteqError
from liteq.firing import Policy, decode_policy
from liteq.job import DEFAULT_QUEUE
from liteq.schedule import Schedule, decode
from liteq.timetable import ScheduleRecord

__all__ = ["ScheduleInfo", "info_of"]


@dataclass(frozen=True, slots=True, kw_only=True)
class ScheduleInfo:
    """A schedule as it was stored when it was read.

    Attributes:
        name: its name.
        task: the name of the task that it calls.
        schedule: when it runs; None if it is an object of the user's own, or cannot be read here.
        description: when it runs, in words.
        next_run: its next tick, in the queue's zone; None if there is none, or while it is paused or broken.
        last_run: the last tick that was fired, in the queue's zone.
        runs: how many ticks were fired.
        last_job: the id of the job that was enqueued last.
        paused: whether it is left alone until it is resumed.
        broken: why it cannot run, as a sentence; None if it can.
        module: the module that declares it; None if it was made at run time.
        policy: what becomes of late and overlapping ticks and so on; None if that cannot be read here.
        queue: the queue name that its jobs wait in.
        priority: the priority of its jobs.
        args: the positional arguments of the calls; None if they cannot be decoded here.
        kwargs: the arguments by name; None if they cannot be decoded here.
    """

    name: str
    task: str
    schedule: Schedule | None
    description: str
    next_run: datetime | None
    last_run: datetime | None
    runs: int
    last_job: str | None
    paused: bool
    broken: str | None
    module: str | None
    policy: Policy | None
    queue: str
    priority: int
    args: tuple[Any, ...] | None
    kwargs: Mapping[str, Any] | None

    @property
    def status(self) -> str:
        """What there is to expect of it: `active`, `paused`, `broken`, or `ended` if no tick is left."""
        if self.broken is not None:
            return "broken"
        if self.paused:
            return "paused"
        return "ended" if self.next_run is None else "active"


def info_of(
    record: ScheduleRecord,
    zone: tzinfo = UTC,
    codecs: Codecs | None = None,
    protection: Protection | None = None,
) -> ScheduleInfo:
    """Return a stored schedule as people read it; nothing that it names is imported.

    Args:
        record: what is stored.
        zone: the zone of the times.
        codecs: those that are accepted; default all that are safe to read.
        protection: the keys of its queue; default none.
    """
    schedule, description = _read_schedule(record.spec)
    args, kwargs = _read_arguments(record, codecs or Codecs(), protection or Protection())
    rests = record.paused or record.broken is not None
    return ScheduleInfo(
        name=record.name,
        task=record.task,
        schedule=schedule,
        description=description,
        next_run=None if rests else _moment(record.next_run, zone),
        last_run=_moment(record.last_run, zone),
        runs=record.runs,
        last_job=record.last_job,
        paused=record.paused,
        broken=record.broken,
        module=None if record.module is None else module_of(record.module),
        policy=_read_policy(record.policy),
        queue=DEFAULT_QUEUE if record.job is None else record.job.queue,
        priority=0 if record.job is None else record.job.priority,
        args=args,
        kwargs=kwargs,
    )


def _read_schedule(spec: str) -> tuple[Schedule | None, str]:
    try:
        schedule = decode(spec)
        return schedule, str(schedule)
    except LiteqError:
        pass
    try:
        said = json.loads(spec).get("description")
    except (ValueError, AttributeError, RecursionError):
        said = None
    return None, said if isinstance(said, str) else spec


def _read_policy(text: str) -> Policy | None:
    try:
        return decode_policy(text)
    except LiteqError:
        return None


def _read_arguments(
    record: ScheduleRecord, codecs: Codecs, protection: Protection
) -> tuple[tuple[Any, ...] | None, Mapping[str, Any] | None]:
    if record.job is None:
        return None, None
    try:
        job = protection.opened_template(record.job, record.name)
        args, kwargs = decode_call(codecs.get_to_show(job.codec), job.payload)
    # Anything: the codec may be an application's own.
    except Exception:
        return None, None
    return tuple(args), kwargs


def _moment(seconds: float | None, zone: tzinfo) -> datetime | None:
    if seconds is None:
        return None
    try:
        return datetime.fromtimestamp(seconds, UTC).astimezone(zone)
    except (OverflowError, ValueError, OSError):
        return None
