from __future__ import annotations

import math
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from liteq.errors import DecodingError, ScheduleError
from liteq.firing import (
    CATCH_UP,
    CORRECTION,
    COUNTED,
    GRACE,
    MOST_AT_ONCE,
    OVERLAP,
    SET_BACK,
    Plan,
    Policy,
    decode_policy,
    encode_policy,
    first_run,
    plan,
    reconsider,
)
from liteq.schedule import Interval, Schedule, crontab

NOON = datetime(2026, 3, 2, 12, tzinfo=UTC).timestamp()
MINUTE, HOUR, DAY, YEAR = 60.0, 3600.0, 86400.0, 365 * 86400.0
DEFAULT = Policy()


def every(seconds: float, anchor: float = NOON) -> Interval:
    return Interval(seconds, anchor=anchor)


def hourly() -> crontab:
    return crontab(minute="0", timezone=UTC)


@dataclass
class Story:
    """A schedule in the hands of a scheduler that looks when it is told to, at any wall time."""

    schedule: Any
    policy: Policy = DEFAULT
    next_run: float | None = None
    last_run: float | None = None
    runs: int = 0
    dropped: int = 0
    created: float | None = None

    def begin(self, now: float) -> Story:
        self.next_run = first_run(self.schedule, self.policy, now)
        return self

    def look(self, now: float, unfinished: bool = False) -> list[float]:
        """Look once; return the ticks that fire."""
        if self.next_run is None:
            return []
        done = plan(
            *(self.schedule, self.policy, self.next_run, self.last_run, self.runs, now, unfinished),
            created=self.created,
        )
        self.schedule, self.next_run = done.schedule, done.next_run
        self.runs += len(done.ticks)
        self.dropped += done.dropped
        self.last_run = done.ticks[-1] if done.ticks else self.last_run
        return list(done.ticks)

    def reconsider(self, now: float) -> None:
        """Look at what lies ahead, because the clock was set."""
        assert self.next_run is not None
        done = reconsider(self.schedule, self.policy, self.next_run, self.last_run, now, self.created)
        self.schedule, self.next_run = done.schedule, done.next_run

    def live(self, now: float, seconds: float) -> list[float]:
        """Look at each tick until a moment, as a scheduler does that is awake; return what fires."""
        fired = self.look(now)
        while self.next_run is not None and self.next_run <= now + seconds:
            fired += self.look(self.next_run)
        return fired


def since_noon(ticks: list[float]) -> list[float]:
    return [round(tick - NOON, 6) for tick in ticks]


# ---- the first tick --------------------------------------------------------------------------------


def test_an_interval_runs_for_the_first_time_one_interval_after_it_began():
    assert first_run(every(10), DEFAULT, NOON) == NOON + 10


def test_a_tick_at_this_very_moment_has_been():
    assert first_run(hourly(), DEFAULT, NOON) == NOON + HOUR
    assert first_run(hourly(), DEFAULT, math.nextafter(NOON, 0)) == NOON


def test_a_tick_at_the_start_itself_is_the_first():
    assert first_run(hourly(), Policy(start=NOON + 2 * HOUR), NOON) == NOON + 2 * HOUR
    assert first_run(hourly(), Policy(start=NOON + 2 * HOUR + 0.5), NOON) == NOON + 3 * HOUR
    assert first_run(hourly(), Policy(start=NOON - 2 * HOUR), NOON) == NOON + HOUR


def test_a_tick_at_the_end_itself_is_the_last():
    assert first_run(hourly(), Policy(end=NOON + HOUR), NOON) == NOON + HOUR
    assert first_run(hourly(), Policy(end=NOON + HOUR - 1), NOON) is None


def test_a_schedule_that_is_changed_goes_on_after_its_last_tick():
    assert first_run(hourly(), DEFAULT, NOON, last_run=NOON + HOUR) == NOON + 2 * HOUR
    assert first_run(hourly(), DEFAULT, NOON, last_run=NOON - DAY) == NOON + HOUR


def test_a_last_tick_from_before_a_correction_of_the_clock_holds_nothing_up():
    assert first_run(hourly(), DEFAULT, NOON, last_run=NOON + YEAR) == NOON + HOUR
    assert first_run(every(10), DEFAULT, NOON, last_run=NOON + HOUR) == NOON + 10


# ---- on time ---------------------------------------------------------------------------------------


def test_each_tick_fires_when_it_is_due():
    story = Story(every(10)).begin(NOON)

    assert story.look(NOON + 9.999) == []
    assert story.look(NOON + 10) == [NOON + 10]
    assert story.look(NOON + 10) == []
    assert story.look(NOON + 20.004) == [NOON + 20]


@pytest.mark.parametrize("catch_up", CATCH_UP)
def test_what_is_late_by_less_than_the_grace_is_no_downtime_and_all_of_it_fires(catch_up: str):
    story = Story(every(1), Policy(catch_up=catch_up)).begin(NOON)

    assert since_noon(story.look(NOON + 1 + GRACE)) == [1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11]
    assert story.dropped == 0


def test_a_next_tick_that_is_no_whole_microsecond_does_not_follow_itself():
    schedule = every(0.25, anchor=NOON + 0.123456)
    for raw in (NOON + 0.3734556, NOON + 0.3734564):
        done = plan(schedule, DEFAULT, raw, None, 0, raw + 0.3)
        assert since_noon(list(done.ticks)) == [0.373456, 0.623456]
        done = plan(schedule, DEFAULT, raw, None, 0, raw)
        assert since_noon(list(done.ticks)) == [0.373456]
        assert done.next_run == pytest.approx(NOON + 0.623456, abs=1e-9)


# ---- downtime --------------------------------------------------------------------------------------


def three_days_later(schedule: Any, policy: Policy) -> tuple[list[float], Story]:
    story = Story(schedule, policy).begin(NOON)
    return since_noon(story.look(NOON + 3 * DAY + 5 * MINUTE)), story


def test_after_three_days_of_downtime_skip_fires_nothing():
    fired, story = three_days_later(hourly(), Policy(catch_up="skip"))

    assert (fired, story.dropped > COUNTED) == ([], True)
    assert story.next_run == NOON + 3 * DAY + HOUR


def test_after_three_days_of_downtime_skip_fires_a_tick_that_is_on_time():
    story = Story(hourly(), Policy(catch_up="skip")).begin(NOON)

    assert story.look(NOON + 3 * DAY + 2) == [NOON + 3 * DAY]


def test_after_three_days_of_downtime_once_fires_the_latest_tick():
    fired, story = three_days_later(hourly(), Policy(catch_up="once"))

    assert (fired, story.dropped > COUNTED) == ([3 * DAY], True)


def test_a_few_ticks_that_do_not_fire_are_counted():
    story = Story(hourly(), Policy(catch_up="once")).begin(NOON)

    assert story.look(NOON + 5 * HOUR + MINUTE) == [NOON + 5 * HOUR]
    assert story.dropped == 4


def test_after_three_days_of_downtime_once_fires_once_however_short_the_interval():
    fired, _ = three_days_later(every(1), Policy(catch_up="once"))

    assert fired == [3 * DAY + 5 * MINUTE]


def test_after_three_days_of_downtime_all_fires_every_tick():
    fired, story = three_days_later(hourly(), Policy(catch_up="all"))

    assert fired == [hour * HOUR for hour in range(1, 73)]
    assert story.dropped == 0


def test_after_three_days_of_downtime_all_fires_the_newest_up_to_its_bound():
    fired, story = three_days_later(hourly(), Policy(catch_up="all", catch_up_limit=5))

    assert fired == [hour * HOUR for hour in range(68, 73)]
    assert story.dropped > COUNTED


def test_the_bound_holds_for_a_schedule_of_which_millions_of_ticks_were_missed():
    fired, story = three_days_later(every(0.01), Policy(catch_up="all", catch_up_limit=250))

    assert len(fired) == len(set(fired)) == 250
    assert fired[-1] == 3 * DAY + 5 * MINUTE
    assert story.dropped > COUNTED


def test_a_one_off_that_was_missed_runs_late():
    story = Story(Scarce(NOON + HOUR), DEFAULT).begin(NOON)

    assert story.look(NOON + 3 * DAY) == [NOON + HOUR]
    assert story.next_run is None


class Counting:
    """Counts how often a schedule is asked."""

    def __init__(self, inner: Any) -> None:
        self.inner = inner
        self.asked = 0

    def next_after(self, t: datetime) -> datetime | None:
        self.asked += 1
        return self.inner.next_after(t)

    def previous(self, t: datetime) -> datetime | None:
        self.asked += 1
        return self.inner.previous(t)


class Scarce(Counting):
    """A schedule with one tick."""

    def __init__(self, tick: float) -> None:
        super().__init__(self)
        self.tick = datetime.fromtimestamp(tick, UTC)

    def next_after(self, t: datetime) -> datetime | None:
        return self.tick if self.tick > t else None

    def previous(self, t: datetime) -> datetime | None:
        return self.tick if self.tick < t else None


@pytest.mark.parametrize("catch_up", CATCH_UP)
def test_three_days_of_a_hundredth_of_a_second_cost_no_more_than_the_bounds_say(catch_up: str):
    schedule: Any = Counting(every(0.01))
    policy = Policy(catch_up=catch_up, catch_up_limit=100)
    plan(schedule, policy, NOON + 0.01, None, 0, NOON + 3 * DAY)

    assert schedule.asked <= 2 * COUNTED + policy.catch_up_limit


def test_more_ticks_on_time_than_are_sensible_are_bounded_too():
    done = plan(every(0.001), DEFAULT, NOON + 0.001, None, 0, NOON + GRACE)

    assert len(done.ticks) == MOST_AT_ONCE
    assert done.ticks[-1] == NOON + GRACE
    assert done.dropped > COUNTED


# ---- clock steps -----------------------------------------------------------------------------------


def test_a_clock_set_back_an_hour_lets_an_interval_go_on_by_elapsed_time():
    story = Story(every(10)).begin(NOON)
    story.live(NOON, 60)
    back = NOON + 60 - HOUR

    assert story.look(back) == []
    assert story.next_run == back + 10
    assert since_noon(story.live(back, 30)) == [70 - HOUR, 80 - HOUR, 90 - HOUR]


def test_a_clock_set_back_by_less_than_an_interval_moves_no_tick():
    story = Story(every(DAY)).begin(NOON)

    story.look(NOON - HOUR + DAY)
    assert story.look(NOON - 2 * HOUR) == []
    assert story.next_run == NOON - 2 * HOUR + DAY
    story = Story(every(DAY)).begin(NOON)
    assert story.look(NOON) == []
    assert story.next_run == NOON + DAY


def test_a_clock_that_is_set_back_by_a_moment_moves_no_grid():
    story = Story(every(10)).begin(NOON)
    story.look(NOON + 10)

    assert story.look(NOON + 9.5) == []
    assert story.next_run == NOON + 20


def test_a_relative_interval_keeps_to_its_grid_when_the_clock_is_set_back():
    story = Story(Interval(10, relative=True, anchor=0.0)).begin(NOON)
    story.live(NOON, 60)

    assert story.look(NOON + 57.5 - HOUR) == []
    assert story.next_run == NOON + 60 - HOUR


def test_a_clock_set_back_an_hour_lets_a_calendar_wait_and_no_tick_comes_twice():
    story = Story(crontab(timezone=UTC)).begin(NOON)
    fired = story.live(NOON, 10 * MINUTE)
    fired += story.live(NOON + 10 * MINUTE - HOUR, HOUR + 5 * MINUTE)

    assert since_noon(fired) == [minute * MINUTE for minute in range(1, 16)]


def test_a_clock_set_back_a_year_was_wrong_and_the_calendar_goes_on_from_now():
    story = Story(hourly()).begin(NOON + YEAR)
    story.live(NOON + YEAR, DAY)

    assert since_noon(story.live(NOON, 2 * HOUR)) == [HOUR, 2 * HOUR]


def test_a_calendar_that_never_ran_goes_on_from_now_when_the_clock_is_set_back():
    story = Story(hourly()).begin(NOON + YEAR)

    assert since_noon(story.live(NOON, 2 * HOUR)) == [HOUR, 2 * HOUR]


@pytest.mark.parametrize("schedule", [every(HOUR), hourly()])
def test_a_clock_set_forward_a_year_and_back_again_costs_one_run(schedule: Schedule):
    story = Story(schedule).begin(NOON)
    story.live(NOON, 2 * HOUR)

    assert since_noon(story.look(NOON + YEAR + 2 * HOUR + 30)) == [YEAR + 2 * HOUR]
    back = NOON + 2 * HOUR + 60
    assert story.look(back) == []
    assert len(story.live(back, 3 * HOUR)) in (2, 3)
    assert story.next_run is not None
    assert back + 2 * HOUR < story.next_run <= back + 4 * HOUR


@pytest.mark.parametrize("catch_up", ["once", "all"])
@pytest.mark.parametrize("wrong", [-56 * YEAR, -DAY, -4 * HOUR])
def test_a_clock_that_was_wrong_for_a_moment_brings_no_tick_a_second_time(wrong: float, catch_up: str):
    story = Story(hourly(), Policy(catch_up=catch_up)).begin(NOON - 3 * DAY)
    story.live(NOON - 3 * DAY, 3 * DAY + 90)
    fired = story.runs
    story.look(NOON + 95 + wrong)
    story.reconsider(NOON + 95 + wrong)

    assert story.look(NOON + 100) == []
    assert story.runs == fired
    assert story.next_run == NOON + HOUR


def test_a_clock_that_was_wrong_brings_no_tick_from_before_the_schedule_was_made():
    story = Story(hourly(), Policy(catch_up="all"), created=NOON - 10).begin(NOON - 10)
    story.reconsider(NOON - 5 * DAY)
    assert story.next_run == NOON
    story.next_run = NOON - 5 * DAY

    assert story.look(NOON + 2 * HOUR) == [NOON, NOON + HOUR, NOON + 2 * HOUR]


def test_a_start_in_the_future_is_not_mistaken_for_a_clock_set_back():
    for schedule in (every(10), hourly()):
        policy = Policy(start=NOON + DAY)
        tick = first_run(schedule, policy, NOON)
        assert tick is not None
        assert reconsider(schedule, policy, tick, None, NOON) == Plan((), tick, schedule)


def test_asking_again_changes_nothing():
    first = reconsider(every(10), DEFAULT, NOON + HOUR, NOON + HOUR - 10, NOON)
    assert first.next_run is not None
    again = reconsider(first.schedule, DEFAULT, first.next_run, NOON + HOUR - 10, NOON + 1)

    assert (again.schedule, again.next_run) == (first.schedule, NOON + 10)


def test_a_laptop_that_slept_over_night_makes_up_for_it_once():
    story = Story(crontab(minute="*/15", timezone=UTC)).begin(NOON)
    story.live(NOON, HOUR)
    fired = story.live(NOON + 9 * HOUR + 100, 30 * MINUTE)

    assert since_noon(fired) == [9 * HOUR, 9 * HOUR + 15 * MINUTE, 9 * HOUR + 30 * MINUTE]


# ---- start, end, number of runs --------------------------------------------------------------------


def test_there_is_no_tick_after_the_end():
    story = Story(every(10), Policy(end=NOON + 30)).begin(NOON)

    assert since_noon(story.live(NOON, HOUR)) == [10, 20, 30]
    assert story.next_run is None


def test_ticks_before_the_end_that_were_missed_are_made_up_for_after_it():
    story = Story(hourly(), Policy(end=NOON + 2 * HOUR, catch_up="all")).begin(NOON)

    assert since_noon(story.look(NOON + DAY)) == [HOUR, 2 * HOUR]
    assert story.next_run is None


def test_the_last_run_is_the_last():
    story = Story(every(10), Policy(max_runs=3)).begin(NOON)

    assert since_noon(story.live(NOON, HOUR)) == [10, 20, 30]
    assert (story.runs, story.next_run) == (3, None)


def test_making_up_for_missed_ticks_counts_as_runs_too():
    story = Story(hourly(), Policy(max_runs=3, catch_up="all")).begin(NOON)

    assert since_noon(story.look(NOON + DAY)) == [HOUR, 2 * HOUR, 3 * HOUR]
    assert story.next_run is None


def test_a_tick_that_was_left_out_is_no_run():
    story = Story(every(10), Policy(max_runs=1, overlap="skip")).begin(NOON)

    assert story.look(NOON + 10, unfinished=True) == []
    assert story.look(NOON + 20) == [NOON + 20]
    assert story.next_run is None


# ---- overlap ---------------------------------------------------------------------------------------


def test_while_the_job_before_is_unfinished_skip_leaves_the_tick_out():
    story = Story(every(10), Policy(overlap="skip")).begin(NOON)

    assert story.look(NOON + 10) == [NOON + 10]
    assert story.look(NOON + 20, unfinished=True) == []
    assert story.look(NOON + 30) == [NOON + 30]
    assert story.dropped == 1


@pytest.mark.parametrize("overlap", ["allow", "replace"])
def test_while_the_job_before_is_unfinished_the_others_fire(overlap: str):
    story = Story(every(10), Policy(overlap=overlap)).begin(NOON)

    assert story.look(NOON + 10, unfinished=True) == [NOON + 10]


@pytest.mark.parametrize("overlap", ["skip", "replace"])
@pytest.mark.parametrize("catch_up", ["once", "all"])
def test_of_ticks_that_would_overlap_at_once_the_latest_fires(overlap: str, catch_up: str):
    policy = Policy(overlap=overlap, catch_up=catch_up)

    assert since_noon(Story(every(1), policy).begin(NOON).look(NOON + 5)) == [5]
    assert since_noon(Story(hourly(), policy).begin(NOON).look(NOON + DAY)) == [DAY]


# ---- what always holds -----------------------------------------------------------------------------

policies = st.builds(
    Policy,
    catch_up=st.sampled_from(CATCH_UP),
    catch_up_limit=st.integers(1, 20),
    overlap=st.sampled_from(OVERLAP),
    start=st.none() | st.floats(0, 500).map(lambda seconds: NOON + seconds),
    end=st.none() | st.floats(0, 2000).map(lambda seconds: NOON + seconds),
    max_runs=st.none() | st.integers(1, 30),
    jitter=st.floats(0, 1e9),
    expires=st.none() | st.floats(0, 1e9),
)
intervals = st.integers(500_000, 120_000_000).map(lambda microseconds: microseconds / 1e6)
schedules = intervals.map(every) | st.just(crontab(timezone=UTC))
pauses = st.lists(st.tuples(st.floats(0.001, 40), st.booleans()), max_size=30)


def grid(schedule: Schedule, policy: Policy, start: float, end: float) -> list[float]:
    """List every tick later than the start, up to the end, as one who has no need to hurry."""
    ticks = []
    moment = schedule.next_after(datetime.fromtimestamp(start, UTC))
    while moment is not None and (tick := moment.timestamp()) <= end:
        if (policy.start is None or tick >= policy.start) and (policy.end is None or tick <= policy.end):
            ticks.append(tick)
        moment = schedule.next_after(moment)
    return ticks


@given(schedule=schedules, policy=policies, pauses=pauses)
def test_a_life_of_any_schedule_keeps_all_promises(
    schedule: Schedule, policy: Policy, pauses: list[tuple[float, bool]]
):
    story, now, fired, is_exact = Story(schedule, policy).begin(NOON), NOON, [], True
    for pause, unfinished in pauses:
        now += pause
        due_since, dropped = story.next_run, story.dropped
        ticks = story.look(now, unfinished)
        is_exact = is_exact and story.dropped - dropped <= COUNTED
        if due_since is not None and due_since < now - GRACE:
            assert len(ticks) <= (policy.catch_up_limit if policy.catch_up == "all" else 1)
            if policy.catch_up == "skip":
                assert all(tick >= now - GRACE for tick in ticks)
        if policy.overlap != "allow":
            assert len(ticks) <= (0 if unfinished and policy.overlap == "skip" else 1)
        assert story.next_run is None or story.next_run > now
        fired += ticks

    due = grid(schedule, policy, NOON, now)
    assert fired == sorted(set(fired))
    assert set(fired) <= set(due)
    assert len(fired) == story.runs <= (policy.max_runs or math.inf)
    if story.next_run is not None or policy.max_runs is None:
        accounted_for = len(fired) + story.dropped
        assert accounted_for == len(due) if is_exact else accounted_for <= len(due)


@given(
    schedule=schedules,
    policy=policies,
    moves=st.lists(st.tuples(st.floats(0, 40), st.sampled_from([0, 0, 0, -HOUR, HOUR, -DAY])), max_size=20),
)
def test_whatever_the_clock_does_the_next_tick_lies_ahead_and_not_beyond_reach(
    schedule: Schedule, policy: Policy, moves: list[tuple[float, float]]
):
    policy = policy._replace(start=None, end=None, max_runs=None)
    story, now = Story(schedule, policy).begin(NOON), NOON
    for pause, step in moves:
        now += pause + step
        story.look(now)
        assert story.next_run is not None
        assert now < story.next_run
        if isinstance(schedule, Interval):
            assert story.next_run <= now + schedule.seconds + SET_BACK
        else:
            assert story.next_run <= now + CORRECTION + 2 * MINUTE


@given(now=st.floats(NOON - YEAR, NOON + YEAR), seconds=intervals)
def test_the_first_tick_lies_within_one_interval_at_any_fraction_of_a_second(now: float, seconds: float):
    tick = first_run(every(seconds), DEFAULT, now)

    assert tick is not None
    assert now < tick <= now + seconds + 1e-6


@given(now=st.floats(NOON - YEAR, NOON + YEAR), seconds=st.sampled_from([0.001, 1.0, 60.0, 86400.0]))
def test_an_interval_that_begins_now_does_not_run_now(now: float, seconds: float):
    tick = first_run(Interval(seconds).anchored(now), DEFAULT, now)

    assert tick is not None
    assert abs(tick - now - seconds) < 2e-6


# ---- a schedule that contradicts itself ------------------------------------------------------------


class Stuck(Counting):
    def next_after(self, t: datetime) -> datetime | None:
        return t

    def previous(self, t: datetime) -> datetime | None:
        return t + timedelta(seconds=1)


def test_a_schedule_that_does_not_move_on_is_refused_instead_of_followed_for_ever():
    with pytest.raises(ScheduleError, match="after"):
        plan(Stuck(every(1)), DEFAULT, NOON, None, 0, NOON)


# ---- as text ---------------------------------------------------------------------------------------


@given(policy=policies)
def test_a_policy_is_read_as_it_was_written(policy: Policy):
    assert decode_policy(encode_policy(policy)) == policy


def test_a_policy_of_defaults_takes_no_room():
    assert encode_policy(DEFAULT) == "{}"


@pytest.mark.parametrize(
    "text",
    [
        "(damaged)",
        "[]",
        '{"no_such":1}',
        '{"catch_up":"maybe"}',
        '{"catch_up":[]}',
        '{"catch_up_limit":0}',
        '{"max_runs":true}',
        '{"jitter":-1}',
        '{"start":1e300}',
        '{"expires":"soon"}',
        '{"end":NaN}',
    ],
)
def test_a_text_that_is_no_policy_is_refused(text: str):
    with pytest.raises(DecodingError):
        decode_policy(text)
