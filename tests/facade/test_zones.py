"""Times without a zone, in every zone there is: those that are left out, and those that come twice."""

from __future__ import annotations

import zoneinfo
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta, timezone, tzinfo
from pathlib import Path
from typing import NamedTuple

import pytest
from hypothesis import given
from hypothesis import strategies as st

from liteq import Queue, Task
from liteq.calls.checks import utc_seconds
from liteq.errors import ConfigurationError
from liteq.states import PENDING

ZONES = sorted(zoneinfo.available_timezones())
SECOND, DAY = timedelta(seconds=1), timedelta(days=1)


class Change(NamedTuple):
    """A moment at which the clocks of a zone are set."""

    at: datetime
    """In UTC: the first second under the new offset."""
    before: timedelta
    after: timedelta


def offset(zone: tzinfo, at: datetime) -> timedelta:
    found = at.astimezone(zone).utcoffset()
    assert found is not None
    return found


def changes(zone: tzinfo, begin: datetime, end: datetime) -> Iterator[Change]:
    """Find the changes of a zone's offset, by bisection of each day that begins and ends differently."""
    day, before = begin, offset(zone, begin)
    while day < end:
        after = offset(zone, day + DAY)
        if after != before:
            low, high = day, day + DAY
            while high - low > SECOND:
                middle = low + (high - low) / 2
                middle = middle.replace(microsecond=0)
                low, high = (low, middle) if offset(zone, middle) != before else (middle, high)
            yield Change(high, before, offset(zone, high))
        day, before = day + DAY, after


def local(moment: datetime, shift: timedelta) -> datetime:
    """Return what a clock that is so far from UTC shows."""
    return (moment + shift).replace(tzinfo=None)


def utc(zone: tzinfo, value: datetime) -> datetime:
    return datetime.fromtimestamp(utc_seconds("eta", value, zone), UTC)


def check_left_out(zone: tzinfo, change: Change) -> None:
    """Demand that a time which no clock shows counts from before the change."""
    gap = change.after - change.before
    for into in (timedelta(0), gap / 2, gap - SECOND):
        missing = local(change.at + into, change.before)
        assert utc(zone, missing) == change.at + into, (zone, missing)
        # As a clock shows it then, it is later by as much as was left out.
        assert local(change.at + into, change.after) == missing + gap


def check_twice(zone: tzinfo, change: Change) -> None:
    """Demand that a time which comes twice means the first, or the second if it says so."""
    lap = change.before - change.after
    for into in (timedelta(0), lap / 2, lap - SECOND):
        twice = local(change.at + into, change.after)
        assert utc(zone, twice) == change.at + into - lap, (zone, twice)
        assert utc(zone, twice.replace(fold=1)) == change.at + into, (zone, twice)


def test_where_clocks_are_set_every_naive_time_has_one_meaning(rounds: Callable[[int, int], int]) -> None:
    begin = datetime(2024, 1, 1, tzinfo=UTC)
    end = datetime(2024 + rounds(2, 14), 1, 1, tzinfo=UTC)
    seen = {"left out": 0, "twice": 0}
    for key in ZONES:
        zone = zoneinfo.ZoneInfo(key)
        for change in changes(zone, begin, end):
            if change.after > change.before:
                check_left_out(zone, change)
                seen["left out"] += 1
            else:
                check_twice(zone, change)
                seen["twice"] += 1
    assert min(seen.values()) > 100, seen


@given(key=st.sampled_from(ZONES), value=st.datetimes(datetime(1850, 1, 1), datetime(2200, 1, 1)))
def test_any_naive_time_in_any_zone_is_a_moment_which_that_zone_shows_so(key: str, value: datetime) -> None:
    zone = zoneinfo.ZoneInfo(key)
    for fold in (0, 1):
        moment = utc(zone, value.replace(fold=fold))
        shown = moment.astimezone(zone).replace(tzinfo=None, fold=0)
        # Seconds since the epoch are a float, which is right to the microsecond in our times.
        is_shown = abs(shown - value) < timedelta(milliseconds=1)
        hours = [moment + timedelta(hours=number) for number in range(-36, 37)]
        assert is_shown or len({offset(zone, hour) for hour in hours}) > 1


@pytest.fixture
def add() -> Iterator[Task[[], None]]:
    with Queue("memory://", timezone="Europe/Berlin") as q:

        @q.task(name="tasks.add")
        def add() -> None: ...

        yield add


@pytest.mark.parametrize("option", ["eta", "expires"])
def test_a_queues_zone_says_what_its_naive_times_mean(add: Task[[], None], option: str) -> None:
    def stored(value: datetime) -> datetime:
        [job] = add.store.transport().get([add.apply_async(**{option: value}).id])
        seconds = getattr(job, option)
        return datetime.fromtimestamp(seconds, UTC)

    # On 31 March 2030 02:00 becomes 03:00, and on 27 October 03:00 becomes 02:00.
    assert stored(datetime(2030, 3, 31, 2, 30)) == datetime(2030, 3, 31, 1, 30, tzinfo=UTC)
    assert stored(datetime(2030, 3, 31, 3, 30)) == datetime(2030, 3, 31, 1, 30, tzinfo=UTC)
    assert stored(datetime(2030, 10, 27, 2, 30)) == datetime(2030, 10, 27, 0, 30, tzinfo=UTC)
    assert stored(datetime(2030, 10, 27, 2, 30, fold=1)) == datetime(2030, 10, 27, 1, 30, tzinfo=UTC)


class Unknown(tzinfo):
    """A zone that does not know its offset."""

    def utcoffset(self, _when: datetime | None) -> timedelta | None:
        return None

    def dst(self, _when: datetime | None) -> timedelta | None:
        return None

    def tzname(self, _when: datetime | None) -> str | None:
        return None


def test_a_zone_that_knows_no_offset_does_not_mean_the_machines_own() -> None:
    zone = timezone(timedelta(hours=11, minutes=17))
    value = datetime(2030, 1, 1, 12)
    assert utc(zone, value.replace(tzinfo=Unknown())) == utc(zone, value)


def test_the_last_moment_that_there_is_is_one_at_which_a_job_can_be_due(tmp_path: Path) -> None:
    last = datetime.max.replace(tzinfo=UTC)
    with Queue(tmp_path / "queue.db") as queue:
        never = queue.task(lambda: None, name="never").options(eta=last, expires=last).delay()
        # What could not be run would be found damaged.
        queue.transport.sweep(2e9)
        [job] = queue.transport.get([never.id])
        assert job is not None
        assert (job.state, job.eta, job.expires) == (PENDING, *[last.replace(microsecond=0).timestamp()] * 2)


@pytest.mark.parametrize(("value", "hours"), [(datetime.min, 12), (datetime.max, -12)])
def test_a_time_that_no_clock_will_show_is_refused(value: datetime, hours: int) -> None:
    with pytest.raises(ConfigurationError, match="out of range"):
        utc_seconds("eta", value, timezone(timedelta(hours=hours)))
