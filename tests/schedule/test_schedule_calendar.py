"""`crontab` and `cron` against a walk over the clock: nothing is skipped, and nothing comes twice."""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Callable
from datetime import UTC, date, datetime, timedelta, tzinfo
from zoneinfo import ZoneInfo

import pytest
from clockwalk import DAY, HOUR, MINUTE, ZONES, Rule, Spec, changes, clock, moments, places, specs, walk
from cronsim import CronSim
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from liteq.errors import ScheduleError
from liteq.schedule import Schedule, cron, crontab

BERLIN = ZoneInfo("Europe/Berlin")
MICROSECOND = timedelta(microseconds=1)


def on_days(days: frozenset[int], weekdays: frozenset[int], both: bool) -> Callable[[date], bool]:
    def runs_on(day: date) -> bool:
        of_month, of_week = day.day in days, day.isoweekday() % 7 in weekdays
        return of_month and of_week if both else of_month or of_week

    return runs_on


@st.composite
def crontabs(draw: st.DrawFn) -> tuple[Schedule, Rule]:
    """Draw a crontab that runs on many days, and what it means."""
    minute, hour = draw(specs(0, 59)), draw(specs(0, 23))
    day, weekday = draw(st.just(Spec("*", frozenset(range(1, 32)))) | specs(1, 31)), draw(specs(0, 6))
    written = {"minute": minute, "hour": hour, "day_of_month": day, "day_of_week": weekday}
    schedule = crontab(**{name: spec.written for name, spec in written.items()})  # type: ignore[arg-type]
    runs_on = on_days(day.values, weekday.values, both=True)
    return schedule, Rule(minute.values, hour.values, runs_on, not (minute.star or hour.star))


@st.composite
def crons(draw: st.DrawFn) -> tuple[Schedule, Rule]:
    """Draw a cron expression that runs on many days, and what it means."""
    minute, hour = draw(specs(0, 59, False, True)), draw(specs(0, 23, False, True))
    day, weekday = draw(specs(1, 31, False, True)), draw(specs(0, 6, False, True))
    try:
        schedule = cron(f"{minute.written} {hour.written} {day.written} * {weekday.written}")
    except ScheduleError:
        assume(False)
    runs_on = on_days(day.values, weekday.values, both=day.star or weekday.star)
    return schedule, Rule(minute.values, hour.values, runs_on, not (minute.star or hour.star))


@settings(max_examples=250, deadline=None)
@given(crontabs() | crons(), places(), st.integers(0, 30 * 60 * 10**6))
def test_every_match_comes_once_in_order_and_from_any_starting_point(
    drawn: tuple[Schedule, Rule], place: tuple[tzinfo, datetime], start: int
):
    (schedule, rule), (zone, begin) = drawn, place
    end = begin + 30 * HOUR
    expected = walk(rule, zone, begin, end)
    there = schedule.in_zone(zone)

    assert list(moments(begin, there.next_after, end)) == expected
    assert list(moments(end, there.previous, begin)) == expected[::-1]

    somewhere = begin + start * 60 * MICROSECOND
    after, before = (
        expected[bisect_right(expected, somewhere) :],
        expected[: bisect_left(expected, somewhere)],
    )
    if after:
        assert utc(there.next_after(somewhere)) == after[0]
    if before:
        assert utc(there.previous(somewhere)) == before[-1]


def utc(moment: datetime | None) -> datetime:
    # Python takes no time that clocks show twice for equal to one in another zone.
    assert moment is not None
    return moment.astimezone(UTC)


@settings(max_examples=150, deadline=None)
@given(crontabs() | crons(), places(), st.integers(0, 10**6))
def test_the_next_is_later_and_its_previous_is_not(
    drawn: tuple[Schedule, Rule], place: tuple[tzinfo, datetime], microseconds: int
):
    (schedule, _), (zone, moment) = drawn, place
    t = (moment + microseconds * MICROSECOND).astimezone(zone)
    following = schedule.next_after(t)
    if following is None:
        return
    assert following.tzinfo is zone
    assert following.astimezone(UTC) > t.astimezone(UTC)
    last = schedule.previous(following)
    if last is not None:
        assert last.astimezone(UTC) <= t.astimezone(UTC)
        assert schedule.next_after(last) == following
    assert schedule.previous(following + MICROSECOND) == following


@settings(max_examples=60, deadline=None)
@given(specs(1, 31), specs(0, 6), specs(1, 12), st.dates(date(1990, 1, 1), date(2080, 1, 1)))
def test_days_far_apart_are_found(day: Spec, weekday: Spec, month: Spec, start: date):
    assume(
        any(
            d <= (29 if m == 2 else 30 if m in (4, 6, 9, 11) else 31)
            for d in day.values
            for m in month.values
        )
    )
    schedule = crontab(
        minute=0,
        hour=12,
        day_of_month=day.written,  # type: ignore[arg-type]
        day_of_week=weekday.written,  # type: ignore[arg-type]
        month_of_year=month.written,  # type: ignore[arg-type]
        timezone="UTC",
    )
    noon = datetime(start.year, start.month, start.day, 12, tzinfo=UTC)
    runs_on = on_days(day.values, weekday.values, both=True)

    def matches(moment: datetime) -> bool:
        return moment.month in month.values and runs_on(moment.date())

    later = (noon + n * DAY for n in range(1, 41 * 366))
    earlier = (noon - n * DAY for n in range(1, 41 * 366))
    assert schedule.next_after(noon) == next(filter(matches, later))
    assert schedule.previous(noon) == next(filter(matches, earlier))


GAPS = {
    "a job in the gap": crontab(minute=30, hour=range(24)),
    "a job each hour": crontab(minute=0),
    "a job every 20 minutes": crontab(minute="*/20"),
    "a job at fixed times": cron("0,3,20,45,59 0-23 * * *"),
    "a job with seconds": cron("0 */10 * * * *"),
}
ALL_DAY = frozenset(range(24))
RULES = {
    "a job in the gap": Rule(frozenset({30}), ALL_DAY, lambda day: True, True),
    "a job each hour": Rule(frozenset({0}), ALL_DAY, lambda day: True, False),
    "a job every 20 minutes": Rule(frozenset({0, 20, 40}), ALL_DAY, lambda day: True, False),
    "a job at fixed times": Rule(frozenset({0, 3, 20, 45, 59}), ALL_DAY, lambda day: True, True),
    "a job with seconds": Rule(frozenset(range(0, 60, 10)), ALL_DAY, lambda day: True, False),
}


@pytest.mark.parametrize("name", GAPS)
def test_gaps_and_repeats_of_every_zone_of_the_tz_database(name: str):
    wrong = []
    for key in ZONES:
        zone = ZoneInfo(key)
        for change in changes(key):
            begin, end = change - 2 * HOUR, change + 3 * HOUR
            expected = watch(RULES[name], zone, change, begin, end)
            if list(moments(begin, GAPS[name].in_zone(zone).next_after, end)) != expected:
                wrong.append((key, change, "next"))
            if list(moments(end, GAPS[name].in_zone(zone).previous, begin)) != expected[::-1]:
                wrong.append((key, change, "previous"))
            # And from within what comes twice, where no run of a job at fixed times leads.
            for t in (change, change + 7 * MINUTE, change + 25 * MINUTE, change + 52 * MINUTE):
                after = [run for run in expected if run > t]
                before = [run for run in expected if run < t]
                if utc(GAPS[name].in_zone(zone).next_after(t)) != after[0]:
                    wrong.append((key, change, f"next after {t}"))
                if utc(GAPS[name].in_zone(zone).previous(t)) != before[-1]:
                    wrong.append((key, change, f"previous of {t}"))
    assert wrong == []


def watch(rule: Rule, zone: ZoneInfo, change: datetime, begin: datetime, end: datetime) -> list[datetime]:
    """As `walk`, but only what lies around one change: a day takes too long for every zone."""
    low, high = clock(change - MINUTE, zone), clock(change, zone)
    runs = []
    moment, shown = begin, clock(begin, zone)
    while (moment := moment + MINUTE) < end:
        label = clock(moment, zone)
        if not rule.at_fixed_times:
            due = rule.matches(label)
        elif moment == change and high > low:
            due = any(rule.matches(low + n * MINUTE) for n in range(1, (high - low) // MINUTE + 1))
        else:
            due = label > shown and rule.matches(label)
        shown = max(shown, label)
        if due:
            runs.append(moment)
    return runs


def test_there_are_changes_of_every_sort_among_them():
    sizes = set()
    for key in ZONES:
        zone = ZoneInfo(key)
        sizes |= {clock(at, zone) - clock(at - MINUTE, zone) - MINUTE for at in changes(key)}

    assert {HOUR, -HOUR, HOUR / 2, -HOUR / 2} <= sizes


SIXTY = [key for key in ZONES if "/" in key and len(changes(key, 2025, 2025)) == 2][::3][:60]


def test_a_day_in_sixty_zones_around_both_changes():
    assert len(SIXTY) == 60
    for key in SIXTY:
        zone = ZoneInfo(key)
        for change in changes(key, 2025, 2025):
            shift = clock(change, zone) - clock(change - MINUTE, zone) - MINUTE
            day = clock(change, zone)
            begin = datetime(day.year, day.month, day.day, tzinfo=zone).astimezone(UTC)
            end = begin + DAY - shift

            def count(
                schedule: Schedule, zone: ZoneInfo = zone, begin: datetime = begin, end: datetime = end
            ):
                there = schedule.in_zone(zone)
                return len(list(moments(begin - MICROSECOND, there.next_after, end)))

            where = f"{key} {change}"
            minutes = (DAY - shift) // MINUTE
            # By elapsed time: a day with an hour less has an hour's runs less.
            assert count(crontab()) == minutes, where
            assert count(crontab(minute="*/10")) == minutes // 10, where
            # At fixed times: once each, whatever clocks do.
            for hour in range(24):
                schedule = crontab(minute=30, hour=hour, timezone=zone)
                (run,) = moments(begin - MICROSECOND, schedule.next_after, end)
                label = day.replace(hour=hour, minute=30)
                skipped_over = clock(change - MINUTE, zone) < label < day
                assert clock(run, zone) == (day if skipped_over else label), f"{where} {hour}"
                assert run.astimezone(zone).fold == 0, f"{where} {hour}"
            # All of those in a gap come at its end, and there they are one run.
            skipped = shift // (MINUTE * 30) if shift > timedelta() else 0
            fixed = count(crontab(minute=[0, 30], hour=list(range(24))))
            assert fixed == 48 - skipped, where


def test_a_fixed_time_in_a_gap_runs_right_after_it():
    schedule = crontab(minute=30, hour=2, timezone=BERLIN)

    assert str(schedule.next_after(datetime(2024, 3, 30, 12, tzinfo=UTC))) == "2024-03-31 03:00:00+02:00"


def test_a_fixed_time_that_comes_twice_runs_the_first_time():
    schedule = crontab(minute=30, hour=2, timezone=BERLIN)
    first = schedule.next_after(datetime(2024, 10, 26, 12, tzinfo=UTC))

    assert str(first) == "2024-10-27 02:30:00+02:00"
    assert str(schedule.next_after(first)) == "2024-10-28 02:30:00+01:00"
    assert schedule.previous(datetime(2024, 10, 27, 2, 10, tzinfo=BERLIN, fold=1)) == first


def test_a_time_in_a_gap_or_in_the_second_hour_may_be_asked_about():
    every_minute = crontab(timezone=BERLIN)

    assert (
        str(every_minute.next_after(datetime(2024, 3, 31, 2, 30, tzinfo=BERLIN)))
        == "2024-03-31 03:31:00+02:00"
    )
    second = datetime(2024, 10, 27, 2, 30, tzinfo=BERLIN, fold=1)
    assert str(every_minute.next_after(second)) == "2024-10-27 02:31:00+01:00"
    assert str(crontab(minute=45, hour=2).next_after(second)) == "2024-10-28 02:45:00+01:00"
    assert str(crontab(minute=5, hour=3).next_after(second)) == "2024-10-27 03:05:00+01:00"


def test_a_day_that_a_country_left_out():
    apia = ZoneInfo("Pacific/Apia")
    schedule = crontab(minute=0, hour=9, timezone=apia)
    noon = datetime(2011, 12, 29, 12, tzinfo=apia)

    days = [str(moment.astimezone(apia)) for moment in moments(noon, schedule.next_after, noon + 3 * DAY)]

    # 30 December 2011 did not exist there: its run comes when it would have begun.
    assert days == ["2011-12-31 00:00:00+14:00", "2011-12-31 09:00:00+14:00", "2012-01-01 09:00:00+14:00"]


def test_clocks_that_went_back_over_midnight():
    # At 00:01 on 29 October 2006 clocks in Newfoundland were set to 23:01 of the day before.
    zone = ZoneInfo("America/St_Johns")
    begin = datetime(2006, 10, 29, 1, tzinfo=UTC)
    rule = Rule(frozenset(range(60)), ALL_DAY, lambda day: day.day == 28, False)
    schedule = crontab(day_of_month=28, timezone=zone)

    assert list(moments(begin, schedule.next_after, begin + 6 * HOUR)) == walk(
        rule, zone, begin, begin + 6 * HOUR
    )
    assert (
        list(moments(begin + 6 * HOUR, schedule.previous, begin))
        == walk(rule, zone, begin, begin + 6 * HOUR)[::-1]
    )


def is_plain(key: str) -> bool:
    """Tell whether a zone's clocks are set by whole hours, at full hours, and never over midnight."""
    zone = ZoneInfo(key)
    shown = [(clock(at - MINUTE, zone), clock(at, zone)) for at in changes(key)]
    return all(
        before.minute == 59 and after.minute == 0 and before.date() == after.date() for before, after in shown
    )


@settings(max_examples=200, deadline=None)
@given(
    specs(0, 59, False, True),
    specs(0, 23, False, True),
    specs(1, 31, False, True),
    specs(0, 6, False, True),
    places(),
)
def test_crontab_and_cron_and_cronsim_agree_where_their_meanings_do(
    minute: Spec, hour: Spec, day: Spec, weekday: Spec, place: tuple[ZoneInfo, datetime]
):
    # Both fields for days have to agree in cron only if one of them begins with a star.
    assume(day.star or weekday.star)
    # cronsim itself does not know which of two equal times it starts from.
    zone, begin = place
    t = begin.astimezone(zone)
    assume(not t.fold)
    assume(is_plain(zone.key) or not (minute.star or hour.star))

    text = f"{minute.written} {hour.written} {day.written} * {weekday.written}"
    theirs, ours = CronSim(text, t), (crontab.from_string(text), cron(text))
    for _ in range(8):
        wanted = next(theirs, None)
        assert [schedule.next_after(t) for schedule in ours] == [wanted, wanted]
        if wanted is None:
            return
        t = wanted


@pytest.mark.parametrize(
    ("text", "key", "start", "theirs", "ours"),
    [
        # After a change by half an hour, cronsim looks for the next hour from a time that was not.
        ("*/20 3 * * 0", "Australia/LHI", "2024-04-06 03:36", "2024-04-07 03:40", "2024-04-07 03:00"),
        ("* 3 * * 0", "Pacific/Chatham", "2024-09-28 17:39", "2024-10-06 03:00", "2024-09-29 03:45"),
        # It starts a day that it has jumped to at midnight, even where there is none.
        ("0 */2 * * 0", "America/Santiago", "2026-09-05 22:20", "2026-09-06 00:00", "2026-09-06 02:00"),
        ("*/20 0 * * 0", "America/Coyhaique", "2024-09-07 07:51", "2024-09-08 00:00", "2024-09-15 00:00"),
    ],
)
def test_where_cronsim_does_not_keep_its_own_rule_liteq_does(
    text: str, key: str, start: str, theirs: str, ours: str
):
    zone = ZoneInfo(key)
    t = datetime.fromisoformat(start).replace(tzinfo=zone)
    rule_says = cron(text).next_after(t)

    assert rule_says == datetime.fromisoformat(ours).replace(tzinfo=zone)
    assert next(CronSim(text, t)) == datetime.fromisoformat(theirs).replace(tzinfo=zone), "it does by now"


def test_cronsim_goes_back_when_it_starts_in_the_second_of_two_equal_hours():
    t = datetime(2024, 10, 27, 2, 10, tzinfo=BERLIN, fold=1)

    assert utc(next(CronSim("30 2 * * *", t))) < utc(t)
    assert cron("30 2 * * *").next_after(t) == datetime(2024, 10, 28, 2, 30, tzinfo=BERLIN)
