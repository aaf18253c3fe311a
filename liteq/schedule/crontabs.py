"""Celery's crontab: minutes, hours and days by the calendar, all of which must agree."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import datetime, tzinfo
from typing import Any, Never

from liteq.errors import ScheduleError
from liteq.schedule.base import Schedule
from liteq.schedule.calendar import Labels, next_moment, previous_moment
from liteq.schedule.fields import DAY_OF_MONTH, DAY_OF_WEEK, HOUR, MINUTE, MONTH_OF_YEAR, Field, Kind
from liteq.schedule.words import in_words, listed
from liteq.zones import read_zone

__all__ = ["crontab"]

Spec = int | str | Iterable[int | str]
"""What a field of a crontab can be."""

_LONGEST_MONTHS = (31, 29, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31)


class crontab(Schedule):  # noqa: N801 (Celery's name)
    """Runs at given minutes, hours and days, as Celery's `crontab` does.

    Every field takes a number, a string, or a list of either. In a string, `*` is every value, `1-5` a
    range, which may wrap around (`22-3`, `fri-mon`), `*/15` and `1-30/3` steps, and commas make a list. A
    moment must agree with all five fields: with `day_of_week` *and* `day_of_month`, unlike in `cron`.

    Where clocks are set forward or back it does as Debian's cron: a job at fixed times (neither `minute` nor
    `hour` begins with `*`) runs once for each of them, right after the gap if clocks skip it, the first time
    if clocks show it twice; any other runs whenever clocks show one of its times.

    Args:
        minute: from 0 to 59.
        hour: from 0 to 23.
        day_of_week: from 0 to 6, where 0 is Sunday, as 7 is; or names, `"mon"` or `"monday"`.
        day_of_month: from 1 to 31.
        month_of_year: from 1 to 12; or names, `"jan"` or `"january"`.
        timezone: the zone of these times, a key or a `tzinfo`; default the queue's.
        unknown: nothing; a misspelt name is refused with the nearest one. Celery's `nowfun` and `app` may be
            None.

    Raises:
        ScheduleError: an unknown name, a field that is impossible, or days that never come.
        ConfigurationError: an unknown time zone.
    """

    __slots__ = ("_dom", "_dow", "_fixed", "_hour", "_labels", "_minute", "_month")

    kind = "crontab"

    def __init__(
        self,
        minute: Spec = "*",
        hour: Spec = "*",
        day_of_week: Spec = "*",
        day_of_month: Spec = "*",
        month_of_year: Spec = "*",
        timezone: str | tzinfo | None = None,
        **unknown: Never,
    ) -> None:
        _refuse(unknown)
        super().__init__(None if timezone is None else read_zone(timezone))
        self._minute = Field.read(MINUTE, minute)
        self._hour = Field.read(HOUR, hour)
        self._dow = Field.read(DAY_OF_WEEK, day_of_week)
        self._dom = Field.read(DAY_OF_MONTH, day_of_month)
        self._month = Field.read(MONTH_OF_YEAR, month_of_year)
        months = self._month.values
        if min(self._dom.values) > max(_LONGEST_MONTHS[month - 1] for month in months):
            raise ScheduleError(
                f"{self!r} never runs: no month of month_of_year {self._month.text!r} has a day_of_month "
                f"{self._dom.text!r}."
            )
        self._fixed = not (self._minute.has_star or self._hour.has_star)
        self._labels = Labels(self._days, months, self._hour.values, self._minute.values)

    @classmethod
    def from_string(cls, crontab: str, timezone: str | tzinfo | None = None) -> crontab:
        """Return the crontab that five fields describe: minute, hour, day of month, month, day of week.

        The meanings stay Celery's: the days must agree. For cron's meanings, take `cron`.

        Args:
            crontab: such as `"0 3 * * mon-fri"`.
            timezone: as for `crontab`.

        Raises:
            ScheduleError: there are not five fields, or one is impossible.
        """
        if not isinstance(crontab, str):
            raise ScheduleError(f"crontab.from_string takes a string, not {crontab!r}.")
        fields = crontab.split()
        if len(fields) != 5:
            hint = f" Take cron({crontab!r}) for cron's own expressions." if fields else ""
            raise ScheduleError(
                f"crontab.from_string takes five fields (minute, hour, day of month, month, day of week), "
                f"and {crontab!r} has {len(fields)}.{hint}"
            )
        minute, hour, day_of_month, month_of_year, day_of_week = fields
        return cls(minute, hour, day_of_week, day_of_month, month_of_year, timezone)

    @property
    def minute(self) -> frozenset[int]:
        """The minutes at which it runs."""
        return self._minute.values

    @property
    def hour(self) -> frozenset[int]:
        """The hours at which it runs."""
        return self._hour.values

    @property
    def day_of_week(self) -> frozenset[int]:
        """The days of the week on which it runs; 0 is Sunday."""
        return self._dow.values

    @property
    def day_of_month(self) -> frozenset[int]:
        """The days of the month on which it runs."""
        return self._dom.values

    @property
    def month_of_year(self) -> frozenset[int]:
        """The months in which it runs."""
        return self._month.values

    def _days(self, first_weekday: int, length: int) -> list[int]:
        # `first_weekday` is 0 for Monday, and our days of the week are 0 for Sunday.
        wanted = self._dow.values
        return [day for day in self._dom.values if day <= length and (first_weekday + day) % 7 in wanted]

    def _next(self, moment: datetime, zone: tzinfo) -> datetime | None:
        return next_moment(self._labels, self._fixed, moment, zone)

    def _previous(self, moment: datetime, zone: tzinfo) -> datetime | None:
        return previous_moment(self._labels, self._fixed, moment, zone)

    def _with_zone(self, zone: tzinfo) -> crontab:
        return crontab(**self._fields(), timezone=zone)

    def _all(self) -> tuple[tuple[Kind, Field], ...]:
        return (
            (MINUTE, self._minute),
            (HOUR, self._hour),
            (DAY_OF_WEEK, self._dow),
            (DAY_OF_MONTH, self._dom),
            (MONTH_OF_YEAR, self._month),
        )

    def _identity(self) -> tuple[object, ...]:
        return (*(field.values for _, field in self._all()), self._fixed)

    def _fields(self) -> dict[str, Any]:
        return {kind.name: field.text for kind, field in self._all() if field.text != "*"}

    @classmethod
    def _of_fields(cls, fields: Mapping[str, Any], zone: tzinfo | None) -> crontab:
        return cls(**fields, timezone=zone)

    def __repr__(self) -> str:
        given = ", ".join(f"{kind.name}={field.argument}" for kind, field in self._all() if field.text != "*")
        return f"crontab({(given + self._zone_argument()).removeprefix(', ')})"

    def __str__(self) -> str:
        words = in_words(self._minute, self._hour, self._dom, self._month, self._dow)
        return words + self._in_words()


def _refuse(unknown: Mapping[str, object]) -> None:
    """Raise about a name that no field has; Celery's others may be None, which says nothing."""
    for name, value in unknown.items():
        if name not in _OF_CELERY:
            # Imported here because it is slow to import and seldom needed.
            from difflib import get_close_matches

            found = get_close_matches(_SHORT.get(name, name), _NAMES, n=1)
            hint = f"Did you mean {found[0]!r}?" if found else f"It has {listed(_NAMES)}."
            raise ScheduleError(f"crontab() has no option {name!r}. {hint}")
        if value is not None:
            raise ScheduleError(f"crontab() does not take {name!r}: {_OF_CELERY[name]}")


_NAMES = ["minute", "hour", "day_of_week", "day_of_month", "month_of_year", "timezone"]
_SHORT = {"tz": "timezone", "dow": "day_of_week", "dom": "day_of_month"}
"""What is too short to be like the name that is meant."""
_OF_CELERY = {
    "nowfun": "the scheduler tells the time itself.",
    "app": "its zone is timezone, and by default that of the queue that it is declared with.",
}
"""What Celery's crontab takes besides, each with what to do instead."""
