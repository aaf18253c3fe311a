"""Time zones by name: read from what users give, and written down so that they can be read again."""

from __future__ import annotations

import os
from datetime import UTC, timedelta, timezone, tzinfo
from functools import cache, lru_cache

from liteq.errors import ConfigurationError

__all__ = ["LONGEST_KEY", "is_at_hand", "read_zone", "same_zone", "zone_from_text", "zone_key", "zone_text"]

LONGEST_KEY = 100
"""Characters of a time zone's key; the longest there is has about 40."""

_INSTALL = "install the package tzdata (`pip install tzdata`), or your system's"


def read_zone(value: object, option: str = "timezone") -> tzinfo:
    """Return the time zone that a user means.

    Args:
        value: a key of the tz database such as `"Europe/Berlin"`, or `"UTC"`, or a `tzinfo`. One of the
            library pytz is replaced by the zone of the same name, because it needs a treatment of its own.
        option: how the value is called in the error.

    Raises:
        ConfigurationError: no such zone, no tz database, or neither a name nor a `tzinfo`.
    """
    if isinstance(value, tzinfo):
        key = zone_key(value)
        if key == "UTC":
            return UTC
        foreign = getattr(value, "zone", None)
        return _zone_of_key(foreign, option) if key is None and isinstance(foreign, str) else value
    if not isinstance(value, str):
        raise ConfigurationError(
            f"{option} must be the name of a time zone or a tzinfo, not {value!r} "
            f"of type {type(value).__name__}."
        )
    return _zone_of_key(value, option)


def zone_key(zone: tzinfo) -> str | None:
    """Return how a zone is written down; None if it has no name by which it could be found again."""
    if zone is UTC:
        return "UTC"
    if type(zone) is timezone:
        return _offset_text(zone.utcoffset(None))
    key = getattr(zone, "key", None)
    return key if isinstance(key, str) and key else None


def same_zone(one: tzinfo, other: tzinfo) -> bool:
    """Tell whether two zones are the same one, by name where they have one."""
    key = zone_key(one)
    return one == other if key is None else key == zone_key(other)


def zone_text(zone: tzinfo) -> str:
    """Return how a zone is written down: `UTC`, a key such as `Europe/Berlin`, or an offset such as `+05:30`.

    Raises:
        ConfigurationError: it has no name by which another process could find it.
    """
    key = zone_key(zone)
    if key is None:
        raise ConfigurationError(
            f"The time zone {zone!r} has no name by which another process could find it; use the name of a "
            f'zone such as "Europe/Berlin", or datetime.timezone for a fixed offset.'
        )
    return key


def zone_from_text(text: str) -> tzinfo:
    """Return the zone that `zone_text` wrote down.

    Raises:
        ConfigurationError: this machine does not know it.
    """
    if text[:1] in ("+", "-"):
        sign = -1 if text[0] == "-" else 1
        try:
            hours, minutes, *rest = text[1:].split(":")
            seconds = float(rest[0]) if rest else 0.0
            return timezone(sign * timedelta(hours=int(hours), minutes=int(minutes), seconds=seconds))
        except ValueError:
            raise ConfigurationError(f"{text!r} is no offset from UTC.") from None
    found = _find(text, "timezone")
    if found is None:
        raise ConfigurationError(f"There is no time zone {text:.100} on this machine; {_INSTALL}.")
    return found


def _offset_text(offset: timedelta) -> str:
    if not offset:
        return "UTC"
    sign, size = ("-", -offset) if offset < timedelta() else ("+", offset)
    hours, rest = divmod(size, timedelta(hours=1))
    minutes, rest = divmod(rest, timedelta(minutes=1))
    seconds = f":{rest.total_seconds():02g}" if rest else ""
    return f"{sign}{hours:02d}:{minutes:02d}{seconds}"


def _zone_of_key(key: str, option: str) -> tzinfo:
    found = _find(key, option)
    if found is not None:
        return found
    import zoneinfo

    known = zoneinfo.available_timezones()
    if not known:
        raise ConfigurationError(
            f"{option}: there is no time zone {key!r} here, because this machine has no time zone database; "
            f"{_INSTALL}."
        )
    raise ConfigurationError(f"{option}: there is no time zone {key!r} here.{_nearest(key, known)}")


def _find(key: str, option: str) -> tzinfo | None:
    """Return a zone by its key; None if there is none. Nothing is imported for a name that nobody knows."""
    if key.upper() == "UTC":
        return UTC
    # Imported here because most queues keep to UTC and the import is slow.
    import zoneinfo

    try:
        # ZoneInfo takes a key that no file has for that of a package below tzdata, and imports it.
        return zoneinfo.ZoneInfo(key) if 0 < len(key) <= LONGEST_KEY and is_at_hand(key) else None
    except (zoneinfo.ZoneInfoNotFoundError, ValueError, OSError) as error:
        raise ConfigurationError(
            f"{option}: the time zone {key!r} cannot be read on this machine: {error}"
        ) from error


def _nearest(key: str, known: set[str]) -> str:
    import difflib

    # Not of a name such as EST: it is like every other short one, and is seldom what is meant.
    by_lower = {name.lower(): name for name in sorted(known) if "/" in name}
    found = difflib.get_close_matches(key.lower(), by_lower, n=1, cutoff=0.7)
    if found:
        return f" Did you mean {by_lower[found[0]]!r}?"
    if "/" not in key:
        return ' A zone is named by its region and a city, such as "Europe/Berlin".'
    return f" If it is a new one, {_INSTALL}."


@lru_cache(maxsize=256)
def is_at_hand(key: str) -> bool:
    """Tell whether there is such a zone; remembered, because looking takes as long as all the rest."""
    import zoneinfo

    found = any(os.path.isfile(os.path.join(folder, key)) for folder in zoneinfo.TZPATH)  # noqa: PTH113, PTH118
    return found or key in _zones_of_tzdata()


@cache
def _zones_of_tzdata() -> frozenset[str]:
    """Return the keys that the package tzdata has; none if it is not installed."""
    try:
        from importlib.resources import files

        return frozenset(files("tzdata").joinpath("zones").read_text(encoding="utf-8").split())
    except (ImportError, OSError):
        return frozenset()
