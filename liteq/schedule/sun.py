"""Sunrise, sunset and the twilights somewhere on Earth; the library astral computes them."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from datetime import UTC, date, datetime, timedelta, tzinfo
from typing import Any

from liteq.errors import ExtraRequiredError, ScheduleError
from liteq.schedule.base import Schedule
from liteq.zones import read_zone

__all__ = ["EVENTS", "solar"]

EVENTS = (
    "dawn_astronomical",
    "dawn_nautical",
    "dawn_civil",
    "sunrise",
    "solar_noon",
    "sunset",
    "dusk_civil",
    "dusk_nautical",
    "dusk_astronomical",
)
"""What can be waited for, as Celery calls it."""

SEARCHED_DAYS = 366
"""So many days without the event, and it is taken for one that never comes there."""

_DEPRESSION = {"astronomical": 18.0, "nautical": 12.0, "civil": 6.0}
"""How far the centre of the sun is below the horizon, in degrees."""

_APPARENT_RADIUS = 32 / 120
"""Of the sun, in degrees: it has risen when its upper edge shows."""

_SLACK = 5
"""Days by which an event may be away from the date that it is computed for, and more."""


class solar(Schedule):  # noqa: N801 (Celery's name)
    """Runs at a solar event, such as sunset, at a place on Earth.

    Days on which the event does not happen, near the poles, are passed over. Needs the extra `solar`. The
    times are right to about a minute.

    Args:
        event: one of `EVENTS`.
        lat: the latitude in degrees, from -90 to 90; north is positive.
        lon: the longitude in degrees, from -180 to 180; east is positive.
        timezone: a key or a `tzinfo`, in which its moments are shown; default the queue's.

    Raises:
        ScheduleError: an unknown event, or no place on Earth.
        ExtraRequiredError: the library astral is not installed.
        ConfigurationError: an unknown time zone.
    """

    __slots__ = ("_event", "_lat", "_lon", "_on")

    kind = "solar"

    def __init__(self, event: str, lat: float, lon: float, timezone: str | tzinfo | None = None) -> None:
        super().__init__(None if timezone is None else read_zone(timezone))
        if event not in EVENTS:
            raise ScheduleError(f"There is no solar event {event!r}; there are {', '.join(EVENTS)}.")
        self._event = event
        self._lat = _degrees("lat", lat, 90)
        self._lon = _degrees("lon", lon, 180)
        self._on = _finder(event, self._lat, self._lon)

    @property
    def event(self) -> str:
        """The event."""
        return self._event

    @property
    def lat(self) -> float:
        """The latitude in degrees; north is positive."""
        return self._lat

    @property
    def lon(self) -> float:
        """The longitude in degrees; east is positive."""
        return self._lon

    def _next(self, moment: datetime, zone: tzinfo) -> datetime | None:
        return self._search(moment, 1)

    def _previous(self, moment: datetime, zone: tzinfo) -> datetime | None:
        return self._search(moment, -1)

    def _search(self, moment: datetime, step: int) -> datetime | None:
        today = moment.date()
        for distance in range(-_SLACK, SEARCHED_DAYS + _SLACK):
            try:
                found = self._on(today + timedelta(days=step * distance))
            except OverflowError:
                return None
            if found is not None and (found > moment if step > 0 else found < moment):
                return found
        return None

    def _with_zone(self, zone: tzinfo) -> solar:
        return solar(self._event, self._lat, self._lon, zone)

    def _identity(self) -> tuple[object, ...]:
        return self._event, self._lat, self._lon

    def _fields(self) -> dict[str, Any]:
        return {"event": self._event, "lat": self._lat, "lon": self._lon}

    @classmethod
    def _of_fields(cls, fields: Mapping[str, Any], zone: tzinfo | None) -> solar:
        return cls(fields["event"], fields["lat"], fields["lon"], zone)

    def __repr__(self) -> str:
        return f"solar({self._event!r}, {self._lat!r}, {self._lon!r}{self._zone_argument()})"

    def __str__(self) -> str:
        north = f"{abs(self._lat):g}° {'N' if self._lat >= 0 else 'S'}"
        east = f"{abs(self._lon):g}° {'E' if self._lon >= 0 else 'W'}"
        return f"at {_in_words(self._event)} at {north}, {east}{self._in_words()}"


def _degrees(name: str, value: object, most: int) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise ScheduleError(f"{name} must be a number of degrees, not {value!r}.")
    if not math.isfinite(value) or abs(value) > most:
        raise ScheduleError(f"{name} must be from -{most} to {most} degrees, not {value!r}.")
    return float(value) + 0.0


def _in_words(event: str) -> str:
    first, _, second = event.partition("_")
    return f"{second} {first}" if second in _DEPRESSION else event.replace("_", " ")


def _finder(event: str, lat: float, lon: float) -> Callable[[date], datetime | None]:
    """Return what tells an event's moment on the n-th solar day; None if it does not happen that day."""
    # Imported here because it is an extra, and slow to import.
    try:
        from astral import Observer, SunDirection
        from astral.sun import noon, time_of_transit
    except ImportError as error:
        raise ExtraRequiredError(
            'solar schedules need the library astral; install it with `pip install "liteq-queue[solar]"`.'
        ) from error

    observer = Observer(lat, lon)
    if event == "solar_noon":
        return lambda day: noon(observer, day)
    # Astral moves an event that falls into the day before to the end of this one, where another one is. A
    # whole turn to the west, the same place a day later, keeps all of them at the right side of that.
    object.__setattr__(observer, "longitude", lon - 360)
    _, _, twilight = event.partition("_")
    zenith = 90 + (_DEPRESSION[twilight] if twilight else _APPARENT_RADIUS)
    rising = event.startswith(("dawn", "sunrise"))
    direction = SunDirection.RISING if rising else SunDirection.SETTING

    def on(day: date) -> datetime | None:
        try:
            moment: datetime = time_of_transit(observer, day, zenith, direction)
        except ValueError:
            return None
        return moment.astimezone(UTC)

    return on
