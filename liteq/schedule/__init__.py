"""Schedules as values: intervals, calendars, single moments, the sun, and objects of the user's own.

A schedule is a set of moments. `next_after(t)` and `previous(t)` tell the nearest ones, from any `t`, and
always the same ones; nothing here knows a store or looks at the clock.
"""

from __future__ import annotations

from liteq.schedule.base import Schedule
from liteq.schedule.crontabs import crontab
from liteq.schedule.custom import Custom
from liteq.schedule.expression import Cron, cron
from liteq.schedule.intervals import Interval, every
from liteq.schedule.once import Once, once
from liteq.schedule.reading import as_schedule
from liteq.schedule.sun import solar
from liteq.schedule.text import decode, encode

__all__ = [
    "Cron",
    "Custom",
    "Interval",
    "Once",
    "Schedule",
    "as_schedule",
    "cron",
    "crontab",
    "decode",
    "encode",
    "every",
    "once",
    "solar",
]
