"""Every so many seconds."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from datetime import UTC, datetime, timedelta, tzinfo
from typing import Any

from liteq.errors import ScheduleError
from liteq.schedule.base import EPOCH, MICROSECOND, Schedule
from liteq.schedule.calendar import Labels, previous_moment
from liteq.schedule.wall import first_moment, label_at
from liteq.schedule.words import listed
from liteq.zones import read_zone

__all__ = ["LEAST", "LONGEST", "Interval", "every"]

LEAST = 0.001
"""The shortest interval, in seconds: shorter than it takes to store a job, nothing could keep up with it."""

LONGEST = 100 * 366 * 86400.0
"""The longest interval, in seconds: a century; more is a mistake, and overflows `datetime`."""

_FURTHEST = 6e10
"""The furthest anchor from 1970, in seconds: 1,900 years."""

_DAY, _HOUR, _MINUTE = 86400, 3600, 60
_UNITS = ((_DAY, "day"), (_HOUR, "hour"), (_MINUTE, "minute"))


class Interval(Schedule):
    """Runs every so many seconds, by elapsed time; `every` makes one.

    Args:
        seconds: at least 0.001, a number or a `timedelta`; counts to the microsecond.
        relative: run at full days, hours, minutes or seconds of the clock on the wall.
        anchor: a moment to count from, in UTC seconds; None for the Unix epoch, until it is `anchored`.
        timezone: a key or a `tzinfo`; the zone of the full days and hours, default the queue's.

    Raises:
        ScheduleError: an interval that is no number, or too short or too long.
        ConfigurationError: an unknown time zone.
    """

    __slots__ = ("_anchor", "_period", "_relative")

    kind = "interval"

    def __init__(
        self,
        seconds: float | timedelta,
        relative: bool = False,
        anchor: float | None = None,
        timezone: str | tzinfo | None = None,
    ) -> None:
        super().__init__(None if timezone is None else read_zone(timezone))
        self._period = _period(seconds)
        if not isinstance(relative, bool):
            raise ScheduleError(f"relative must be True or False, not {relative!r}.")
        self._relative = relative
        self._anchor = None if anchor is None else _anchor(anchor)

    @property
    def seconds(self) -> float:
        """How long it is, in seconds."""
        return self._period / timedelta(seconds=1)

    @property
    def relative(self) -> bool:
        """Whether it runs at full days, hours, minutes or seconds."""
        return self._relative

    @property
    def anchor(self) -> float | None:
        """The moment that it counts from, in UTC seconds; None if it has not been anchored."""
        return self._anchor

    def anchored(self, at: float) -> Interval:
        """Return the same interval counting from `at`, in UTC seconds; itself if it has an anchor."""
        return self if self._anchor is not None else self.reanchored(at)

    def reanchored(self, at: float) -> Interval:
        """Return the same interval counting from `at`, in UTC seconds, whatever it has counted from."""
        return Interval(self._period, self._relative, _not_later(at), self._zone)

    def _next(self, moment: datetime, zone: tzinfo) -> datetime | None:
        try:
            return next(found for found in self._around(moment, zone) if found > moment)
        except (OverflowError, StopIteration):
            return None

    def _previous(self, moment: datetime, zone: tzinfo) -> datetime | None:
        try:
            return max(found for found in self._around(moment, zone) if found < moment)
        except (OverflowError, ValueError):
            return None

    def _around(self, moment: datetime, zone: tzinfo) -> Iterator[datetime]:
        """Yield its moments before and after one, in order; at least one of either side."""
        start = EPOCH if self._anchor is None else EPOCH + round(self._anchor * 1e6) * MICROSECOND
        if not self._relative or self._period < timedelta(seconds=1):
            return _steps(start, self._period, moment)
        unit = next((size for size, _ in _UNITS if self._period >= timedelta(seconds=size)), 1)
        count = self._period // timedelta(seconds=unit)
        if unit == _DAY:
            return _midnights(start, count, moment, zone)
        period = timedelta(seconds=unit * count)
        return (_full(unit, step, zone) for step in _steps(_full(unit, start, zone), period, moment))

    def _with_zone(self, zone: tzinfo) -> Interval:
        return Interval(self._period, self._relative, self._anchor, zone)

    def _identity(self) -> tuple[object, ...]:
        return self._period, self._relative, self._anchor

    def _fields(self) -> dict[str, Any]:
        fields: dict[str, Any] = {"microseconds": self._period // MICROSECOND}
        if self._relative:
            fields["relative"] = True
        if self._anchor is not None:
            fields["anchor"] = self._anchor
        return fields

    @classmethod
    def _of_fields(cls, fields: Mapping[str, Any], zone: tzinfo | None) -> Interval:
        period = fields["microseconds"] * MICROSECOND
        return cls(period, fields.get("relative", False), fields.get("anchor"), zone)

    def __repr__(self) -> str:
        relative = ", relative=True" if self._relative else ""
        anchor = "" if self._anchor is None else f", anchor={self._anchor!r}"
        return f"every({_number(self._period)}{relative}{anchor}{self._zone_argument()})"

    def __str__(self) -> str:
        words = f"every {_length(self._period)}"
        if self._relative:
            words += ", at full " + next(
                (f"{name}s" for size, name in _UNITS if self._period >= timedelta(seconds=size)), "seconds"
            )
            words += self._in_words()
        return words


def every(
    seconds: float | timedelta,
    relative: bool = False,
    anchor: float | None = None,
    timezone: str | tzinfo | None = None,
) -> Interval:
    """Return a schedule that runs every so many seconds.

    It goes by elapsed time, whatever clocks on the wall do, and does not drift: its moments are the anchor
    and whole multiples of the interval.

    Args:
        seconds: at least 0.001, a number or a `timedelta`; counts to the microsecond.
        relative: as in Celery, round down to whole days, hours, minutes or seconds, whichever is the largest
            that the interval has, and run when the clock on the wall is at a full one: every 2 days at
            midnight, every 90 minutes at each full hour.
        anchor: a moment to count from, in UTC seconds; default the moment at which the schedule is stored.
        timezone: a key or a `tzinfo`; the zone of the full days and hours, default the queue's.

    Raises:
        ScheduleError: an interval that is no number, or too short or too long.
        ConfigurationError: an unknown time zone.
    """
    return Interval(seconds, relative, anchor, timezone)


def _period(value: object) -> timedelta:
    seconds = value.total_seconds() if isinstance(value, timedelta) else value
    if isinstance(seconds, bool) or not isinstance(seconds, int | float):
        raise ScheduleError(
            f"An interval must be a number of seconds or a timedelta, not {value!r} of type "
            f"{type(value).__name__}."
        )
    if not LEAST <= seconds <= LONGEST:
        raise ScheduleError(f"An interval must be from {LEAST:g} seconds to a century, not {value!r}.")
    return value if isinstance(value, timedelta) else timedelta(seconds=seconds)


def _anchor(value: object) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float) or not abs(value) < _FURTHEST:
        raise ScheduleError(
            f"An interval's anchor must be a moment in UTC seconds since 1970, not {value!r}."
        )
    return float(value)


def _not_later(at: float) -> float:
    """Return the last whole microsecond that is not after a moment.

    Moments are whole microseconds, and one that was rounded up would itself come after `at`.
    """
    anchor = EPOCH + round(_anchor(at) * 1e6) * MICROSECOND
    return (anchor - MICROSECOND if anchor.timestamp() > at else anchor).timestamp()


def _steps(start: datetime, period: timedelta, moment: datetime) -> Iterator[datetime]:
    step = (moment - start) // period
    for k in range(step - 2, step + 4):
        try:
            yield start + k * period
        except OverflowError:
            if k > step:
                return


def _midnights(start: datetime, count: int, moment: datetime, zone: tzinfo) -> Iterator[datetime]:
    first = datetime.combine(label_at(start, zone), datetime.min.time())
    yield from (
        first_moment(label.replace(tzinfo=None), zone)
        for label in _steps(
            first.replace(tzinfo=UTC), timedelta(days=count), label_at(moment, zone).replace(tzinfo=UTC)
        )
    )


_FULL_MINUTES = Labels(lambda _, length: range(1, length + 1), range(1, 13), range(24), range(60))
_FULL_HOURS = Labels(lambda _, length: range(1, length + 1), range(1, 13), range(24), (0,))


def _full(unit: int, moment: datetime, zone: tzinfo) -> datetime:
    """Return the last moment until this one at which the clock showed a full hour, minute or second."""
    if unit == 1:
        return moment.replace(microsecond=0)
    labels = _FULL_HOURS if unit == _HOUR else _FULL_MINUTES
    return previous_moment(labels, False, moment + MICROSECOND, zone) or moment


def _number(period: timedelta) -> str:
    seconds = period / timedelta(seconds=1)
    return str(int(seconds)) if seconds.is_integer() else repr(seconds)


def _length(period: timedelta) -> str:
    parts, rest = [], period
    for size, name in _UNITS:
        count, rest = divmod(rest, timedelta(seconds=size))
        if count:
            parts.append(_counted(str(count), name))
    if rest:
        parts.append(_counted(_number(rest), "second"))
    return listed(parts)


def _counted(number: str, name: str) -> str:
    return f"{number} {name}" if number == "1" else f"{number} {name}s"
