"""Checks of values that users give as options; each returns the value or says what is wrong with it."""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping
from datetime import UTC, datetime, timedelta, tzinfo

from liteq.app.naming import nearest
from liteq.errors import ConfigurationError, NotSupportedError
from liteq.job import PRIORITY_MAX, PRIORITY_MIN

__all__ = [
    "LONGEST",
    "check_flag",
    "check_limits",
    "check_name",
    "check_number",
    "check_options",
    "check_priority",
    "check_seconds",
    "check_whole",
    "utc_seconds",
]

LONGEST = 100 * 366 * 86400.0
"""The most seconds that an option may say: a century; more is a mistake, and overflows `datetime`."""

NAME_LIMIT = 200
"""The most characters of a queue name, a task name or a job id."""

_LATEST = 253402300799.0
"""The last whole second that a `datetime` can say; a float rounds the last microseconds up beyond it."""


def check_flag(option: str, value: object) -> bool:
    """Return a value that must be True or False."""
    if not isinstance(value, bool):
        raise ConfigurationError(f"{option} must be True or False, not {value!r}.")
    return value


def check_number(option: str, value: object, least: float = 0.0, most: float = LONGEST) -> float:
    """Return a finite number between two bounds; a bool is no number here."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise ConfigurationError(f"{option} must be a number, not {value!r} of type {type(value).__name__}.")
    if not math.isfinite(value) or not least <= value <= most:
        raise ConfigurationError(f"{option} must be a number from {least:g} to {most:g}, not {value!r}.")
    return float(value)


def check_seconds(option: str, value: object, least: float = 0.0) -> float:
    """Return a duration, given as a number of seconds or a `timedelta`, in seconds."""
    if isinstance(value, timedelta):
        value = value.total_seconds()
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise ConfigurationError(
            f"{option} must be a number of seconds or a timedelta, not {value!r}, "
            f"of type {type(value).__name__}."
        )
    return check_number(f"{option} (in seconds)", value, least)


def check_limits(what: str, time_limit: float | None, soft_time_limit: float | None) -> None:
    """Raise ConfigurationError where both limits are given and the soft one could never be reached.

    Args:
        what: who has them, as the start of a sentence.
        time_limit: seconds, or None.
        soft_time_limit: seconds, or None.
    """
    if time_limit is not None and soft_time_limit is not None and soft_time_limit >= time_limit:
        raise ConfigurationError(
            f"{what} got a soft_time_limit of {soft_time_limit:g} s, which must be less than the time_limit "
            f"of {time_limit:g} s, at which the job is ended."
        )


def check_whole(option: str, value: object, least: int = 0, most: int = 2**31 - 1) -> int:
    """Return an integer between two bounds; a bool is no integer here."""
    if isinstance(value, bool) or not isinstance(value, int):
        raise ConfigurationError(
            f"{option} must be an integer, not {value!r} of type {type(value).__name__}."
        )
    if not least <= value <= most:
        raise ConfigurationError(f"{option} must be an integer from {least} to {most}, not {value}.")
    return value


def check_priority(value: object) -> int:
    """Return a priority."""
    return check_whole("priority", value, PRIORITY_MIN, PRIORITY_MAX)


def check_name(option: str, value: object) -> str:
    """Return a name: a string of 1 to 200 characters that can be written as UTF-8, without NUL."""
    if not isinstance(value, str):
        raise ConfigurationError(f"{option} must be a string, not {value!r} of type {type(value).__name__}.")
    if not 0 < len(value) <= NAME_LIMIT:
        raise ConfigurationError(
            f"{option} must have 1 to {NAME_LIMIT} characters, and {value[:40]!r} has {len(value)}."
        )
    if not value.isascii() or "\0" in value:
        try:
            value.encode()
        except UnicodeEncodeError:
            raise ConfigurationError(f"{option} {value!r} cannot be written as UTF-8.") from None
        if "\0" in value:
            raise ConfigurationError(f"{option} {value!r} contains a NUL character.")
    return value


def utc_seconds(option: str, value: object, zone: tzinfo) -> float:
    """Return a time in UTC seconds since the epoch; without a time zone of its own it is in `zone`.

    Where clocks are set back, a time that comes twice means the first, or with `fold=1` the second. Where
    they are set forward, a time that is left out counts from before the change: where 02:00 becomes 03:00,
    02:30 means 03:30.
    """
    if not isinstance(value, datetime):
        raise ConfigurationError(
            f"{option} must be a datetime, not {value!r} of type {type(value).__name__}."
        )
    # Not only where `tzinfo` is None: one that knows no offset would be taken for the machine's own zone.
    if value.utcoffset() is None:
        value = value.replace(tzinfo=zone)
    try:
        return min(value.astimezone(UTC).timestamp(), _LATEST)
    except (OverflowError, ValueError):
        raise ConfigurationError(f"{option} {value} is out of range.") from None


def check_options(
    what: str,
    given: Mapping[str, object],
    known: Collection[str],
    not_built: Mapping[str, str],
    parameters: Collection[str] = (),
) -> None:
    """Raise unless every option is known.

    Args:
        what: who takes the options, as the start of a sentence.
        given: the options that were given.
        known: the names that exist.
        not_built: names that Celery has and liteq lacks so far, each with what to do instead.
        parameters: what else can be given there by name, to be suggested.

    Raises:
        NotSupportedError: an option that is not built yet.
        ConfigurationError: any other unknown option; the message names the nearest known one.
    """
    for option in given:
        if option in known:
            continue
        if option in not_built:
            raise NotSupportedError(f"{what} does not take {option!r} yet: {not_built[option]}")
        raise ConfigurationError(f"{what} has no option {option!r}.{nearest(option, [*known, *parameters])}")
