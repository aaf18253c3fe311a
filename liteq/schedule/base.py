"""What every schedule is: a set of moments, of which it tells the next and the previous one."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta, tzinfo
from typing import Any, ClassVar, Self

from liteq.errors import ScheduleError
from liteq.zones import read_zone, zone_from_text, zone_key, zone_text

__all__ = ["EPOCH", "MICROSECOND", "Schedule", "aware", "dump_zone", "load_zone"]

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
MICROSECOND = timedelta(microseconds=1)


class Schedule(ABC):
    """When something runs: a set of moments. A value: immutable, equal by what it says, and hashable.

    You do not subclass it: any object of your own with a method `next_after(t)` is a schedule too, see
    `Custom`.
    """

    __slots__ = ("_zone",)

    kind: ClassVar[str]
    """What it is called where it is written down."""

    def __init__(self, timezone: tzinfo | None) -> None:
        self._zone = timezone

    @property
    def timezone(self) -> tzinfo | None:
        """The zone that it is computed in; None for the zone of the time that is asked about."""
        return self._zone

    def next_after(self, t: datetime) -> datetime | None:
        """Return its first moment after `t`, strictly; None if there is none.

        Args:
            t: any aware time.

        Returns:
            An aware time, in the schedule's own zone or, where it has none, in that of `t`.

        Raises:
            ScheduleError: `t` has no time zone.
        """
        moment, zone = self._begin(t)
        found = self._next(moment, zone)
        return None if found is None else _shown(found, zone)

    def previous(self, t: datetime) -> datetime | None:
        """Return its last moment before `t`, strictly; None if there is none.

        Args:
            t: any aware time.

        Returns:
            An aware time, in the schedule's own zone or, where it has none, in that of `t`.

        Raises:
            ScheduleError: `t` has no time zone.
        """
        moment, zone = self._begin(t)
        found = self._previous(moment, zone)
        return None if found is None else _shown(found, zone)

    def in_zone(self, zone: tzinfo) -> Schedule:
        """Return the same schedule with a time zone; itself if it has one."""
        return self if self._zone is not None else self._with_zone(zone)

    def anchored(self, at: float) -> Schedule:
        """Return the same schedule counting from `at`, in UTC seconds; itself unless it is an interval.

        An interval that has an anchor keeps it.
        """
        return self

    @abstractmethod
    def _next(self, moment: datetime, zone: tzinfo) -> datetime | None:
        """Return the first moment after `moment`, both in UTC."""

    @abstractmethod
    def _previous(self, moment: datetime, zone: tzinfo) -> datetime | None:
        """Return the last moment before `moment`, both in UTC."""

    @abstractmethod
    def _with_zone(self, zone: tzinfo) -> Schedule:
        """Return the same schedule in a zone."""

    @abstractmethod
    def _identity(self) -> tuple[object, ...]:
        """Return what makes two schedules of one type equal, besides their zones."""

    @abstractmethod
    def _fields(self) -> dict[str, Any]:
        """Return what has to be written down, besides the zone, as JSON."""

    @classmethod
    @abstractmethod
    def _of_fields(cls, fields: Mapping[str, Any], zone: tzinfo | None) -> Self:
        """Return what `_fields` wrote down."""

    def _begin(self, t: datetime) -> tuple[datetime, tzinfo]:
        moment = aware(t)
        zone = self._zone or t.tzinfo or UTC
        # One of pytz cannot tell the two folds apart; `read_zone` has a better one of the same name.
        return moment, read_zone(zone) if hasattr(zone, "zone") else zone

    def _key(self) -> tuple[object, ...]:
        zone = self._zone
        return (*self._identity(), None if zone is None else zone_key(zone) or zone)

    def __eq__(self, other: object) -> bool:
        if type(other) is not type(self):
            return NotImplemented
        return self._key() == other._key()

    def __hash__(self) -> int:
        return hash((type(self), self._key()))

    def __reduce__(self) -> tuple[Any, ...]:
        return _made_again, (type(self), self._fields(), self._zone)

    def _in_words(self) -> str:
        """Return its zone as the end of a description."""
        return "" if self._zone is None else f" ({zone_key(self._zone) or self._zone})"

    def _zone_argument(self) -> str:
        """Return its zone as the last argument of its constructor, if it has one."""
        if self._zone is None:
            return ""
        key = zone_key(self._zone)
        by_name = key is not None and key[0] not in "+-"
        return f", timezone={key!r}" if by_name else f", timezone={self._zone!r}"


def _made_again(kind: type[Schedule], fields: Mapping[str, Any], zone: tzinfo | None) -> Schedule:
    return kind._of_fields(fields, zone)


def aware(t: object, what: str = "The time that a schedule is asked about") -> datetime:
    """Return a time in UTC.

    Raises:
        ScheduleError: it is no datetime, or has no time zone.
    """
    if not isinstance(t, datetime):
        raise ScheduleError(f"{what} must be a datetime, not {t!r} of type {type(t).__name__}.")
    if t.utcoffset() is None:
        raise ScheduleError(f"{what} must have a time zone, and {t!r} has none; say datetime.now(UTC).")
    try:
        return t.astimezone(UTC)
    except OverflowError:
        raise ScheduleError(f"{what} is out of range: {t!r}.") from None


def _shown(moment: datetime, zone: tzinfo) -> datetime | None:
    try:
        return moment.astimezone(zone)
    except OverflowError:
        return None


def dump_zone(zone: tzinfo | None) -> str | None:
    """Return a zone as text, None for none."""
    try:
        return None if zone is None else zone_text(zone)
    except ValueError as error:
        raise ScheduleError(str(error)) from None


def load_zone(text: str | None) -> tzinfo | None:
    """Return what `dump_zone` wrote."""
    return None if text is None else zone_from_text(text)
