"""Intervals: a grid that neither drifts nor repeats, and Celery's relative ones."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta, tzinfo
from zoneinfo import ZoneInfo

import pytest
from clockwalk import DAY, HOUR, MINUTE, changes, clock, moments, places
from hypothesis import given, settings
from hypothesis import strategies as st

from liteq.schedule import every

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
MICROSECOND = timedelta(microseconds=1)
SECOND = timedelta(seconds=1)
BERLIN = ZoneInfo("Europe/Berlin")

times = st.datetimes(datetime(1971, 1, 1), datetime(2200, 1, 1), timezones=st.just(UTC))
periods = st.integers(1000, 10**7).map(lambda n: n * MICROSECOND) | st.integers(1, 10**7).map(
    lambda n: n * SECOND
)


@settings(deadline=None)
@given(periods, times, times)
def test_the_moments_are_the_anchor_and_whole_multiples(period: timedelta, anchor: datetime, t: datetime):
    schedule = every(period, anchor=anchor.timestamp())
    start = EPOCH + round(anchor.timestamp() * 1e6) * MICROSECOND

    following, last = schedule.next_after(t), schedule.previous(t)

    assert following is not None
    assert last is not None
    assert (following - start) % period == timedelta()
    assert (last - start) % period == timedelta()
    assert last < t < following
    assert following - last == (period if (t - start) % period else 2 * period)
    assert schedule.next_after(last) == (following if (t - start) % period else t)


@settings(deadline=None)
@given(st.floats(0.001, 100), st.floats(0, 4e9))
def test_ten_thousand_steps_end_where_one_multiplication_does(seconds: float, anchor: float):
    schedule = every(seconds, anchor=anchor)
    period = timedelta(seconds=seconds)
    t = begin = EPOCH + round(anchor * 1e6) * MICROSECOND
    for _ in range(100):
        t = schedule.next_after(t)

    assert t == begin + 100 * period
    assert schedule.next_after(begin + 9_999 * period) == begin + 10_000 * period


@settings(deadline=None)
@given(periods, times)
def test_a_tick_that_was_stored_as_a_float_is_the_same_tick(period: timedelta, t: datetime):
    schedule = every(period, anchor=t.timestamp())
    tick = schedule.next_after(t)

    assert datetime.fromtimestamp(tick.timestamp(), UTC) == tick
    assert schedule.previous(datetime.fromtimestamp(tick.timestamp(), UTC) + MICROSECOND) == tick


def test_without_an_anchor_it_counts_from_the_epoch_and_an_anchor_is_kept():
    schedule = every(60)

    assert schedule.next_after(datetime(2024, 1, 1, 0, 0, 30, tzinfo=UTC)).second == 0
    anchored = schedule.anchored(1_700_000_007.5)
    assert anchored.anchor == 1_700_000_007.5
    assert anchored.anchored(5.0) is anchored
    assert anchored.reanchored(5.0).anchor == 5.0
    assert anchored.next_after(datetime.fromtimestamp(1_700_000_007.5, UTC)).timestamp() == 1_700_000_067.5


def test_it_goes_by_elapsed_time_whatever_clocks_do():
    begin = datetime(2024, 3, 31, tzinfo=BERLIN)
    hourly = every(3600, timezone=BERLIN)

    assert (
        len(list(moments(begin - MICROSECOND, hourly.next_after, datetime(2024, 4, 1, tzinfo=BERLIN)))) == 23
    )


def walk(unit: timedelta, count: int, start: datetime, zone: tzinfo, begin: datetime, end: datetime):
    """Watch the clock by minutes: each time that `count` units have passed since the last full one before
    `start`, what was the last full one by then is due."""
    full = start
    while not is_full(full, unit, zone):
        full -= MINUTE
    due = set()
    last = None
    moment = full
    while moment < end:
        if is_full(moment, unit, zone):
            last = moment
        if (moment - full) % (count * unit) == timedelta():
            due.add(last)
        moment += MINUTE
    return sorted(found for found in due if begin < found < end)


def is_full(moment: datetime, unit: timedelta, zone: tzinfo) -> bool:
    shown = clock(moment, zone)
    return shown.second == 0 and (unit == MINUTE or shown.minute == 0)


@settings(max_examples=60, deadline=None)
@given(places(), st.integers(1, 5), st.integers(0, 3599), st.sampled_from([HOUR, MINUTE]))
def test_relative_hours_and_minutes_run_at_full_ones(
    place: tuple[tzinfo, datetime], count: int, extra: int, unit: timedelta
):
    zone, start = place
    rest = extra * SECOND if unit == HOUR else (extra % 60) * SECOND
    schedule = every(count * unit + rest, relative=True, anchor=start.timestamp()).in_zone(zone)
    end = start + 30 * HOUR
    expected = walk(unit, count, start, zone, start, end)

    assert list(moments(start, schedule.next_after, end)) == expected
    if expected:
        assert list(moments(end, schedule.previous, start)) == expected[::-1]


@settings(max_examples=60, deadline=None)
@given(places(), st.integers(1, 4), st.integers(0, 86399))
def test_relative_days_run_when_a_day_begins(place: tuple[tzinfo, datetime], count: int, extra: int):
    zone, start = place
    schedule = every(count * DAY + extra * SECOND, relative=True, anchor=start.timestamp()).in_zone(zone)
    expected = []
    moment, today = start, clock(start, zone).date()
    latest = first = today
    while (moment := moment + MINUTE) < start + 5 * DAY:
        today = clock(moment, zone).date()
        if today > latest:
            days = [latest + n * DAY for n in range(1, (today - latest).days + 1)]
            if any((day - first).days % count == 0 for day in days):
                expected.append(moment)
            latest = today

    assert list(moments(start, schedule.next_after, start + 5 * DAY)) == expected


@pytest.mark.parametrize(
    ("seconds", "asked", "following"),
    [
        (DAY, "2024-03-30 12:00", "2024-03-31 00:00:00+01:00"),
        (DAY, "2024-03-31 00:00", "2024-04-01 00:00:00+02:00"),
        (HOUR, "2024-03-31 01:00", "2024-03-31 03:00:00+02:00"),
        (90 * MINUTE, "2024-06-01 10:00", "2024-06-01 11:00:00+02:00"),
        (MINUTE, "2024-06-01 10:00:30", "2024-06-01 10:01:00+02:00"),
        (30 * SECOND, "2024-06-01 10:00:10", "2024-06-01 10:00:30+02:00"),
    ],
)
def test_relative_as_celery_has_it(seconds: timedelta, asked: str, following: str):
    schedule = every(seconds, relative=True, timezone="Europe/Berlin")

    assert str(schedule.next_after(datetime.fromisoformat(asked).replace(tzinfo=BERLIN))) == following


def test_a_day_that_begins_in_a_gap_begins_right_after_it():
    cairo = ZoneInfo("Africa/Cairo")
    daily = every(DAY, relative=True, timezone=cairo)

    assert str(daily.next_after(datetime(2025, 4, 24, 12, tzinfo=cairo))) == "2025-04-25 01:00:00+03:00"
    assert changes("Africa/Cairo", 2025, 2025)


def test_an_interval_longer_than_the_calendar_has_no_next():
    assert every(36500 * DAY).next_after(datetime(9990, 1, 1, tzinfo=UTC)) is None
    assert every(36500 * DAY).previous(datetime(2, 1, 1, tzinfo=UTC)) is None
