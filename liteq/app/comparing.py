"""What has to be done to a store so that it has what programs declare. Pure: no I/O, no clock.

What is declared is stored with a digest of what it says. As long as that is the same, the store's own record
stands, with all that was changed, paused and fired since. Once the declaration says something else, it is
stored anew, and goes on from the last run; what is paused stays paused. What is stored, and declared by code
that this process has loaded, but not any more, is removed. All else is left alone: what was made at run time,
and what is declared by code that is not loaded here.

A declaration may name a task that is not loaded where it is made. So its call is made anew by a program that
has the task, also when the task has changed, and never by one that knows less than who has made it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from typing import Any, NamedTuple

from liteq.app.digests import BY_NAME, LOADED, UNKNOWN, joined, parted
from liteq.app.recurring import begun
from liteq.codec.protection import Protection, is_sealed
from liteq.errors import LiteqError
from liteq.firing import Policy, encode_policy, first_run
from liteq.job import NewJob
from liteq.schedule import Interval, Schedule, decode, encode
from liteq.timetable import ScheduleRecord

__all__ = ["Changes", "Wanted", "diff", "is_made_at_run_time", "next_tick"]


class Wanted(NamedTuple):
    """A schedule as it is declared."""

    name: str
    task: str
    schedule: Schedule
    """With a zone; an interval without an anchor, unless it is declared with one."""
    policy: Policy
    job: NewJob | None
    """What each tick enqueues, not sealed; None if it is broken."""
    protection: Protection
    owner: str
    digest: str
    """Of what the declaration says."""
    broken: str | None = None
    made: str = LOADED
    """How much was known of the task, and the digest of the call that came of it."""

    @property
    def declaration(self) -> str:
        """What its record says of it."""
        return joined(self.digest, self.made)


class Changes(NamedTuple):
    """What has to be done to the store so that it has what is declared."""

    save: list[ScheduleRecord]
    remove: list[str]


def diff(
    stored: Iterable[ScheduleRecord], wanted: Sequence[Wanted], loaded: Callable[[str], bool], now: float
) -> Changes:
    """Decide what has to be done to the store so that it has what is declared. Pure.

    Args:
        stored: what it has.
        wanted: what is declared here.
        loaded: tells whether the code that something belongs to would declare it here.
        now: the time.
    """
    there = {record.name: record for record in stored}
    names = {each.name for each in wanted}
    save = [record for each in wanted if (record := _decided(each, there.get(each.name), now)) is not None]
    remove = [
        record.name
        for record in there.values()
        if record.module is not None and record.name not in names and loaded(record.module)
    ]
    return Changes(save, remove)


def next_tick(
    schedule: Schedule, policy: Policy, now: float, last_run: float | None = None, runs: int = 0
) -> float | None:
    """Return the next tick of a schedule that begins, or is changed, now; None if it has had all its runs."""
    if policy.max_runs is not None and runs >= policy.max_runs:
        return None
    return first_run(schedule, policy, now, last_run)


# ---- one schedule ----------------------------------------------------------------------------------


def _decided(wanted: Wanted, stored: ScheduleRecord | None, now: float) -> ScheduleRecord | None:
    """Return a schedule as it is to be stored; None if it is as it should be."""
    if stored is None:
        return _stored(wanted, ScheduleRecord(**_blank(wanted), created=now), now)
    if is_made_at_run_time(stored):
        return None
    if not _is_known_better(stored, wanted):
        same = stored.declaration == wanted.declaration and stored.broken == wanted.broken
        if not same or not _is_genuine(wanted.protection, stored):
            return _stored(wanted, stored, now)
    owner = _kept_owner(stored.module, wanted.owner)
    return None if owner == stored.module else replace(stored, module=owner)


def is_made_at_run_time(stored: ScheduleRecord | None) -> bool:
    """Tell whether somebody has added what is stored while programs ran; no declaration changes that."""
    return stored is not None and stored.module is None


def _is_known_better(stored: ScheduleRecord, wanted: Wanted) -> bool:
    """Tell whether a program that knows more of the task has stored this declaration as it stands."""
    digest, made = parted(stored.declaration)
    if digest != wanted.digest or _knowledge(made) <= _knowledge(wanted.made):
        return False
    # Who has the key of the task's queue is not known where the task is not.
    return not wanted.protection.is_on or _is_genuine(wanted.protection, stored)


def _knowledge(made: str) -> int:
    return (UNKNOWN + BY_NAME + LOADED).find(made[:1])


def _blank(wanted: Wanted) -> dict[str, Any]:
    return {"name": wanted.name, "task": "", "spec": "", "policy": "", "job": None, "next_run": None}


def _stored(wanted: Wanted, before: ScheduleRecord, now: float) -> ScheduleRecord:
    """Return what is declared as it is to be stored in the place of what was there."""
    schedule = _continued(wanted.schedule, before.spec) or begun(wanted.schedule, now)
    spec, policy = encode(schedule), encode_policy(wanted.policy)
    broken, next_run = wanted.broken, None
    if broken is None:
        goes_on = spec == before.spec and policy == before.policy and not before.paused
        next_run = before.next_run if goes_on and before.broken is None else None
        try:
            next_run = next_run or next_tick(schedule, wanted.policy, now, before.last_run, before.runs)
        except Exception as error:
            # Anything: the schedule may be an object of the user's own.
            broken = f"{type(error).__name__}: {error}"
    job = wanted.job
    if job is not None:
        job = wanted.protection.seal_template(job, wanted.name, spec, policy)
    return replace(
        before,
        task=wanted.task,
        spec=spec,
        policy=policy,
        job=job,
        next_run=next_run,
        broken=broken,
        module=_kept_owner(before.module, wanted.owner),
        declaration=wanted.declaration,
    )


def _continued(schedule: Schedule, spec: str) -> Schedule | None:
    """Return the schedule with the anchor that it has in the store, if it is the same; else None."""
    if not isinstance(schedule, Interval) or not spec:
        return None
    try:
        before = decode(spec)
    except LiteqError:
        return None
    if not isinstance(before, Interval) or before.anchor is None:
        return None
    again = schedule.anchored(before.anchor)
    # Only one that runs at full days and hours has anything to do with a time zone.
    same = again == before if again.relative else not before.relative and again.seconds == before.seconds
    return again if same else None


def _kept_owner(before: str | None, now: str) -> str:
    """Return to whom a schedule belongs: to its module, if that declares it as it is imported."""
    return before if before is not None and now.startswith(f"{before}\n") else now


def _is_genuine(protection: Protection, record: ScheduleRecord) -> bool:
    """Tell whether what is stored is sealed with its queue's keys, or not where there are none."""
    job = record.job
    if job is None:
        return True
    if not protection.is_on:
        return not is_sealed(job)
    return protection.template_refusal(job, record.name, record.spec, record.policy) is None
