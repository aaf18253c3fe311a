"""The fields of Celery's crontab: numbers, names, lists, ranges and steps, as text and as sets of numbers."""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import NamedTuple

from liteq.errors import ScheduleError

__all__ = ["DAY_OF_MONTH", "DAY_OF_WEEK", "HOUR", "MINUTE", "MONTH_OF_YEAR", "Field", "Kind"]

DAYS = ("sunday", "monday", "tuesday", "wednesday", "thursday", "friday", "saturday")
MONTHS = (
    "january",
    "february",
    "march",
    "april",
    "may",
    "june",
    "july",
    "august",
    "september",
    "october",
    "november",
    "december",
)

_PART = r"(?:(?P<star>\*)|(?P<first>\w+)(?:-(?P<last>\w+))?)(?P<slash>/(?P<step>\w*))?"


class Kind(NamedTuple):
    """A field of a crontab: its name, bounds, and the names that its numbers have."""

    name: str
    least: int
    most: int
    names: tuple[str, ...] = ()


MINUTE = Kind("minute", 0, 59)
HOUR = Kind("hour", 0, 23)
DAY_OF_WEEK = Kind("day_of_week", 0, 6, DAYS)
DAY_OF_MONTH = Kind("day_of_month", 1, 31)
MONTH_OF_YEAR = Kind("month_of_year", 1, 12, MONTHS)


class Field(NamedTuple):
    """What one field of a crontab says."""

    text: str
    """As it is written down."""
    values: frozenset[int]

    @property
    def has_star(self) -> bool:
        """Whether it begins with a star, which tells a wildcard job from one at fixed times."""
        return self.text.startswith("*")

    @property
    def argument(self) -> str:
        """The Python expression that says it."""
        plain = self.text.isdigit() and self.text == str(int(self.text))
        return self.text if plain else repr(self.text)

    @classmethod
    def read(cls, kind: Kind, value: object) -> Field:
        """Return what a user's value for a field means.

        Raises:
            ScheduleError: it means nothing, or something impossible.
        """
        if isinstance(value, str):
            text = value.strip().lower()
        elif isinstance(value, int) and not isinstance(value, bool):
            text = str(value)
        elif isinstance(value, Iterable) and not isinstance(value, bytes | bytearray):
            text = _joined(kind, value)
        else:
            raise _refusal(
                kind,
                value,
                f"of type {type(value).__name__}; give a number, a string such as '*/5', or a list of these",
            )
        values = frozenset(number for part in text.split(",") for number in _numbers(kind, part, value))
        return cls(text, values)


def _joined(kind: Kind, value: Iterable[object]) -> str:
    numbers, words = set(), set()
    for item in value:
        if isinstance(item, int) and not isinstance(item, bool):
            numbers.add(item)
        elif isinstance(item, str):
            words.add(item.strip().lower())
        else:
            raise _refusal(kind, value, f"whose item {item!r} is neither a number nor a string")
    if not numbers and not words:
        raise _refusal(
            kind, value, f"which is empty and would never run; leave {kind.name} out for every one"
        )
    # A star comes first in the order of characters, and counts as a star wherever it stands in a list.
    return ",".join([*sorted(words), *map(str, sorted(numbers))])


def _numbers(kind: Kind, part: str, value: object) -> list[int]:
    # Compiled when it is needed, because most programs never need it.
    match = re.fullmatch(_PART, part.strip(), re.ASCII)
    if match is None:
        what = f"where {part!r} says nothing" if part != value else "which says nothing"
        raise _refusal(kind, value, f"{what}; forms are 5, 1-5, */15, 1-30/3, and lists of these with commas")
    if match["star"]:
        found = list(range(kind.least, kind.most + 1))
    else:
        found = _range(kind, match["first"], match["last"], value)
    if match["slash"]:
        if match["first"] and not match["last"]:
            raise _refusal(
                kind,
                value,
                f"where {part!r} steps from a single value; say {match['first']}-{kind.most}/{match['step']}",
            )
        step = match["step"]
        if not _is_number(step) or int(step) == 0:
            raise _refusal(kind, value, f"whose step {step!r} is not a number from 1")
        found = found[:: int(step)]
    return found


def _range(kind: Kind, first: str, last: str | None, value: object) -> list[int]:
    begin = _number(kind, first, value)
    if last is None:
        return [begin % 7] if kind is DAY_OF_WEEK else [begin]
    end = _number(kind, last, value)
    if kind is DAY_OF_WEEK:
        # Sunday is 0 at the start of a range and 7 at its end.
        begin %= 7
        length = (end - begin) % 7 if end - begin != 7 else 6
        return [(begin + day) % 7 for day in range(length + 1)]
    if end < begin:
        return [*range(begin, kind.most + 1), *range(kind.least, end + 1)]
    return list(range(begin, end + 1))


def _number(kind: Kind, text: str, value: object) -> int:
    if _is_number(text):
        number = int(text)
        if kind.least <= number <= kind.most or (kind is DAY_OF_WEEK and number == 7):
            return number
        most = "6 (0 and 7 are Sunday)" if kind is DAY_OF_WEEK else str(kind.most)
        raise _refusal(kind, value, f"and {number} is not from {kind.least} to {most}")
    if len(text) >= 3:
        for index, name in enumerate(kind.names):
            if name.startswith(text):
                return index + kind.least
    names = f" or a name such as {kind.names[1][:3]!r}" if kind.names else ""
    raise _refusal(kind, value, f"and {text!r} is no number from {kind.least} to {kind.most}{names}")


def _is_number(text: str) -> bool:
    return text.isdigit() and len(text) < 10


def _refusal(kind: Kind, value: object, what: str) -> ScheduleError:
    return ScheduleError(f"crontab({kind.name}={value!r}) is impossible: it was given {value!r}, {what}.")
