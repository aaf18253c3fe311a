"""Celery's schedules: `crontab`, `schedule` and `solar`."""

from __future__ import annotations

from datetime import timedelta
from typing import Any, NoReturn

from liteq.celery.absent import refuse_name
from liteq.errors import NotSupportedError
from liteq.schedule import Interval, Schedule, as_schedule, crontab, solar

__all__ = ["crontab", "maybe_schedule", "schedule", "solar"]

_OWN = (
    "a schedule of your own is an object of any class with a method next_after(t), which returns the first "
    "moment after the aware datetime t, or None; give that object where a schedule is wanted."
)


class _Intervals(type):
    def __instancecheck__(cls, instance: object) -> bool:
        return isinstance(instance, Interval)


class schedule(metaclass=_Intervals):  # noqa: N801 (Celery's name)
    """A schedule that runs every so many seconds: it makes an `Interval`, and stands for that class.

    Args:
        run_every: seconds or a timedelta.
        relative: keep to full days, hours, minutes or seconds of the clock.
        nowfun: None; the clock is the machine's.
        app: of no effect.

    Raises:
        NotSupportedError: a function for the clock; a class that descends from it.
        ScheduleError: an interval that is no number, or too short or too long.
    """

    def __new__(  # type: ignore[misc]
        cls, run_every: float | timedelta, relative: bool = False, nowfun: None = None, app: Any = None
    ) -> Interval:
        """Return the interval."""
        if nowfun is not None:
            raise NotSupportedError("schedule() takes no nowfun here: the clock is the machine's.")
        return Interval(run_every, relative)

    def __init_subclass__(cls, **kwargs: Any) -> None:
        raise NotSupportedError(f"{cls.__qualname__} cannot descend from schedule: {_OWN}")


def maybe_schedule(s: object, relative: bool = False, app: Any = None) -> Schedule:
    """Return the schedule that a number of seconds, a timedelta or a schedule means."""
    if relative and isinstance(s, int | float | timedelta):
        return Interval(s, relative)
    return as_schedule(s)


ABSENT = {
    "BaseSchedule": _OWN,
    "crontab_parser": "crontab(...) reads its fields itself, and refuses what it cannot read.",
    "ParseException": "a wrong schedule is a liteq.ScheduleError.",
    "schedstate": _OWN,
}
"""What Celery has here, each with why it is not."""


def __getattr__(name: str) -> NoReturn:
    refuse_name(__name__, name, ABSENT)
