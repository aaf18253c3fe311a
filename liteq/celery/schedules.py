"""Celery's schedules: `crontab`, `schedule` and `solar`."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

from liteq.schedule import Interval, Schedule, as_schedule, crontab, solar

__all__ = ["crontab", "maybe_schedule", "schedule", "solar"]


def schedule(
    run_every: float | timedelta, relative: bool = False, nowfun: None = None, app: Any = None
) -> Interval:
    """Return a schedule that runs every so many seconds.

    Args:
        run_every: seconds or a timedelta.
        relative: keep to full days, hours, minutes or seconds of the clock.
        nowfun: None; the clock is the machine's.
        app: of no effect.
    """
    if nowfun is not None:
        raise TypeError("schedule() takes no nowfun here: the clock is the machine's.")
    return Interval(run_every, relative)


def maybe_schedule(s: object, relative: bool = False, app: Any = None) -> Schedule:
    """Return the schedule that a number of seconds, a timedelta or a schedule means."""
    if relative and isinstance(s, int | float | timedelta):
        return Interval(s, relative)
    return as_schedule(s)
