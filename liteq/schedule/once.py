"""A single moment."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime, tzinfo
from typing import Any

from liteq.errors import ScheduleError
from liteq.schedule.base import Schedule
from liteq.zones import read_zone

__all__ = ["Once", "once"]


class Once(Schedule):
    """Runs a single time; `once` makes one.

    Args:
        moment: when. Without a time zone it is in the queue's: where clocks show it twice, `fold=1` means the
            second time; where they skip it, it counts from before the change, so that 02:30 means 03:30
            where 02:00 becomes 03:00. This is what `eta` means, too.

    Raises:
        ScheduleError: it is no datetime.
    """

    __slots__ = ("_label",)

    kind = "once"

    def __init__(self, moment: datetime) -> None:
        if not isinstance(moment, datetime):
            raise ScheduleError(
                f"A schedule that runs once needs a datetime, not {moment!r} of type {type(moment).__name__}."
            )
        # One whose zone knows no offset is as good as naive.
        zone = None if moment.utcoffset() is None else read_zone(moment.tzinfo)
        super().__init__(zone)
        if zone is not None and zone is not moment.tzinfo:
            moment = moment.astimezone(zone)
        self._label = datetime.combine(moment.date(), moment.time())

    @property
    def moment(self) -> datetime:
        """When; without a time zone as long as it has none."""
        return self._label.replace(tzinfo=self._zone)

    def _next(self, moment: datetime, zone: tzinfo) -> datetime | None:
        only = self._only(zone)
        return only if only is not None and only > moment else None

    def _previous(self, moment: datetime, zone: tzinfo) -> datetime | None:
        only = self._only(zone)
        return only if only is not None and only < moment else None

    def _only(self, zone: tzinfo) -> datetime | None:
        try:
            return self._label.replace(tzinfo=zone).astimezone(UTC)
        except OverflowError:
            return None

    def _with_zone(self, zone: tzinfo) -> Once:
        return Once(self._label.replace(tzinfo=zone))

    def _identity(self) -> tuple[object, ...]:
        return self._label, self._label.fold

    def _fields(self) -> dict[str, Any]:
        fields: dict[str, Any] = {"at": self._label.isoformat()}
        if self._label.fold:
            fields["fold"] = 1
        return fields

    @classmethod
    def _of_fields(cls, fields: Mapping[str, Any], zone: tzinfo | None) -> Once:
        label = datetime.fromisoformat(fields["at"])
        return cls(label.replace(fold=fields.get("fold", 0), tzinfo=zone))

    def __repr__(self) -> str:
        return f"once({self.moment!r})"

    def __str__(self) -> str:
        return f"once at {self._label.isoformat(' ')}{self._in_words()}"


def once(moment: datetime) -> Once:
    """Return a schedule that runs a single time.

    Args:
        moment: when; without a time zone it is in the queue's.

    Raises:
        ScheduleError: it is no datetime.
    """
    return Once(moment)
