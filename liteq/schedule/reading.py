"""What users write where a schedule is wanted."""

from __future__ import annotations

from datetime import datetime, timedelta, tzinfo
from typing import Any

from liteq.errors import ScheduleError
from liteq.schedule.base import Schedule
from liteq.schedule.crontabs import crontab
from liteq.schedule.custom import Custom
from liteq.schedule.expression import Cron
from liteq.schedule.intervals import Interval
from liteq.schedule.once import Once
from liteq.schedule.sun import solar

__all__ = ["KINDS", "as_schedule"]

KINDS: dict[str, type[Schedule]] = {
    kind.kind: kind for kind in (Interval, crontab, Cron, Once, solar, Custom)
}
"""Every kind of schedule, by what it is called where it is written down."""

_FORMS = (
    "a schedule is a number of seconds, a timedelta, crontab(...), a cron expression such as '*/5 * * * *', "
    "a datetime, solar(...), or an object with a method next_after(t)"
)


def as_schedule(value: object, zone_hint: tzinfo | None = None) -> Schedule:
    """Return the schedule that a value means.

    Args:
        value: a number of seconds or a `timedelta` (see `every`), a cron expression (see `cron`), a
            `datetime` (see `once`), a schedule, or any object with a method `next_after(t)` (see `Custom`).
        zone_hint: a zone for a schedule that has none; default to leave it without.

    Raises:
        ScheduleError: none of these, or one that is impossible.
    """
    schedule = _read(value)
    return schedule if zone_hint is None else schedule.in_zone(zone_hint)


def _read(value: Any) -> Schedule:
    if isinstance(value, Schedule) and type(value) in KINDS.values():
        return value
    if isinstance(value, timedelta | float) or (isinstance(value, int) and not isinstance(value, bool)):
        return Interval(value)
    if isinstance(value, str):
        return Cron(value)
    if isinstance(value, datetime):
        return Once(value)
    if not isinstance(value, type) and callable(getattr(value, "next_after", None)):
        return Custom(value)
    raise ScheduleError(f"{value!r} of type {type(value).__name__} is no schedule: {_FORMS}.")
