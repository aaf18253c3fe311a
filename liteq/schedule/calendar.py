"""Schedules by the calendar and the clock on the wall: which moments a set of labels means.

The rule is Debian cron's, as the library cronsim has it:

- A job *at fixed times* (neither its minutes nor its hours begin with a star) runs once for each label. One
  that clocks skip when they are set forward runs right after the gap; where several labels come to the
  same moment they are one run. A label that clocks show twice, because they are set back, counts the
  first time only.
- Any other job runs whenever clocks show one of its labels: not in a gap, and twice where they show it
  twice. So it goes on at its usual pace, by elapsed time.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Callable, Iterable, Iterator
from datetime import UTC, date, datetime, time, timedelta, tzinfo

from liteq.schedule.wall import (
    MARGIN,
    change_after,
    change_before,
    first_moment,
    label_at,
    offset_at,
    seen_before,
)

__all__ = ["Labels", "month_shape", "next_moment", "previous_moment"]

_SECOND = timedelta(seconds=1)
_EARLIEST = datetime(1, 1, 3, tzinfo=UTC)
_LATEST = datetime(9999, 12, 29, tzinfo=UTC)
"""Where the calendar ends, with room for every time zone."""

_YEARS = 401
"""After so many years the calendar repeats itself: what has not come by then never comes."""


class Labels:
    """A set of labels: days of the calendar, and the same times of day on each.

    Args:
        days: returns the days of a month that starts on a weekday (0 is Monday) and has so many days.
        months: from 1 to 12.
        hours: from 0 to 23.
        minutes: from 0 to 59.
        seconds: from 0 to 59.
    """

    __slots__ = ("_days", "_shapes", "hours", "minutes", "months", "seconds")

    def __init__(
        self,
        days: Callable[[int, int], Iterable[int]],
        months: Iterable[int],
        hours: Iterable[int],
        minutes: Iterable[int],
        seconds: Iterable[int] = (0,),
    ) -> None:
        self._days = days
        self._shapes: dict[tuple[int, int], tuple[int, ...]] = {}
        self.months = frozenset(months)
        self.hours = tuple(sorted(hours))
        self.minutes = tuple(sorted(minutes))
        self.seconds = tuple(sorted(seconds))

    def at_or_after(self, label: datetime) -> datetime | None:
        """Return the first label that is not before this one; None if there is none."""
        today = label.date()
        if label.microsecond:
            if label.replace(microsecond=0) > datetime.max - _SECOND:
                return None
            return self.at_or_after(label.replace(microsecond=0) + _SECOND)
        for day in self._days_from(today):
            if day > today:
                return _label(day, self.hours[0], self.minutes[0], self.seconds[0])
            if (found := self._time_from(label.hour, label.minute, label.second)) is not None:
                return _label(day, *found)
        return None

    def at_or_before(self, label: datetime) -> datetime | None:
        """Return the last label that is not after this one; None if there is none."""
        today = label.date()
        for day in self._days_until(today):
            if day < today:
                return _label(day, self.hours[-1], self.minutes[-1], self.seconds[-1])
            if (found := self._time_until(label.hour, label.minute, label.second)) is not None:
                return _label(day, *found)
        return None

    def after(self, label: datetime) -> datetime | None:
        """Return the first label after this one; None if there is none."""
        label = label.replace(microsecond=0)
        return None if label > datetime.max - _SECOND else self.at_or_after(label + _SECOND)

    def before(self, label: datetime) -> datetime | None:
        """Return the last label before this one; None if there is none."""
        if label.microsecond:
            return self.at_or_before(label)
        return None if label < datetime.min + _SECOND else self.at_or_before(label - _SECOND)

    def in_month(self, year: int, month: int) -> tuple[int, ...]:
        """Return the days of a month that have labels."""
        if month not in self.months:
            return ()
        shape = month_shape(year, month)
        if shape not in self._shapes:
            self._shapes[shape] = tuple(sorted(self._days(*shape)))
        return self._shapes[shape]

    def ever(self) -> bool:
        """Tell whether there is any label at all."""
        return any(self.in_month(year, month) for year in range(2000, 2000 + _YEARS) for month in self.months)

    def _days_from(self, day: date) -> Iterator[date]:
        year, month, first = day.year, day.month, day.day
        for _ in range(_YEARS * 12):
            yield from (date(year, month, d) for d in self.in_month(year, month) if d >= first)
            first = 1
            year, month = (year + 1, 1) if month == 12 else (year, month + 1)
            if year > 9999:
                return

    def _days_until(self, day: date) -> Iterator[date]:
        year, month, last = day.year, day.month, day.day
        for _ in range(_YEARS * 12):
            yield from (date(year, month, d) for d in reversed(self.in_month(year, month)) if d <= last)
            last = 31
            year, month = (year - 1, 12) if month == 1 else (year, month - 1)
            if year < 1:
                return

    def _time_from(self, hour: int, minute: int, second: int) -> tuple[int, int, int] | None:
        hours, minutes, seconds = self.hours, self.minutes, self.seconds
        if hour in hours:
            if minute in minutes and second <= seconds[-1]:
                return hour, minute, seconds[bisect_left(seconds, second)]
            if minute < minutes[-1]:
                return hour, minutes[bisect_right(minutes, minute)], seconds[0]
        if hour < hours[-1]:
            return hours[bisect_right(hours, hour)], minutes[0], seconds[0]
        return None

    def _time_until(self, hour: int, minute: int, second: int) -> tuple[int, int, int] | None:
        hours, minutes, seconds = self.hours, self.minutes, self.seconds
        if hour in hours:
            if minute in minutes and second >= seconds[0]:
                return hour, minute, seconds[bisect_right(seconds, second) - 1]
            if minute > minutes[0]:
                return hour, minutes[bisect_left(minutes, minute) - 1], seconds[-1]
        if hour > hours[0]:
            return hours[bisect_left(hours, hour) - 1], minutes[-1], seconds[-1]
        return None


def month_shape(year: int, month: int) -> tuple[int, int]:
    """Return the weekday of a month's first day (0 is Monday), and how many days the month has."""
    first = date(year, month, 1)
    # Not `calendar.monthrange`, whose module takes long to import.
    length = 31 if month == 12 else (date(year, month + 1, 1) - first).days
    return first.weekday(), length


def _label(day: date, hour: int, minute: int, second: int) -> datetime:
    return datetime.combine(day, time(hour, minute, second))


def next_moment(labels: Labels, at_fixed_times: bool, moment: datetime, zone: tzinfo) -> datetime | None:
    """Return the first moment of a job after one; both in UTC."""
    if moment < _EARLIEST:
        moment = _EARLIEST
    if moment > _LATEST:
        return None
    if not at_fixed_times:
        return _next_shown(labels, moment, zone)
    label = labels.after(seen_before(moment, zone))
    while label is not None and label.replace(tzinfo=UTC) < _LATEST:
        if (found := first_moment(label, zone)) > moment:
            return found
        label = labels.after(label)
    return None


def previous_moment(labels: Labels, at_fixed_times: bool, moment: datetime, zone: tzinfo) -> datetime | None:
    """Return the last moment of a job before one; both in UTC."""
    if moment > _LATEST:
        moment = _LATEST
    if moment < _EARLIEST:
        return None
    if not at_fixed_times:
        return _previous_shown(labels, moment, zone)
    label = labels.at_or_before(seen_before(moment, zone))
    while label is not None and label.replace(tzinfo=UTC) > _EARLIEST:
        if (found := first_moment(label, zone)) < moment:
            return found
        label = labels.before(label)
    return None


def _next_shown(labels: Labels, moment: datetime, zone: tzinfo) -> datetime | None:
    offset = offset_at(moment, zone)
    label = labels.after(label_at(moment, zone))
    while moment < _LATEST:
        # Between two changes of the clocks, labels and moments are a constant offset apart.
        found = _LATEST if label is None else label.replace(tzinfo=UTC) - offset
        reach = moment + MARGIN
        change = change_after(moment, min(found, reach), zone)
        if change is not None:
            moment, offset = change, offset_at(change, zone)
            label = labels.at_or_after(label_at(moment, zone))
        elif found <= reach:
            return found if found < _LATEST else None
        else:
            # Nothing comes before the label is near, whatever the clocks do on the way there.
            moment = max(reach, found - MARGIN)
            offset = offset_at(moment, zone)
            label = labels.after(label_at(moment, zone))
    return None


def _previous_shown(labels: Labels, moment: datetime, zone: tzinfo) -> datetime | None:
    # What clocks show just before a change goes by the offset before it, so look from a microsecond earlier.
    before = moment - timedelta(microseconds=1)
    while before > _EARLIEST:
        offset = offset_at(before, zone)
        label = labels.at_or_before(label_at(before, zone))
        found = _EARLIEST if label is None else label.replace(tzinfo=UTC) - offset
        reach = before - MARGIN
        change = change_before(before, max(found, reach), zone)
        if change is not None:
            before = change - timedelta(microseconds=1)
        elif found >= reach:
            return found if found > _EARLIEST else None
        else:
            before = min(reach, found + MARGIN)
    return None
