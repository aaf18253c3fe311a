"""A crontab's fields mean what they mean in Celery, and what means nothing is refused by name."""

from __future__ import annotations

import re
import subprocess
import sys
import zoneinfo
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from liteq import Queue, every, once, solar
from liteq.errors import ConfigurationError, LiteqError, ScheduleError
from liteq.schedule import Custom, as_schedule, cron, crontab
from liteq.zones import is_at_hand, read_zone

# What `celery.schedules.crontab_parser` of Celery 5.7 makes of them.
CELERY = [
    ("minute", "*/15", [0, 15, 30, 45]),
    ("minute", "*/7", [0, 7, 14, 21, 28, 35, 42, 49, 56]),
    ("minute", "1-30/3", [1, 4, 7, 10, 13, 16, 19, 22, 25, 28]),
    ("minute", "1,13,30-33,50-59/2", [1, 13, 30, 31, 32, 33, 50, 52, 54, 56, 58]),
    ("minute", "58-2", [0, 1, 2, 58, 59]),
    ("minute", "55-5/3", [1, 4, 55, 58]),
    ("minute", "*/100", [0]),
    ("hour", "*/3", [0, 3, 6, 9, 12, 15, 18, 21]),
    ("hour", "0,8-17/2", [0, 8, 10, 12, 14, 16]),
    ("hour", "22-3", [0, 1, 2, 3, 22, 23]),
    ("day_of_week", "mon-fri", [1, 2, 3, 4, 5]),
    ("day_of_week", "*/2", [0, 2, 4, 6]),
    ("day_of_week", "sunday", [0]),
    ("day_of_week", "sat,sun", [0, 6]),
    ("day_of_week", "fri-mon", [0, 1, 5, 6]),
    ("day_of_week", "5-1", [0, 1, 5, 6]),
    ("day_of_week", "SUN", [0]),
    ("day_of_week", "mon-fri/2", [1, 3, 5]),
    ("day_of_week", "tues", [2]),
    ("day_of_month", "2-30/7", [2, 9, 16, 23, 30]),
    ("day_of_month", "*/3", [1, 4, 7, 10, 13, 16, 19, 22, 25, 28, 31]),
    ("day_of_month", "28-3", [1, 2, 3, 28, 29, 30, 31]),
    ("month_of_year", "*/3", [1, 4, 7, 10]),
    ("month_of_year", "2-12/2", [2, 4, 6, 8, 10, 12]),
    ("month_of_year", "january,jul", [1, 7]),
    ("month_of_year", "nov-feb", [1, 2, 11, 12]),
]
MORE = [
    ("day_of_week", 7, [0]),
    ("day_of_week", "7", [0]),
    ("day_of_week", "5-7", [0, 5, 6]),
    ("day_of_week", "0-7", [0, 1, 2, 3, 4, 5, 6]),
    ("day_of_week", "7-2", [0, 1, 2]),
    ("day_of_week", ["mon", 3, "fri-7"], [0, 1, 3, 5, 6]),
    ("day_of_week", {1, 2}, [1, 2]),
    ("minute", range(0, 60, 20), [0, 20, 40]),
    ("minute", (n for n in (1, 2)), [1, 2]),
    ("minute", " 5 , 6 ", [5, 6]),
    ("hour", ["8-10", "*/12"], [0, 8, 9, 10, 12]),
]


@pytest.mark.parametrize(("field", "value", "meaning"), [*CELERY, *MORE])
def test_a_form_means_what_it_means_in_celery_and_a_little_more(field: str, value: Any, meaning: list[int]):
    assert sorted(getattr(crontab(**{field: value}), field)) == meaning


def test_the_arguments_are_in_celerys_order_and_those_of_a_string_in_crons():
    schedule = crontab("1", "2", "3", "4", "5")

    assert schedule == crontab(minute=1, hour=2, day_of_week=3, day_of_month=4, month_of_year=5)
    assert schedule == crontab.from_string("1 2  4 5 3")


IMPOSSIBLE: list[tuple[dict[str, Any], str]] = [
    ({"hour": 47}, "crontab(hour=47) is impossible"),
    ({"hour": 24}, "24 is not from 0 to 23"),
    ({"hour": -1}, "crontab(hour=-1)"),
    ({"minute": 60}, "crontab(minute=60)"),
    ({"minute": "0-75"}, "75 is not from 0 to 59"),
    ({"minute": "*/0"}, "step '0' is not a number from 1"),
    ({"minute": "*/"}, "step '' is not a number from 1"),
    ({"minute": "5/15"}, "say 5-59/15"),
    ({"minute": "1-5-9"}, "'1-5-9'"),
    ({"minute": ""}, "crontab(minute='')"),
    ({"minute": "1,,2"}, "where '' says nothing"),
    ({"minute": "mon"}, "'mon' is no number from 0 to 59"),
    ({"minute": 1.5}, "of type float"),
    ({"minute": True}, "of type bool"),
    ({"minute": None}, "of type NoneType"),
    ({"minute": b"5"}, "of type bytes"),
    ({"minute": []}, "is empty and would never run"),
    ({"minute": [1, 2.5]}, "2.5"),
    ({"minute": [1, 99]}, "99 is not from 0 to 59"),
    ({"minute": "9" * 5000}, "is no number from 0 to 59"),
    ({"minute": "*/" + "9" * 5000}, "is not a number from 1"),
    ({"minute": "٣"}, "crontab(minute="),
    ({"day_of_week": 8}, "0 and 7 are Sunday"),
    ({"day_of_week": "monkey"}, "'monkey' is no number from 0 to 6 or a name such as 'mon'"),
    ({"day_of_week": "mo"}, "'mo'"),
    ({"day_of_week": "jan"}, "'jan'"),
    ({"day_of_month": 0}, "0 is not from 1 to 31"),
    ({"day_of_month": 32}, "crontab(day_of_month=32)"),
    ({"day_of_month": "L"}, "crontab(day_of_month='L')"),
    ({"month_of_year": 13}, "13 is not from 1 to 12"),
    ({"month_of_year": "mon"}, "or a name such as 'feb'"),
    ({"day_of_month": 30, "month_of_year": 2}, "never runs"),
    ({"day_of_month": 31, "month_of_year": "feb,apr,jun,sep,nov"}, "'31'"),
]


@pytest.mark.parametrize(
    ("fields", "sentence"), IMPOSSIBLE, ids=[str(fields)[:40] for fields, _ in IMPOSSIBLE]
)
def test_an_impossible_field_is_refused_with_its_name_and_value(fields: dict[str, Any], sentence: str):
    with pytest.raises(ScheduleError, match=re.escape(sentence)) as caught:
        crontab(**fields)
    assert str(caught.value).endswith(".")


@pytest.mark.parametrize(
    ("make", "sentence"),
    [
        (lambda: crontab.from_string("@daily"), "Take cron('@daily')"),
        (lambda: crontab.from_string("* * * * * *"), "has 6"),
        (lambda: crontab.from_string(5), "takes a string"),
        (lambda: cron("0 0 30 2 *"), "impossible"),
        (lambda: cron("0 0 */15 * mon#2"), "never runs"),
        (lambda: cron("0 0 31 4,6 *"), "impossible"),
        (lambda: cron("0 47 * * *"), "Bad hour"),
        (lambda: cron("* * * *"), "has 4"),
        (lambda: cron(""), "has 0"),
        (lambda: cron("9" * 5000 + " * * * *"), "is impossible"),
        (lambda: cron("@reboot"), "there are @yearly"),
        (lambda: cron(5), "must be a string"),
        (lambda: every(0), "from 0.001 seconds to a century, not 0"),
        (lambda: every(-5), "not -5"),
        (lambda: every(timedelta(seconds=-1)), "not datetime.timedelta"),
        (lambda: every(float("nan")), "not nan"),
        (lambda: every(float("inf")), "not inf"),
        (lambda: every(0.0001), "not 0.0001"),
        (lambda: every(10**400), "from 0.001 seconds"),
        (lambda: every("10"), "must be a number of seconds or a timedelta"),
        (lambda: every(True), "of type bool"),
        (lambda: every(10, relative="yes"), "relative must be True or False"),
        (lambda: every(10, anchor=float("inf")), "anchor"),
        (lambda: every(10, anchor="now"), "anchor"),
        (lambda: once("2030-01-01"), "needs a datetime"),
        (lambda: solar("moonrise", 0, 0), "there are dawn_astronomical"),
        (lambda: solar("sunset", 91, 0), "lat must be from -90 to 90"),
        (lambda: solar("sunset", 0, float("nan")), "lon must be from -180 to 180"),
        (lambda: solar("sunset", "51", 0), "lat must be a number"),
        (lambda: Custom(object()), "needs a method next_after(t)"),
        (lambda: as_schedule(None), "None of type NoneType is no schedule"),
        (lambda: as_schedule(True), "is no schedule"),
        (lambda: as_schedule("every day"), "five fields"),
        (lambda: as_schedule({"hour": 3}), "is no schedule"),
        (lambda: as_schedule(0), "not 0"),
        (lambda: as_schedule(crontab), "is no schedule"),
    ],
)
def test_what_can_never_run_is_refused(make: Any, sentence: str):
    with pytest.raises(ScheduleError, match=re.escape(sentence)) as caught:
        make()
    assert isinstance(caught.value, ConfigurationError)
    assert str(caught.value).endswith(".")


def test_the_days_of_a_crontab_that_seldom_agree_are_found():
    leap_monday = crontab(minute=0, hour=0, day_of_month=29, month_of_year=2, day_of_week="mon")

    assert leap_monday.next_after(datetime(2024, 6, 1, tzinfo=UTC)) == datetime(2044, 2, 29, tzinfo=UTC)
    assert leap_monday.previous(datetime(2024, 6, 1, tzinfo=UTC)) == datetime(2016, 2, 29, tzinfo=UTC)


@pytest.mark.parametrize(
    "make",
    [
        lambda zone: crontab(timezone=zone),
        lambda zone: cron("@daily", zone),
        lambda zone: every(5, timezone=zone),
        lambda zone: Queue("memory://", timezone=zone),
    ],
)
def test_an_unknown_zone_is_refused_and_the_nearest_named(make: Any):
    with pytest.raises(
        ConfigurationError, match=r"no time zone 'Europe/Berln' here\. Did you mean 'Europe/Berlin'"
    ):
        make("Europe/Berln")
    with pytest.raises(ConfigurationError, match="Did you mean 'Europe/Berlin'"):
        make("europe/berlin")
    for nonsense in ("", "x" * 500, "../zoneinfo/UTC", "Europe", "\0", "Ünknown"):
        with pytest.raises(ConfigurationError, match="time zone"):
            make(nonsense)
    with pytest.raises(ConfigurationError, match="must be the name of a time zone or a tzinfo, not 5"):
        make(5)


def test_a_zone_is_suggested_by_region_and_city_only():
    for abbreviation in ("CEST", "PDT", "Mars"):
        with pytest.raises(ConfigurationError, match="by its region and a city") as caught:
            crontab(timezone=abbreviation)
        assert "Did you mean" not in str(caught.value)


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ({"hours": 3}, "no option 'hours'. Did you mean 'hour'?"),
        ({"minutes": 3}, "no option 'minutes'. Did you mean 'minute'?"),
        ({"day_of_weak": 3}, "no option 'day_of_weak'. Did you mean 'day_of_week'?"),
        ({"tz": "UTC"}, "no option 'tz'. Did you mean 'timezone'?"),
        ({"second": 3}, "no option 'second'. It has minute, hour, "),
        ({"nowfun": datetime.now}, "does not take 'nowfun': the scheduler tells the time itself."),
        ({"app": object()}, "does not take 'app': its zone is timezone"),
    ],
)
def test_an_unknown_name_is_refused_with_the_nearest(given: dict[str, Any], words: str):
    with pytest.raises(ScheduleError) as caught:
        crontab(**given)
    assert words in str(caught.value)


def test_what_celery_takes_besides_may_be_none():
    assert crontab(hour=3, nowfun=None, app=None) == crontab(hour=3)


def test_without_a_tz_database_it_is_said_how_to_get_one(monkeypatch: pytest.MonkeyPatch):
    is_at_hand.cache_clear()
    monkeypatch.setattr(zoneinfo, "TZPATH", ())
    monkeypatch.setattr("liteq.zones._zones_of_tzdata", frozenset)
    monkeypatch.setattr(zoneinfo, "available_timezones", set)
    try:
        with pytest.raises(ConfigurationError, match="no time zone database; install the package tzdata"):
            crontab(timezone="Europe/Berlin")
        assert read_zone("UTC") is UTC
    finally:
        is_at_hand.cache_clear()


class PytzZone(zoneinfo.ZoneInfo):
    """What a zone of pytz looks like: a `tzinfo` that calls its name `zone`."""

    key = None  # type: ignore[assignment]
    zone = "Europe/Berlin"


def test_a_zone_of_pytz_is_taken_by_its_name():
    berlin = zoneinfo.ZoneInfo("Europe/Berlin")
    theirs = PytzZone("Africa/Lagos")  # an hour ahead of UTC all year, as what pytz makes of a winter's day

    assert crontab(timezone=theirs).timezone is berlin
    assert crontab().in_zone(theirs).timezone is berlin
    in_winter = datetime(2024, 10, 27, 2, 30, tzinfo=theirs)
    assert once(in_winter).moment == datetime(2024, 10, 27, 2, 30, tzinfo=berlin, fold=1)
    assert once(in_winter).moment.fold == 1
    at_noon = crontab(minute=0, hour=12).next_after(datetime(2024, 6, 1, 9, tzinfo=theirs))
    assert at_noon == datetime(2024, 6, 1, 12, tzinfo=berlin)


def test_nothing_is_imported_before_it_is_needed():
    code = (
        "import sys, liteq; from liteq import crontab, cron, every, once, solar; crontab(hour=3); every(5);"
        "print(*{'cronsim', 'zoneinfo', 'astral', 'difflib'} & set(sys.modules))"
    )
    finished = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)

    assert finished.stdout.strip() == ""


def test_without_the_extra_a_solar_schedule_says_which(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setitem(sys.modules, "astral", None)

    with pytest.raises(LiteqError, match=re.escape('pip install "liteq-queue[solar]"')):
        solar("sunset", 51.5, 0)


def test_the_extra_is_one():
    project = Path(__file__).parent.parent.parent / "pyproject.toml"

    assert '\nsolar = ["astral' in project.read_text("utf-8")
