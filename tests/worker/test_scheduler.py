"""The scheduler on a clock turned by hand: what is fired, when it looks, and what it leaves alone."""

from __future__ import annotations

import asyncio
import logging
import threading
from collections.abc import Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from scene import ANY, Scene

from liteq import zones
from liteq.calls.options import JobOptions, decode_options, encode_options
from liteq.codec.protection import Protection
from liteq.codec.signing import Signer
from liteq.errors import StoreBusyError, StoreError, StoreReplacedError
from liteq.firing import Policy, encode_policy
from liteq.job import Job, JobFilter, NewJob, WorkerInfo
from liteq.lifecycle import Succeeded, decide
from liteq.schedule import Custom, Schedule, crontab, encode, every
from liteq.states import REVOKED
from liteq.testing import ManualClock
from liteq.timetable import Firing, ScheduleRecord
from liteq.transport import Transport
from liteq.worker.scheduler import BATCH, MOST_JOBS, Scheduler

KEY, OTHER_KEY = Signer([b"the key of the queue"]), Signer([b"the key of somebody else"])
MINUTE, HOUR, DAY, YEAR = 60.0, 3600.0, 86400.0, 365 * 86400.0
WORKER = WorkerInfo("worker", "host", 1, 1)
NOON = datetime(2026, 3, 2, 12, tzinfo=UTC).timestamp()


class Code:
    """What a program's code says about schedules, as a test has it."""

    def __init__(
        self, schedules: dict[str, Any] | None = None, signers: dict[str, Signer | None] | None = None
    ) -> None:
        self.schedules = schedules or {}
        self.signers = signers or {}

    def schedule(self, record: ScheduleRecord) -> Schedule | None:
        return self.schedules.get(record.name)

    def protection(self, task: str, *, load: bool) -> Protection:
        return Protection(self.signers[task])


class Day:
    """A store with schedules, and a scheduler that is awake as long as a test lets time pass."""

    def __init__(self, scene: Scene) -> None:
        self.transport = scene.transport
        self.clock = ManualClock(wall=NOON)
        self.code = Code()
        self.scheduler = self.another()
        self.looks = 0

    def another(self, transport: Transport | None = None) -> Scheduler:
        return Scheduler(transport or self.transport, self.clock, lambda: 0.5, code=self.code)

    def add(self, name: str = "s", schedule: Any = None, policy: Policy | None = None, **fields: Any) -> None:
        schedule = every(10, anchor=NOON) if schedule is None else schedule
        policy = policy or Policy()
        found = schedule.next_after(datetime.fromtimestamp(self.clock.wall(), UTC))
        values: dict[str, Any] = {
            "name": name,
            "task": "task",
            "spec": encode(schedule),
            "policy": encode_policy(policy),
            "job": NewJob("", "task", b"payload", priority=3),
            "next_run": found.timestamp(),
        }
        assert self.transport.save_schedules([ScheduleRecord(**{**values, **fields})]) == [True]

    def live(self, seconds: float, scheduler: Scheduler | None = None) -> None:
        """Let time pass, and the scheduler look whenever it asked to."""
        end = self.clock.wall() + seconds
        while True:
            pause = (scheduler or self.scheduler).look()
            self.looks += 1
            left = end - self.clock.wall()
            if pause > left:
                self.clock.advance(max(0.0, left))
                return
            self.clock.advance(pause)

    def record(self, name: str = "s") -> ScheduleRecord:
        (record,) = self.transport.schedules([name])
        return record

    def jobs(self) -> list[Job]:
        return self.transport.find(JobFilter(limit=100_000))[::-1]

    def ticks(self, name: str = "s") -> list[float]:
        """Return the ticks that were fired, in seconds since noon, in the order of their jobs."""
        headers = [decode_options(job.options).headers for job in self.jobs()]
        return [round(told["tick"] - NOON, 6) for told in headers if told["schedule"] == name]


@pytest.fixture
def day(scene: Scene) -> Day:
    return Day(scene)


# ---- firing ----------------------------------------------------------------------------------------


def test_each_tick_enqueues_one_job_when_it_is_due(day: Day):
    day.add()
    day.live(35)

    assert day.ticks() == [10, 20, 30]
    assert [job.enqueued - NOON for job in day.jobs()] == [10, 20, 30]
    record = day.record()
    assert (record.runs, record.last_run, record.next_run) == (3, NOON + 30, NOON + 40)
    assert record.last_job == day.jobs()[-1].id


def test_a_tick_enqueues_what_its_schedule_says_and_tells_what_it_is_a_tick_of(day: Day):
    options = encode_options(JobOptions(time_limit=5.0, headers={"mine": 1}))
    template = NewJob("", "task", b"p", "json", "lane", 7, None, None, 1, True, 60.0, options)
    day.add("nächtlich", job=template)
    day.live(10)

    (job,) = day.jobs()
    assert (job.task, job.payload, job.codec, job.queue, job.priority) == ("task", b"p", "json", "lane", 7)
    assert (job.max_crashes, job.ignore_result, job.eta, job.expires) == (1, True, None, None)
    told = decode_options(job.options)
    assert told.time_limit == 5.0
    assert told.headers == {"mine": 1, "schedule": "nächtlich", "tick": NOON + 10}


def test_jobs_start_within_the_jitter_of_their_tick_and_expire_after_that(day: Day):
    day.add(policy=Policy(jitter=4.0, expires=60.0))
    day.live(10)

    (job,) = day.jobs()
    assert (job.eta, job.expires) == (NOON + 12, NOON + 72)


def test_what_was_missed_is_not_expired_before_it_could_run(day: Day):
    day.add(schedule=crontab(minute="0", timezone="UTC"), policy=Policy(jitter=4.0, expires=60.0))
    day.clock.advance(3 * DAY + 30 * MINUTE)
    day.live(1)

    now = NOON + 3 * DAY + 30 * MINUTE
    (job,) = day.jobs()
    assert (job.eta, job.expires) == (now + 2, now + 62)
    assert day.ticks() == [3 * DAY]


def test_jobs_of_late_ticks_expire_as_long_after_their_firing_as_any_other(day: Day):
    day.add(schedule=every(4), policy=Policy(catch_up="all", expires=3.0))
    day.clock.advance(30)
    day.live(0)

    assert {job.expires for job in day.jobs()} == {NOON + 33}
    assert len(day.jobs()) == 7


def test_a_schedule_that_has_ended_fires_no_more_and_is_still_there(day: Day):
    day.add(policy=Policy(max_runs=2))
    day.live(60)

    assert day.ticks() == [10, 20]
    assert (day.record().next_run, day.record().runs) == (None, 2)


def test_the_paused_and_the_broken_do_not_fire(day: Day):
    day.add("a", paused=True)
    day.add("b", broken="Why.")
    day.live(60)

    assert day.jobs() == []


def test_as_many_as_are_due_at_once_all_fire(day: Day):
    for number in range(BATCH + 20):
        day.add(f"s{number}")
    day.live(10)

    assert len(day.jobs()) == BATCH + 20
    assert len(day.scheduler._blocked) == 0


def test_no_transaction_stores_more_jobs_than_others_can_wait_for(day: Day, monkeypatch: pytest.MonkeyPatch):
    policy = Policy(catch_up="all", catch_up_limit=400)
    for number in range(6):
        day.add(f"s{number}", every(1, anchor=NOON), policy)
    sizes = []
    fire = day.transport.fire

    def watched(firings: Sequence[Firing], now: float) -> list[bool]:
        sizes.append(sum(len(firing.jobs) for firing in firings))
        return fire(firings, now)

    monkeypatch.setattr(day.transport, "fire", watched)
    day.clock.advance(HOUR)
    day.scheduler.look()

    assert sum(sizes) == 2400
    assert max(sizes) <= MOST_JOBS


# ---- sleeping --------------------------------------------------------------------------------------


def test_it_sleeps_until_the_next_tick_but_never_for_longer_than_a_second(day: Day):
    day.add()

    assert day.scheduler.look() == 1.0
    day.clock.advance(9.75)
    assert day.scheduler.look() == 0.25
    day.clock.advance(0.25)
    assert day.scheduler.look() == 0.0
    assert day.scheduler.look() == 1.0


def test_an_idle_scheduler_looks_once_a_second(day: Day):
    day.add(schedule=crontab(minute="0", timezone="UTC"))
    day.live(30 * MINUTE)

    assert day.looks <= 30 * 60 + 2


# ---- several schedulers ----------------------------------------------------------------------------


def test_one_leads_and_the_others_look_once_a_second(day: Day):
    day.add()
    other = day.another()

    day.clock.advance(9.9)
    assert day.scheduler.look() == pytest.approx(0.1)
    assert other.look() == 1.0
    assert (day.scheduler.is_leader, other.is_leader) == (True, False)


def test_who_does_not_lead_leaves_a_tick_to_the_leader(day: Day):
    day.add()
    day.scheduler.look()
    other = day.another()
    day.clock.advance(11)

    assert other.look() == 1.0
    assert day.jobs() == []


def test_what_a_suspended_leader_leaves_undone_is_fired_by_another(day: Day):
    day.add()
    day.scheduler.look()
    other = day.another()
    day.live(60, other)

    assert day.ticks() == [10, 20, 30, 40, 50]
    assert day.scheduler.is_leader
    assert not other.is_leader
    day.live(0)
    assert day.ticks() == [10, 20, 30, 40, 50, 60]


def test_when_the_leader_ends_another_takes_its_place_at_its_next_look(day: Day):
    day.add()
    other = day.another()
    day.scheduler.look()
    other.look()
    day.scheduler.close()
    day.clock.advance(1.0)

    other.look()
    assert other.is_leader


class Unlocked:
    """A store whose office anybody holds who wants it."""

    def __init__(self, transport: Transport) -> None:
        self._transport = transport

    def lead(self, office: str = "upkeep") -> AbstractContextManager[bool]:
        return nullcontext(True)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._transport, name)


def test_of_two_that_read_the_same_tick_one_fires_it(day: Day, monkeypatch: pytest.MonkeyPatch):
    day.add()
    unlocked: Any = Unlocked(day.transport)
    first, second = day.another(unlocked), day.another(unlocked)
    day.clock.advance(10)
    due = day.transport.due_schedules

    def meanwhile(now: float, limit: int = 100) -> list[ScheduleRecord]:
        found = due(now, limit)
        monkeypatch.setattr(day.transport, "due_schedules", due)
        second.look()
        return found

    monkeypatch.setattr(day.transport, "due_schedules", meanwhile)
    assert first.look() == 0.0
    assert first.look() == 1.0

    assert day.ticks() == [10]


def test_two_awake_threads_fire_each_tick_once(day: Day):
    for number in range(20):
        day.add(f"s{number}", every(1, anchor=NOON), Policy(catch_up="all", catch_up_limit=1000))
    unlocked: Any = Unlocked(day.transport)
    ready = threading.Barrier(4)

    def look() -> None:
        scheduler = day.another(unlocked)
        for _ in range(20):
            ready.wait(30)
            while scheduler.look() == 0.0:
                pass
            if ready.wait(30) == 0:
                day.clock.advance(1)

    threads = [threading.Thread(target=look) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    for number in range(20):
        assert day.ticks(f"s{number}") == list(range(1, 20))


# ---- overlap ---------------------------------------------------------------------------------------


def finish_one(day: Day) -> None:
    now = day.clock.wall()
    worker = day.transport.register(WORKER, 60.0, now)
    (claim,) = day.transport.claim(worker, ANY._replace(limit=1), now)
    day.transport.settle(worker, [decide(claim, Succeeded(), now, lambda: 0.5)], now)
    day.transport.unregister(worker)


def test_skip_leaves_ticks_out_while_the_job_before_is_unfinished(day: Day):
    day.add(policy=Policy(overlap="skip"))
    day.live(35)
    assert day.ticks() == [10]

    finish_one(day)
    day.live(10)
    assert day.ticks() == [10, 40]


def test_a_skipped_tick_is_told_for_debugging_and_one_that_downtime_cost_as_news(
    day: Day, caplog: pytest.LogCaptureFixture
):
    caplog.set_level(logging.DEBUG)
    day.add("long", policy=Policy(overlap="skip"))
    day.live(25)
    assert left_out(caplog) == [("DEBUG", "Schedule long: the latest tick is left out, as its policy says.")]

    day.transport.remove_schedules(["long"])
    for name, policy in (("skip", Policy(catch_up="skip")), ("once", Policy())):
        day.add(name, every(100, anchor=day.clock.wall()), policy)
    day.clock.advance(250)
    day.live(1)
    assert sorted(left_out(caplog)) == [
        ("INFO", "Schedule once: 1 tick is left out, as its policy says."),
        ("INFO", "Schedule skip: 2 ticks, the latest among them, are left out, as its policy says."),
    ]


def left_out(caplog: pytest.LogCaptureFixture) -> list[tuple[str, str]]:
    """Return what was told of ticks that are left out, with its level, since this was asked last."""
    found = [
        (each.levelname, each.getMessage()) for each in caplog.records if "left out" in each.getMessage()
    ]
    caplog.clear()
    return found


def test_skip_goes_on_when_the_job_before_is_gone(day: Day):
    day.add(policy=Policy(overlap="skip"), last_job="long forgotten")
    day.live(10)

    assert day.ticks() == [10]


def test_replace_revokes_the_job_before_if_it_still_waits(day: Day):
    day.add(policy=Policy(overlap="replace"))
    day.live(20)

    first, second = day.jobs()
    assert (first.state, second.finished) == (REVOKED, False)


def test_replace_lets_a_running_job_end(day: Day):
    day.add(policy=Policy(overlap="replace"))
    day.live(10)
    worker = day.transport.register(WORKER, 60.0, day.clock.wall())
    day.transport.claim(worker, ANY, day.clock.wall())
    day.live(10)

    first, second = day.jobs()
    assert (first.state, second.state) == ("STARTED", "PENDING")


# ---- clocks ----------------------------------------------------------------------------------------


def test_a_clock_set_back_is_noticed_though_nothing_is_due(day: Day):
    day.add("i")
    day.add("c", crontab(minute="*/10", timezone="UTC"))
    day.live(25 * MINUTE)
    before = len(day.ticks("i")), len(day.ticks("c"))
    day.clock.step(-HOUR)
    day.live(30 * MINUTE)

    assert len(day.ticks("i")) - before[0] in (179, 180)
    assert len(day.ticks("c")) == before[1] == 2
    day.live(35 * MINUTE)
    assert day.ticks("c") == [600, 1200, 1800]


def test_a_tick_that_another_fires_meanwhile_is_no_clock_set_back(day: Day, monkeypatch: pytest.MonkeyPatch):
    day.add(schedule=every(HOUR, anchor=NOON))
    day.live(HOUR - 3)
    schedules = day.transport.schedules

    def slowly(names: Sequence[str] | None = None) -> list[ScheduleRecord]:
        monkeypatch.setattr(day.transport, "schedules", schedules)
        day.live(5)
        return schedules(names)

    monkeypatch.setattr(day.transport, "schedules", slowly)
    unlocked: Any = Unlocked(day.transport)
    day.another(unlocked).look()

    assert day.record().last_run == NOON + HOUR
    assert day.record().next_run == NOON + 2 * HOUR


def test_a_clock_set_back_while_no_scheduler_ran_is_noticed_by_the_next(day: Day):
    day.add()
    day.live(60)
    day.scheduler.close()
    day.clock.step(-DAY)
    day.scheduler = day.another()
    day.live(31)

    assert day.ticks()[6:] == [70 - DAY, 80 - DAY, 90 - DAY]


def test_a_clock_a_year_ahead_costs_one_run_when_it_is_put_right(day: Day):
    day.add("i")
    day.add("c", crontab(minute="0", timezone="UTC"))
    day.live(30 * MINUTE)
    day.clock.step(YEAR)
    day.live(5)
    assert len(day.ticks("c")) == 1
    day.clock.step(-YEAR)
    day.live(HOUR)

    assert len(day.ticks("c")) == 2
    assert day.ticks("c")[-1] == HOUR
    assert len(day.ticks("i")) in range(540, 543)


def test_a_small_step_is_no_news(day: Day):
    day.add()
    day.live(5)
    day.clock.step(-0.9)
    day.live(10)

    assert day.ticks() == [10]


def test_a_laptop_that_slept_makes_up_for_it_once(day: Day):
    day.add(schedule=crontab(minute="*/15", timezone="UTC"))
    day.live(20 * MINUTE)
    # While it sleeps, the monotonic clock of Linux stands still.
    day.clock.step(9 * HOUR)
    day.live(20 * MINUTE)

    assert day.ticks() == [900, 9 * HOUR + 900, 9 * HOUR + 1800]


# ---- what cannot run -------------------------------------------------------------------------------


def test_what_makes_no_sense_is_broken_and_says_why_and_the_others_go_on(
    day: Day, caplog: pytest.LogCaptureFixture
):
    day.add("good")
    day.add("spec", spec="(damaged)")
    day.add("policy", policy=Policy(), job=NewJob("", "task", b"", options=b"\xc1"))
    day.add("unknown", job=None)
    day.live(20)

    assert day.ticks("good") == [10, 20]
    assert "describes no schedule" in (day.record("spec").broken or "")
    assert day.record("policy").broken is not None
    assert "add it anew" in (day.record("unknown").broken or "")
    assert len([line for line in caplog.messages if "broken" in line]) == 3


class Own:
    """A user's schedule."""

    def __init__(self, error: BaseException | None = None) -> None:
        self.error = error

    def next_after(self, t: datetime) -> datetime | None:
        if self.error is not None:
            raise self.error
        return t.replace(microsecond=0) + timedelta(seconds=10 - t.second % 10)

    def __str__(self) -> str:
        return "every ten seconds, as a class of its own"


def test_a_users_own_schedule_is_taken_from_the_code_that_is_loaded(day: Day):
    own = Custom(Own(), "UTC")
    day.code.schedules["s"] = own
    day.add(schedule=own)
    day.live(30)

    assert day.ticks() == [10, 20, 30]


def test_a_users_own_schedule_that_fails_is_broken(day: Day):
    day.add(schedule=Custom(Own(), "UTC"))
    day.code.schedules["s"] = Custom(Own(KeyError("moon")), "UTC")
    day.live(10)

    assert day.record().broken == "KeyError: 'moon'"


class UnprintableError(Exception):
    def __str__(self) -> str:
        raise ValueError("not even that")


@pytest.mark.parametrize(
    "error", [SystemExit(3), GeneratorExit(), asyncio.CancelledError(), UnprintableError()]
)
def test_whatever_a_users_own_schedule_raises_breaks_itself_only(day: Day, error: BaseException):
    day.add(schedule=Custom(Own(), "UTC"))
    day.add("good")
    day.code.schedules["s"] = Custom(Own(error), "UTC")
    day.live(20)

    assert (day.record().broken or "").startswith(type(error).__name__)
    assert day.ticks("good") == [10, 20]


def test_what_only_this_machine_lacks_is_left_to_others(day: Day, monkeypatch: pytest.MonkeyPatch):
    day.add(schedule=crontab(minute="*", timezone="Europe/Rome"))
    day.add("newer", spec='{"kind":"moon"}')
    day.add("good")
    zones.is_at_hand.cache_clear()
    monkeypatch.setattr(zones, "is_at_hand", lambda key: False)
    day.live(60)

    assert (day.record().broken, day.record("newer").broken) == (None, None)
    assert day.ticks() == day.ticks("newer") == []
    assert day.ticks("good") == [10, 20, 30, 40, 50, 60]


def test_hundreds_that_are_left_to_others_hold_up_nobody(day: Day):
    own = encode(Custom(Own(), "UTC"))
    job = NewJob("", "task", b"")
    assert all(
        day.transport.save_schedules(
            [
                ScheduleRecord(
                    name=f"own {n}",
                    task="task",
                    spec=own,
                    policy="{}",
                    job=job,
                    next_run=NOON - n,
                    created=0.0,
                )
                for n in range(600)
            ]
        )
    )
    day.add("good")
    day.looks = 0
    day.live(60)

    assert day.ticks("good") == [10, 20, 30, 40, 50, 60]
    assert day.looks < 300


def test_what_is_not_loaded_here_is_left_alone_told_once_and_in_nobodys_way(
    day: Day, caplog: pytest.LogCaptureFixture
):
    day.add("own", schedule=Custom(Own(), "UTC"))
    day.add("good")
    day.add("fine", every(0.25, anchor=NOON))
    day.looks = 0
    day.live(60)

    assert day.ticks("good") == [10, 20, 30, 40, 50, 60]
    assert day.ticks("fine") == [tick / 4 for tick in range(1, 241)]
    assert day.looks < 2 * 240 + 20
    assert len([line for line in caplog.messages if "left to others" in line]) == 1
    assert day.record("own").broken is None
    assert day.ticks("own") == []


def test_a_hundred_that_are_not_loaded_do_not_hide_those_behind_them(day: Day):
    for number in range(BATCH + 1):
        day.add(f"own{number}", schedule=Custom(Own(), "UTC"), next_run=NOON + 1)
    day.add("good")
    day.live(30)

    assert day.ticks("good") == [10, 20, 30]


def test_what_is_loaded_later_runs_then(day: Day):
    day.add(schedule=Custom(Own(), "UTC"))
    day.live(12)
    day.code.schedules["s"] = Custom(Own(), "UTC")
    day.live(20)

    assert day.ticks()[-1] == 30


# ---- signatures ------------------------------------------------------------------------------------


def signed(day: Day, signer: Signer, **fields: Any) -> None:
    spec = encode(every(10, anchor=NOON))
    job = Protection(signer).sign_template(NewJob("", "task", b"payload"), "s", spec, "{}")
    day.add(job=job, spec=spec, **fields)


def test_jobs_of_a_signed_schedule_are_signed(day: Day):
    day.code.signers["task"] = KEY
    signed(day, KEY)
    day.live(20)

    for job in day.jobs():
        found: Any = job
        assert KEY.refusal(found) is None
    assert day.ticks() == [10, 20]


@pytest.mark.parametrize(
    "forged",
    [
        {"spec": encode(every(1, anchor=NOON))},
        {"policy": encode_policy(Policy(catch_up="all"))},
        {"job": NewJob("", "task", b"payload")},
        {"name": "another"},
    ],
)
def test_a_schedule_that_nobody_with_the_key_has_written_is_broken(day: Day, forged: dict[str, Any]):
    day.code.signers["task"] = KEY
    signed(day, KEY)
    record = day.record()
    day.transport.remove_schedules(["s"])
    day.transport.save_schedules([replace(record, revision=0, **forged)])
    day.live(20)

    assert day.jobs() == []
    assert "signing_key" in (day.record(forged.get("name", "s")).broken or "")


def test_a_schedule_signed_with_another_key_is_broken(day: Day):
    day.code.signers["task"] = KEY
    signed(day, OTHER_KEY)
    day.live(20)

    assert "does not match" in (day.record().broken or "")


@pytest.mark.parametrize("signers", [{}, {"task": None}])
def test_a_signed_schedule_is_left_alone_where_its_key_is_not(day: Day, signers: dict[str, None]):
    day.code.signers.update(signers)
    signed(day, KEY)
    day.live(20)

    assert day.jobs() == []
    assert day.record().broken is None


def test_an_interval_that_begins_anew_is_signed_anew(day: Day):
    day.code.signers["task"] = KEY
    signed(day, KEY)
    day.live(20)
    day.clock.step(-HOUR)
    day.live(20)

    assert day.record().broken is None
    assert day.ticks() == [10, 20, 30 - HOUR, 40 - HOUR]


# ---- trouble ---------------------------------------------------------------------------------------


class Troubled:
    """A store that fails, as often as it is told, and then stops the scheduler."""

    def __init__(self, transport: Transport, *errors: Exception) -> None:
        self._transport = transport
        self.errors = list(errors)
        self.stop: Any = None
        self.waits: list[float] = []

    def next_tick(self) -> float | None:
        if self.errors:
            raise self.errors.pop(0)
        self.stop()
        return None

    def listen_for_schedules(self) -> Any:
        return self

    def arm(self) -> None:
        pass

    def wait(self, timeout: float) -> bool:
        self.waits.append(timeout)
        return False

    def ring(self) -> None:
        pass

    def close(self) -> None:
        pass

    def __getattr__(self, name: str) -> Any:
        return getattr(self._transport, name)


def run_through(day: Day, *errors: Exception) -> Troubled:
    troubled: Any = Troubled(day.transport, *errors)
    scheduler = day.another(troubled)
    troubled.stop = scheduler.stop
    scheduler.run()
    assert not scheduler.is_leader
    return troubled


def test_a_busy_store_is_tried_again_after_a_second_and_told_of_once(
    day: Day, caplog: pytest.LogCaptureFixture
):
    troubled = run_through(day, StoreBusyError("It is busy."), StoreBusyError("It is busy."))

    assert troubled.waits == [1.0, 1.0]
    assert len([line for line in caplog.messages if "busy" in line]) == 1


def test_what_nobody_expected_is_told_of_once_and_ends_nothing(day: Day, caplog: pytest.LogCaptureFixture):
    troubled = run_through(day, ZeroDivisionError("a bug"), ZeroDivisionError("a bug"))

    assert troubled.waits == [1.0, 1.0]
    (line,) = [line for line in caplog.records if line.levelno >= logging.ERROR]
    assert line.exc_info is not None


def test_a_store_that_cannot_serve_ends_it_and_frees_its_place(day: Day):
    with pytest.raises(StoreError):
        run_through(day, StoreReplacedError("It is gone."))
    other = day.another()
    other.look()
    assert other.is_leader


def test_a_change_by_anybody_wakes_it(day: Day):
    fired = threading.Event()
    fire = day.transport.fire

    def watched(firings: Sequence[Firing], now: float) -> list[bool]:
        done = fire(firings, now)
        fired.set()
        return done

    day.transport.fire = watched  # type: ignore[method-assign]
    thread = threading.Thread(target=day.scheduler.run)
    thread.start()
    try:
        day.add(next_run=NOON)
        assert fired.wait(30)
    finally:
        day.scheduler.stop()
        thread.join()
    assert len(day.jobs()) == 1
