"""What a crontab says, in words."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from liteq.schedule.fields import DAYS, MONTHS, Field

__all__ = ["in_words", "listed"]

_MOST = 6
"""Times of day that are listed one by one; more are told by their fields."""


def in_words(minute: Field, hour: Field, day_of_month: Field, month: Field, day_of_week: Field) -> str:
    """Return a sentence's worth of words, such as `at 03:00 on Monday`."""
    parts = [_times(minute, hour)]
    if len(day_of_week.values) < 7:
        parts.append("on " + listed(DAYS[day].capitalize() for day in _week(day_of_week.values)))
    if len(day_of_month.values) < 31:
        days = _runs(sorted(day_of_month.values))
        parts.append(("on day " if "-" not in days and "," not in days else "on days ") + days)
        parts[-1] += " of the month"
    if len(month.values) < 12:
        parts.append("in " + listed(MONTHS[number - 1].capitalize() for number in sorted(month.values)))
    return " ".join(parts)


def _times(minute: Field, hour: Field) -> str:
    minutes, hours = sorted(minute.values), sorted(hour.values)
    if len(minutes) * len(hours) <= _MOST:
        return "at " + listed(f"{h:02d}:{m:02d}" for h in hours for m in minutes)
    if len(minutes) == 60:
        told = "every minute"
    elif (step := _step(minutes, 60)) is not None:
        told = f"every {step} minutes"
    else:
        told = ("at minute " if len(minutes) == 1 else "at minutes ") + _runs(minutes)
    if len(hours) == 24:
        return told if told.startswith("every") else f"{told} of every hour"
    if (step := _step(hours, 24)) is not None:
        return f"{told} of every {step} hours"
    return f"{told} of hour{'' if len(hours) == 1 else 's'} {_runs(hours)}"


def _step(values: Sequence[int], size: int) -> int | None:
    """Return n if the values are 0, n, 2n and so on up to the size, which n divides."""
    step = values[1] - values[0] if len(values) > 1 else size
    even = size % step == 0 and list(values) == list(range(0, size, step))
    return step if even and 1 < step < size else None


def _week(days: Iterable[int]) -> list[int]:
    return sorted(days, key=lambda day: (day + 6) % 7)


def _runs(values: Sequence[int]) -> str:
    """Return numbers with hyphens for three or more in a row."""
    runs: list[list[int]] = []
    for value in values:
        if runs and runs[-1][-1] == value - 1:
            runs[-1].append(value)
        else:
            runs.append([value])
    return ", ".join(f"{run[0]}-{run[-1]}" if len(run) > 2 else ", ".join(map(str, run)) for run in runs)


def listed(items: Iterable[str]) -> str:
    """Return words with commas, and an `and` before the last."""
    *rest, last = items
    return f"{', '.join(rest)} and {last}" if rest else last
