"""Plain cron expressions, with cron's own meanings; the library cronsim reads them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import UTC, date, datetime, tzinfo
from typing import Any

from liteq.errors import ScheduleError
from liteq.schedule.base import Schedule
from liteq.schedule.calendar import Labels, month_shape, next_moment, previous_moment
from liteq.zones import read_zone

__all__ = ["MACROS", "Cron", "cron"]

MACROS = {
    "@yearly": "0 0 1 1 *",
    "@annually": "0 0 1 1 *",
    "@monthly": "0 0 1 * *",
    "@weekly": "0 0 * * 0",
    "@daily": "0 0 * * *",
    "@midnight": "0 0 * * *",
    "@hourly": "0 * * * *",
}

# A month of each shape: the weekday of its first day (0 is Monday), and its days.
_SHAPES: dict[tuple[int, int], tuple[int, int]] = {}


class Cron(Schedule):
    """Runs as a line of Debian's crontab says; `cron` makes one.

    Args:
        expression: five fields, or six with seconds first, or a name such as `@daily`.
        timezone: the zone of these times, a key or a `tzinfo`; default the queue's.

    Raises:
        ScheduleError: an expression that means nothing, or never runs.
        ConfigurationError: an unknown time zone.
    """

    __slots__ = ("_expression", "_fixed", "_labels")

    kind = "cron"

    def __init__(self, expression: str, timezone: str | tzinfo | None = None) -> None:
        super().__init__(None if timezone is None else read_zone(timezone))
        if not isinstance(expression, str):
            raise ScheduleError(
                f"A cron expression must be a string, not {expression!r} of type {type(expression).__name__}."
            )
        self._expression = " ".join(expression.split()).lower()
        self._labels, self._fixed = _read(self._expression)

    @property
    def expression(self) -> str:
        """What it was made of, in lower case."""
        return self._expression

    def _next(self, moment: datetime, zone: tzinfo) -> datetime | None:
        return next_moment(self._labels, self._fixed, moment, zone)

    def _previous(self, moment: datetime, zone: tzinfo) -> datetime | None:
        return previous_moment(self._labels, self._fixed, moment, zone)

    def _with_zone(self, zone: tzinfo) -> Cron:
        return Cron(self._expression, zone)

    def _identity(self) -> tuple[object, ...]:
        return (MACROS.get(self._expression, self._expression),)

    def _fields(self) -> dict[str, Any]:
        return {"expression": self._expression}

    @classmethod
    def _of_fields(cls, fields: Mapping[str, Any], zone: tzinfo | None) -> Cron:
        return cls(fields["expression"], zone)

    def __repr__(self) -> str:
        return f"cron({self._expression!r}{self._zone_argument()})"

    def __str__(self) -> str:
        return f"cron {self._expression}{self._in_words()}"


def cron(expression: str, timezone: str | tzinfo | None = None) -> Cron:
    """Return a schedule with cron's own meanings, as Debian's cron and the library cronsim have them.

    Unlike in `crontab`, a day runs that agrees with the day of the month *or* the day of the week, unless
    one of these fields begins with `*`. `L` is the last day of a month, `LW` its last weekday, `5L` its last
    Friday, `mon#2` its second Monday.

    Args:
        expression: minute, hour, day of month, month and day of week, with a field for seconds before them
            if there are six; or `@hourly`, `@daily`, `@midnight`, `@weekly`, `@monthly`, `@yearly`,
            `@annually`.
        timezone: the zone of these times, a key or a `tzinfo`; default the queue's.

    Raises:
        ScheduleError: an expression that means nothing, or never runs.
        ConfigurationError: an unknown time zone.
    """
    return Cron(expression, timezone)


def _read(expression: str) -> tuple[Labels, bool]:
    # Imported here because most programs never need it.
    from cronsim import CronSim, CronSimError

    if expression.startswith("@"):
        if expression not in MACROS:
            raise ScheduleError(f"cron has no {expression!r}; there are {', '.join(MACROS)}.")
        expression = MACROS[expression]
    count = len(expression.split())
    if count not in (5, 6):
        raise ScheduleError(
            f"A cron expression has five fields (minute, hour, day of month, month, day of week), or six "
            f"with seconds first, and {expression!r} has {count}."
        )
    try:
        parsed = CronSim(expression, datetime(2000, 1, 1, tzinfo=UTC))
    except (CronSimError, ValueError) as error:
        raise ScheduleError(f"The cron expression {expression!r} is impossible: {error}.") from None

    def days(first_weekday: int, length: int) -> Iterable[int]:
        year, month = _month_of_shape(first_weekday, length)
        return [day for day in range(1, length + 1) if parsed.match_day(date(year, month, day))]

    labels = Labels(days, parsed.months, parsed.hours, parsed.minutes, parsed.seconds)
    if not labels.ever():
        raise ScheduleError(f"The cron expression {expression!r} never runs: there is no such day.")
    minute, hour = expression.split()[-5:-3]
    return labels, count == 5 and not minute.startswith("*") and not hour.startswith("*")


def _month_of_shape(first_weekday: int, length: int) -> tuple[int, int]:
    if not _SHAPES:
        for year in range(2000, 2028):
            for month in range(1, 13):
                _SHAPES.setdefault(month_shape(year, month), (year, month))
    return _SHAPES[first_weekday, length]
