"""A user's own object as a schedule."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime, timedelta, tzinfo
from typing import Any, Protocol

from liteq.errors import ScheduleError, ScheduleNotLoadedError
from liteq.schedule.base import MICROSECOND, Schedule, aware
from liteq.zones import read_zone

__all__ = ["LOOK_BACK", "Custom", "HasNextAfter"]

LOOK_BACK = timedelta(days=3653)
"""How far back the previous moment is looked for, where an object tells only the next one: ten years."""

_FIRST_LOOK = timedelta(minutes=1)
_LONGEST_DESCRIPTION = 200


class HasNextAfter(Protocol):
    """What an object needs to be a schedule."""

    def next_after(self, t: datetime) -> datetime | None:
        """Return the first moment after an aware time, strictly; None if there is none."""


class Custom(Schedule):
    """Runs when an object of the user's own says.

    The object answers `next_after(t)` with its first moment after the aware time `t`, or None. The answer
    must be the same whenever it is asked, and must not depend on what it was asked before. It may answer
    `previous(t)` too; otherwise the previous moment is searched for, within ten years.

    Such a schedule is not written down; a description of it is. Each process that fires it has to import
    the module that declares it.

    Args:
        source: the object.
        timezone: a key or a `tzinfo`: the zone of the times that the object is asked about; default the
            queue's.

    Raises:
        ScheduleError: the object has no method `next_after`.
        ConfigurationError: an unknown time zone.
    """

    __slots__ = ("_source",)

    kind = "custom"

    def __init__(self, source: HasNextAfter, timezone: str | tzinfo | None = None) -> None:
        super().__init__(None if timezone is None else read_zone(timezone))
        if isinstance(source, type) or not callable(getattr(source, "next_after", None)):
            raise ScheduleError(
                f"A schedule of your own needs a method next_after(t), and {source!r} has none."
            )
        self._source = source

    @property
    def source(self) -> HasNextAfter:
        """The user's object."""
        return self._source

    def _next(self, moment: datetime, zone: tzinfo) -> datetime | None:
        found = self._asked("next_after", moment, zone)
        if found is not None and found <= moment:
            raise ScheduleError(
                f"next_after of {_described(self._source)} was asked for a moment after {moment}, and said "
                f"{found}, which is not later."
            )
        return found

    def _previous(self, moment: datetime, zone: tzinfo) -> datetime | None:
        if callable(getattr(self._source, "previous", None)):
            found = self._asked("previous", moment, zone)
            if found is not None and found >= moment:
                raise ScheduleError(
                    f"previous of {_described(self._source)} was asked for a moment before {moment}, "
                    f"and said {found}, which is not earlier."
                )
            return found
        return self._searched(moment, zone)

    def _searched(self, moment: datetime, zone: tzinfo) -> datetime | None:
        """Find the last moment before one by asking for next ones, each time within half as wide a span."""
        distance = _FIRST_LOOK
        empty = moment - MICROSECOND
        while True:
            try:
                start = moment - min(distance, LOOK_BACK)
                found = self._next(start, zone)
            except OverflowError:
                return None
            if found is not None and found < moment:
                break
            if distance >= LOOK_BACK:
                return None
            empty, distance = start, distance * 2
        # There is something before `moment` at or after `found`, and nothing after `empty`.
        while empty - found > MICROSECOND:
            middle = found + (empty - found) / 2
            later = self._next(middle, zone)
            if later is not None and later < moment:
                found = later
            else:
                empty = middle
        later = self._next(found, zone)
        return found if later is None or later >= moment else later

    def _asked(self, method: str, moment: datetime, zone: tzinfo) -> datetime | None:
        answer = getattr(self._source, method)(moment.astimezone(zone))
        if answer is None:
            return None
        return aware(answer, f"What {method} of {_described(self._source)} returns")

    def _with_zone(self, zone: tzinfo) -> Custom:
        return Custom(self._source, zone)

    def _identity(self) -> tuple[object, ...]:
        try:
            hash(self._source)
        except TypeError:
            return (id(self._source),)
        return (self._source,)

    def _fields(self) -> dict[str, Any]:
        kind = type(self._source)
        return {"description": _described(self._source), "type": f"{kind.__module__}.{kind.__qualname__}"}

    @classmethod
    def _of_fields(cls, fields: Mapping[str, Any], zone: tzinfo | None) -> Custom:
        raise ScheduleNotLoadedError(
            f"This schedule is an object of your own, {fields.get('description')} of the type "
            f"{fields.get('type')}, and can be used only where the module that declares it is imported."
        )

    def __reduce__(self) -> tuple[Any, ...]:
        return Custom, (self._source, self._zone)

    def __repr__(self) -> str:
        return f"Custom({self._source!r}{self._zone_argument()})"

    def __str__(self) -> str:
        return _described(self._source) + self._in_words()


def _described(source: object) -> str:
    try:
        text = str(source)
    except Exception:
        text = ""
    kind = type(source)
    if not text or (kind.__str__ is object.__str__ and kind.__repr__ is object.__repr__):
        # The default has an address in it, which says nothing to a reader and changes from run to run.
        text = f"{kind.__module__}.{kind.__qualname__}"
    return text if len(text) <= _LONGEST_DESCRIPTION else text[: _LONGEST_DESCRIPTION - 3] + "..."
