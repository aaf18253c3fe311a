"""Solar events: right to about a minute, one a day, and passed over where they do not happen."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta

import pytest
from astral import Observer
from astral.sun import elevation
from hypothesis import given, settings
from hypothesis import strategies as st

from liteq.schedule import solar
from liteq.schedule.sun import EVENTS

DAY, MINUTE = timedelta(days=1), timedelta(minutes=1)


# From the almanac of the US Naval Observatory and timeanddate.com, to the minute.
@pytest.mark.parametrize(
    ("event", "lat", "lon", "day", "minute"),
    [
        ("sunrise", 51.5074, -0.1278, "2024-06-20", "03:43"),
        ("sunset", 51.5074, -0.1278, "2024-06-20", "20:21"),
        ("sunrise", 40.7128, -74.006, "2024-12-21", "12:17"),
        ("sunset", 40.7128, -74.006, "2024-12-21", "21:32"),
        ("sunrise", 0, 0, "2024-03-20", "06:04"),
        ("solar_noon", 51.4779, 0, "2024-11-03", "11:44"),
        ("solar_noon", 51.4779, 0, "2024-02-11", "12:14"),
    ],
)
def test_the_almanac_agrees(event: str, lat: float, lon: float, day: str, minute: str):
    expected = datetime.fromisoformat(f"{day} {minute}").replace(tzinfo=UTC)
    found = solar(event, lat, lon).next_after(expected - 12 * 60 * MINUTE)

    assert abs(found - expected) <= 1.5 * MINUTE


HEIGHT = {
    "sunrise": -0.833,
    "sunset": -0.833,
    "dawn_civil": -6,
    "dusk_civil": -6,
    "dawn_nautical": -12,
    "dusk_nautical": -12,
    "dawn_astronomical": -18,
    "dusk_astronomical": -18,
}


@settings(max_examples=60, deadline=None)
@given(
    st.sampled_from(sorted(HEIGHT)),
    st.floats(-60, 60),
    st.floats(-180, 180),
    st.dates(date(2020, 1, 1), date(2030, 1, 1)),
)
def test_the_sun_stands_where_the_event_says(event: str, lat: float, lon: float, day: date):
    begin = datetime(day.year, day.month, day.day, tzinfo=UTC)
    found = solar(event, lat, lon).next_after(begin)
    observer = Observer(lat, lon)
    height = elevation(observer, found, with_refraction=False)

    assert abs(height - HEIGHT[event]) < 0.3
    rising = event.startswith(("dawn", "sunrise"))
    later = elevation(observer, found + 2 * MINUTE, with_refraction=False)
    assert (later > height) == rising


@settings(max_examples=60, deadline=None)
@given(
    st.sampled_from(EVENTS),
    st.floats(-48, 48),
    st.floats(-180, 180),
    st.datetimes(datetime(2020, 1, 1), datetime(2030, 1, 1), timezones=st.just(UTC)),
)
def test_each_day_has_one_and_previous_undoes_next(event: str, lat: float, lon: float, t: datetime):
    schedule = solar(event, lat, lon)
    first = found = schedule.next_after(t)
    for _ in range(20):
        following = schedule.next_after(found)
        assert abs(following - found - DAY) < 10 * MINUTE
        assert schedule.previous(following) == found
        assert schedule.next_after(found + (following - found) / 2) == following
        found = following
    assert schedule.previous(first) <= t < first


def test_days_without_the_event_are_passed_over():
    tromso = solar("sunrise", 69.65, 18.96)

    last = tromso.previous(datetime(2024, 12, 20, tzinfo=UTC))
    first = tromso.next_after(datetime(2024, 12, 20, tzinfo=UTC))
    assert (last.month, first.month) == (11, 1)
    assert 40 * DAY < first - last < 60 * DAY
    no_night = solar("dusk_astronomical", 59.33, 18.07).next_after(datetime(2024, 6, 1, tzinfo=UTC))
    assert no_night.month == 8


def test_where_it_never_happens_it_never_runs():
    pole = solar("solar_noon", 90, 0), solar("dusk_astronomical", -89, 0), solar("sunset", 90, 0)
    t = datetime(2024, 1, 1, tzinfo=UTC)

    assert [schedule.next_after(t) is None for schedule in pole] == [False, False, True]
    assert pole[2].previous(t) is None
