"""Schedules are values: equal by what they say, read back as they were written, and shown in words."""

from __future__ import annotations

import copy
import datetime as dt
import pickle
import zoneinfo
from datetime import UTC, datetime, timedelta, timezone
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from clockwalk import ZONES, Spec, specs
from hypothesis import assume, given, reject, settings
from hypothesis import strategies as st

import liteq.schedule
from liteq import LiteqError, crontab
from liteq.errors import ConfigurationError, ScheduleError, ScheduleNotLoadedError
from liteq.schedule import Custom, Once, Schedule, as_schedule, cron, decode, encode, every, once, solar

NOON = datetime(2024, 6, 1, 12, tzinfo=UTC)

zones = (
    st.none()
    | st.sampled_from(ZONES)
    | st.integers(-86399, 86399).map(lambda seconds: timezone(timedelta(seconds=seconds)))
)


@st.composite
def crontabs(draw: st.DrawFn) -> Schedule:
    fields: list[Spec] = [draw(specs(*bounds)) for bounds in ((0, 59), (0, 23), (0, 6), (1, 28), (1, 12))]
    return crontab(*(spec.written for spec in fields), timezone=draw(zones))  # type: ignore[arg-type]


@st.composite
def crons(draw: st.DrawFn) -> Schedule:
    fields = [
        str(draw(specs(*bounds, False, True)).written) for bounds in ((0, 59), (0, 23), (1, 28), (1, 12))
    ]
    day = draw(st.sampled_from(["*", "mon", "1-5", "5l", "fri#1", "7"]))
    try:
        return cron(" ".join([*fields, day]), draw(zones))
    except ScheduleError:
        # Such as every 16th day that is a last Friday: there is none.
        reject()


@st.composite
def onces(draw: st.DrawFn) -> Schedule:
    moment = draw(st.datetimes(datetime(1900, 1, 1), datetime(2100, 1, 1)))
    zone = draw(zones)
    moment = moment.replace(
        tzinfo=ZoneInfo(zone) if isinstance(zone, str) else zone, fold=draw(st.integers(0, 1))
    )
    return Once(moment)


schedules = st.one_of(
    crontabs(),
    crons(),
    onces(),
    st.builds(every, st.floats(0.001, 1e9), st.booleans(), st.none() | st.floats(-1e9, 4e9), zones),
    st.builds(
        solar,
        st.sampled_from(liteq.schedule.sun.EVENTS),
        st.floats(-90, 90),
        st.floats(-180, 180),
        zones,
    ),
)
NAMES = {**vars(liteq.schedule), "datetime": dt, "zoneinfo": zoneinfo}


@settings(deadline=None)
@given(schedules)
def test_what_is_written_is_read_back_as_an_equal_schedule(schedule: Schedule):
    again = decode(encode(schedule))

    assert again == schedule
    assert hash(again) == hash(schedule)
    assert encode(again) == encode(schedule)
    assert again.next_after(NOON) == schedule.next_after(NOON)
    assert str(again) == str(schedule)


@settings(deadline=None)
@given(schedules)
def test_a_copy_and_one_that_was_pickled_are_equal(schedule: Schedule):
    assert pickle.loads(pickle.dumps(schedule)) == schedule
    assert copy.deepcopy(schedule) == schedule


@settings(deadline=None)
@given(schedules)
def test_its_repr_makes_it_again(schedule: Schedule):
    assert eval(repr(schedule), dict(NAMES)) == schedule
    assert str(schedule)


@settings(deadline=None)
@given(schedules, schedules)
def test_those_that_say_something_else_are_not_equal(one: Schedule, other: Schedule):
    assert (one == other) == (encode(one) == encode(other)) or type(one) is crontab
    assert one != "something else"


@settings(deadline=None)
@given(schedules, st.sampled_from(ZONES))
def test_a_zone_is_given_to_those_that_have_none(schedule: Schedule, key: str):
    there = schedule.in_zone(ZoneInfo(key))
    if schedule.timezone is None:
        assert zoneinfo_key(there) == ("UTC" if key == "UTC" else key)
    else:
        assert there is schedule
    assert there.in_zone(UTC) is there


def zoneinfo_key(schedule: Schedule) -> str | None:
    return "UTC" if schedule.timezone is UTC else getattr(schedule.timezone, "key", None)


@pytest.mark.parametrize(
    ("one", "other"),
    [
        (crontab(hour=3), crontab(hour="3")),
        (crontab(hour=[3, 4]), crontab(hour="4,3")),
        (crontab(day_of_week="mon-fri"), crontab(day_of_week={1, 2, 3, 4, 5})),
        (crontab(day_of_week=7), crontab(day_of_week="Sunday")),
        (crontab(timezone="UTC"), crontab(timezone=UTC)),
        (crontab(timezone=ZoneInfo("UTC")), crontab(timezone=timezone.utc)),  # noqa: UP017
        (crontab(timezone="Europe/Rome"), crontab(timezone=ZoneInfo.no_cache("Europe/Rome"))),
        (cron("@daily"), cron("0  0 * *  *")),
        (cron("0 0 * * MON"), cron("0 0 * * mon")),
        (every(60), every(timedelta(minutes=1))),
    ],
)
def test_two_ways_to_say_the_same_are_equal(one: Schedule, other: Schedule):
    assert one == other
    assert hash(one) == hash(other)


def test_a_list_of_minutes_is_not_a_star_because_clocks_that_are_set_tell_them_apart():
    # At fixed times or by elapsed time: see tests/schedule/test_schedule_calendar.py.
    assert crontab(minute=0, hour="*/2") != crontab(minute=0, hour=range(0, 24, 2))


@pytest.mark.parametrize(
    ("schedule", "words"),
    [
        (every(10), "every 10 seconds"),
        (every(1), "every 1 second"),
        (every(0.25), "every 0.25 seconds"),
        (every(timedelta(days=1, hours=2, seconds=5)), "every 1 day, 2 hours and 5 seconds"),
        (every(86400, relative=True, timezone="UTC"), "every 1 day, at full days (UTC)"),
        (crontab(), "every minute"),
        (crontab(minute="*/15"), "every 15 minutes"),
        (crontab(minute=0), "at minute 0 of every hour"),
        (crontab(minute=0, hour="*/3"), "at minute 0 of every 3 hours"),
        (crontab(minute="*/5", hour="8-17"), "every 5 minutes of hours 8-17"),
        (crontab(minute=30, hour=3, day_of_week="mon"), "at 03:30 on Monday"),
        (crontab(minute=0, hour=[8, 20], day_of_week="mon-wed"), "at 08:00 and 20:00 on Monday to Wednesday"),
        (crontab(minute=0, hour=0, day_of_month=1, month_of_year="jan,jul"),
         "at 00:00 on day 1 of the month in January and July"),
        (crontab(minute=0, hour=3, timezone="Europe/Berlin"), "at 03:00 (Europe/Berlin)"),
        (cron("*/5 * * * *", "UTC"), "cron */5 * * * * (UTC)"),
        (once(datetime(2030, 1, 2, 3)), "once at 2030-01-02 03:00:00"),
        (solar("dawn_civil", 51.5, -0.1), "at civil dawn at 51.5° N, 0.1° W"),
        (solar("solar_noon", -33.9, 18.4), "at solar noon at 33.9° S, 18.4° E"),
    ],
)  # fmt: skip
def test_it_is_described_in_words(schedule: Schedule, words: str):
    assert str(schedule) == words


@pytest.mark.parametrize(
    ("value", "schedule"),
    [
        (10, every(10)),
        (0.5, every(0.5)),
        (timedelta(hours=1), every(3600)),
        ("*/5 * * * *", cron("*/5 * * * *")),
        ("@hourly", cron("@hourly")),
        (NOON, once(NOON)),
        (datetime(2030, 1, 1), once(datetime(2030, 1, 1))),
        (crontab(hour=3), crontab(hour=3)),
    ],
)
def test_what_users_write_where_a_schedule_is_wanted(value: object, schedule: Schedule):
    assert as_schedule(value) == schedule
    assert as_schedule(value, ZoneInfo("Europe/Rome")) == schedule.in_zone(ZoneInfo("Europe/Rome"))


def test_once_is_that_moment_and_no_other():
    rome = ZoneInfo("Europe/Rome")
    schedule = once(datetime(2030, 7, 1, 9)).in_zone(rome)
    moment = datetime(2030, 7, 1, 7, tzinfo=UTC)

    assert schedule.next_after(NOON) == moment
    assert schedule.next_after(moment) is None
    assert schedule.previous(moment) is None
    assert schedule.previous(moment + timedelta(microseconds=1)) == moment
    # As for `eta`: in a gap it counts from before the change, and fold says which of two equal times.
    assert str(once(datetime(2024, 3, 31, 2, 30)).in_zone(rome).next_after(NOON - timedelta(days=200))) == (
        "2024-03-31 03:30:00+02:00"
    )
    twice = datetime(2024, 10, 27, 2, 30, fold=1)
    assert str(once(twice).in_zone(rome).next_after(NOON)) == "2024-10-27 02:30:00+01:00"


class Mondays:
    def next_after(self, t: datetime) -> datetime | None:
        day = t.replace(hour=0, minute=0, second=0, microsecond=0) + timedelta(days=1)
        return day + timedelta(days=-day.weekday() % 7)


def test_cron_has_crons_own_meanings():
    def after(text: str, t: datetime = datetime(2024, 5, 1, tzinfo=UTC)) -> str:
        return f"{cron(text).next_after(t):%Y-%m-%d %H:%M:%S %a}"

    assert after("0 0 13 * fri") == "2024-05-03 00:00:00 Fri"  # the 13th, or a Friday
    assert after("0 0 */2 * fri") == "2024-05-03 00:00:00 Fri"  # with a star: and
    assert after("0 0 l * *") == "2024-05-31 00:00:00 Fri"
    assert after("0 0 lw * *", datetime(2024, 6, 1, tzinfo=UTC)) == "2024-06-28 00:00:00 Fri"
    assert after("0 0 * * 1L") == "2024-05-27 00:00:00 Mon"
    assert after("0 0 * * tue#2") == "2024-05-14 00:00:00 Tue"
    assert after("*/20 * * * * *") == "2024-05-01 00:00:20 Wed"
    assert after("0 0 * 2 mon#5") == "2044-02-29 00:00:00 Mon"
    assert [after(name) for name in ("@hourly", "@daily", "@midnight", "@weekly", "@monthly", "@yearly")] == [
        "2024-05-01 01:00:00 Wed",
        "2024-05-02 00:00:00 Thu",
        "2024-05-02 00:00:00 Thu",
        "2024-05-05 00:00:00 Sun",
        "2024-06-01 00:00:00 Sat",
        "2025-01-01 00:00:00 Wed",
    ]
    # And crontab has Celery's: the days must agree.
    friday_13 = crontab.from_string("0 0 13 * fri").next_after(datetime(2024, 5, 1, tzinfo=UTC))
    assert f"{friday_13:%Y-%m-%d}" == "2024-09-13"


@pytest.mark.parametrize("t", [datetime(2024, 1, 1), 1.5, None, "2024-01-01"])
@pytest.mark.parametrize("schedule", [every(1), crontab(), cron("@daily"), once(NOON), Custom(Mondays())])
def test_only_an_aware_time_can_be_asked_about(schedule: Schedule, t: Any):
    for ask in (schedule.next_after, schedule.previous):
        with pytest.raises(ScheduleError, match=r"aware|time zone|must be a datetime"):
            ask(t)


@pytest.mark.parametrize("t", [datetime.max.replace(tzinfo=UTC), datetime.min.replace(tzinfo=UTC)])
@settings(deadline=None)
@given(schedules)
def test_at_the_ends_of_the_calendar_there_is_nothing_more(t: datetime, schedule: Schedule):
    assume(not isinstance(schedule, solar))
    assert schedule.next_after(t) is None or t.year == 1
    assert schedule.previous(t) is None or t.year == 9999


def test_a_zone_without_a_name_cannot_be_written_down():
    class Odd(dt.tzinfo):
        def utcoffset(self, when: datetime | None) -> timedelta:
            return timedelta(hours=1)

    with pytest.raises(ScheduleError, match="no name by which another process could find it"):
        encode(crontab(timezone=Odd()))


@pytest.mark.parametrize(
    "text",
    ["", "null", "[" * 100_000, b"\xff", None, "[]", "{}", '{"kind":[]}',
     '{"kind":"cron"}', '{"kind":"crontab","hours":"1"}', '{"kind":"crontab","hour":"47"}',
     '{"kind":"interval","microseconds":"x"}',
     '{"kind":"once","at":"never"}',
     '{"kind":"once","at":5}', '{"kind":"cron","expression":"@daily","timezone":5}',
     '{"kind":"interval","microseconds":1e99}', '{"kind":"once","at":"2020-01-01","fold":7}'],
    ids=lambda text: str(text)[:40],
)  # fmt: skip
def test_a_text_that_is_no_schedule_is_refused(text: Any):
    with pytest.raises(ScheduleError):
        decode(text)


def test_a_kind_that_a_newer_liteq_may_have_is_not_loaded_here():
    with pytest.raises(ScheduleNotLoadedError, match="of the kind 'moon', which this liteq does not know"):
        decode('{"kind":"moon"}')


@pytest.mark.parametrize("zone", ['["a"]', "5", "{}", "true"])
def test_a_zone_that_is_no_text_is_refused(zone: str):
    with pytest.raises(ScheduleError, match="describes no schedule"):
        decode(f'{{"kind":"interval","microseconds":1000000,"timezone":{zone}}}')


def test_a_stored_zone_that_is_not_here_is_named():
    with pytest.raises(ConfigurationError, match="Mars/Olympus"):
        decode('{"kind":"crontab","timezone":"Mars/Olympus"}')


def test_an_object_of_ones_own_is_described_and_not_written_down():
    text = encode(as_schedule(Mondays()))

    assert "Mondays" in text
    with pytest.raises(ScheduleNotLoadedError, match="Mondays"):
        decode(text)
    assert issubclass(ScheduleNotLoadedError, LiteqError)
