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
        # A week begins on Monday.
        parts.append(
            "on " + _named(sorted((day - 1) % 7 for day in day_of_week.values), (*DAYS[1:], DAYS[0]))
        )
    if len(days := sorted(day_of_month.values)) < 31:
        parts.append(f"on day{'s' if len(days) > 1 else ''} {_numbers(days)} of the month")
    if len(month.values) < 12:
        parts.append("in " + _named(sorted(number - 1 for number in month.values), MONTHS))
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
        told = ("at minute " if len(minutes) == 1 else "at minutes ") + _numbers(minutes)
    if len(hours) == 24:
        return told if told.startswith("every") else f"{told} of every hour"
    if (step := _step(hours, 24)) is not None:
        return f"{told} of every {step} hours"
    return f"{told} of hour{'' if len(hours) == 1 else 's'} {_numbers(hours)}"


def _step(values: Sequence[int], size: int) -> int | None:
    """Return n if the values are 0, n, 2n and so on up to the size, which n divides."""
    step = values[1] - values[0] if len(values) > 1 else size
    even = size % step == 0 and list(values) == list(range(0, size, step))
    return step if even and 1 < step < size else None


def _runs(values: Sequence[int]) -> list[Sequence[int]]:
    """Return numbers in pieces, of which three or more are in a row."""
    pieces: list[list[int]] = []
    for value in values:
        if pieces and pieces[-1][-1] == value - 1:
            pieces[-1].append(value)
        else:
            pieces.append([value])
    return [part for run in pieces for part in ([run] if len(run) > 2 else [[value] for value in run])]


def _numbers(values: Sequence[int]) -> str:
    return ", ".join(str(run[0]) if len(run) == 1 else f"{run[0]}-{run[-1]}" for run in _runs(values))


def _named(values: Sequence[int], names: Sequence[str]) -> str:
    """Return the names of numbers, where 0 is the first name."""
    return listed(
        " to ".join(names[value].capitalize() for value in dict.fromkeys((run[0], run[-1])))
        for run in _runs(values)
    )


def listed(items: Iterable[str]) -> str:
    """Return words with commas, and an `and` before the last."""
    *rest, last = items
    return f"{', '.join(rest)} and {last}" if rest else last
