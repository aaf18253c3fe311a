"""Dates, times and time zones as text.

`fold` and the zone's identity are kept: a ZoneInfo comes back as the ZoneInfo of the same key, a fixed
offset as `datetime.timezone`.
"""

from __future__ import annotations

import zoneinfo
from datetime import datetime, time, timedelta, timezone, tzinfo

from liteq.codec.types import dotted_name
from liteq.errors import DecodingError, EncodingError
from liteq.zones import LONGEST_KEY, is_at_hand

__all__ = ["dump_datetime", "dump_time", "dump_timedelta", "load_datetime", "load_time", "load_timedelta"]

_MICROSECOND = timedelta(microseconds=1)


def dump_datetime(value: datetime) -> str:
    """Return the local time, fold and zone, with a bar between them."""
    return f"{value.replace(tzinfo=None).isoformat()}|{value.fold}|{_dump_zone(value.tzinfo)}"


def load_datetime(text: str) -> datetime:
    """Return what `dump_datetime` described."""
    local, fold, zone = text.split("|", 2)
    return datetime.fromisoformat(local).replace(fold=int(fold), tzinfo=_load_zone(zone))


def dump_time(value: time) -> str:
    """Return the local time, fold and zone, with a bar between them."""
    return f"{value.replace(tzinfo=None).isoformat()}|{value.fold}|{_dump_zone(value.tzinfo)}"


def load_time(text: str) -> time:
    """Return what `dump_time` described."""
    local, fold, zone = text.split("|", 2)
    return time.fromisoformat(local).replace(fold=int(fold), tzinfo=_load_zone(zone))


def dump_timedelta(value: timedelta) -> str:
    """Return the length in microseconds."""
    return str(value // _MICROSECOND)


def load_timedelta(text: str) -> timedelta:
    """Return what `dump_timedelta` described."""
    return timedelta(microseconds=int(text))


def _dump_zone(zone: tzinfo | None) -> str:
    if zone is None:
        return ""
    if type(zone) is zoneinfo.ZoneInfo and zone.key:
        return f"key:{zone.key}"
    if type(zone) is timezone:
        offset = zone.utcoffset(None)
        name = zone.tzname(None)
        named = "" if name == timezone(offset).tzname(None) else f":{name}"
        return f"offset:{offset // _MICROSECOND}{named}"
    raise EncodingError(
        f"Its time zone is a {dotted_name(type(zone))}, which cannot be stored by name; "
        f"use zoneinfo.ZoneInfo with a key, or datetime.timezone."
    )


def _load_zone(text: str) -> tzinfo | None:
    if not text:
        return None
    kind, content = text.split(":", 1)
    if kind == "key":
        return _zone_of_key(content)
    if kind != "offset":
        raise DecodingError(f"{text!r} describes no time zone.")
    microseconds, *name = content.split(":", 1)
    return timezone(timedelta(microseconds=int(microseconds)), *name)


def _zone_of_key(key: str) -> tzinfo:
    try:
        # ZoneInfo takes a key that no file has for that of a package below tzdata, and imports it.
        if len(key) <= LONGEST_KEY and is_at_hand(key):
            return zoneinfo.ZoneInfo(key)
    except (zoneinfo.ZoneInfoNotFoundError, ValueError, OSError) as error:
        raise DecodingError(f"The time zone {key!r} cannot be read on this machine: {error}") from error
    raise DecodingError(
        f"The time zone {key!r} is not in the time zone database of this machine; install tzdata."
    )
