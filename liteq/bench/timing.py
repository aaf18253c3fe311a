"""What time costs: schedules that wait and that fire, and how late delayed jobs begin."""

from __future__ import annotations

import os
import statistics
import time
from dataclasses import dataclass

from liteq.bench.measuring import percentile
from liteq.bench.plan import Plan, fresh_folder
from liteq.bench.tasks import Bench, open_bench
from liteq.bench.waiting import UNKNOWN, cpu_of
from liteq.bench.workloads import PATIENCE, warm_up_workers
from liteq.firing import Policy, encode_policy, first_run
from liteq.job import NewJob
from liteq.schedule import encode, every
from liteq.timetable import ScheduleRecord
from liteq.worker.beating import Beat
from liteq.worker.scheduler import Scheduler

__all__ = ["Delays", "Schedules", "measure_delays", "measure_schedules"]

FEW, MANY = 10, 10_000
TICKS = 200
DAY = 86400.0
CALM_DOWN = 2.0
"""Seconds in which a scheduler that has become the leader looks through all schedules."""
HEAD_START = 1.0
APART = 0.03
"""Seconds between two delayed jobs, in which the workers fall asleep again."""


@dataclass(frozen=True, slots=True)
class Cost:
    """What a scheduler costs on one file.

    Attributes:
        schedules: how many are in the file.
        idle: the share of one core that it uses while none is due; None where this system cannot tell.
        tick: milliseconds to fire a tick of one of them; median.
    """

    schedules: int
    idle: float | None
    tick: float


@dataclass(frozen=True, slots=True)
class Schedules:
    """A file with few schedules and one with many.

    Attributes:
        seconds: for how long each was watched.
        few: ten schedules.
        many: ten thousand.
        tick_ratio: how many times as long a tick takes among many.
    """

    seconds: float
    few: Cost
    many: Cost
    tick_ratio: float

    def rows(self) -> list[list[str]]:
        """Return a column for each file."""
        few, many = self.few, self.many
        return [
            ["schedules in the file", f"{few.schedules:,}", f"{many.schedules:,}", "ratio"],
            [f"idle for {self.seconds:g} s, of one core", _share(few.idle), _share(many.idle), ""],
            ["one tick, ms", f"{few.tick:.3f}", f"{many.tick:.3f}", f"{self.tick_ratio:.2f}"],
        ]


@dataclass(frozen=True, slots=True)
class Delays:
    """How late delayed jobs begin while the workers have nothing else to do.

    Attributes:
        jobs: how many were measured.
        p50: milliseconds from when a job was due to its first line, which half of them did not exceed.
        p95: the same of 95 in 100.
        p99: the same of 99 in 100.
    """

    jobs: int
    p50: float
    p95: float
    p99: float

    def rows(self) -> list[list[str]]:
        """Return one line."""
        figures = [f"{value:.2f}" for value in (self.p50, self.p95, self.p99)]
        return [
            ["milliseconds", "jobs", "p50", "p95", "p99"],
            ["due to start of a delayed job", f"{self.jobs:,}", *figures],
        ]


def measure_schedules(plan: Plan) -> Schedules:
    """Let a scheduler wait and fire, on a file with few schedules and on one with many."""
    few, many = _measure_cost(plan, FEW), _measure_cost(plan, MANY)
    return Schedules(plan.idle, few, many, many.tick / few.tick)


def measure_delays(plan: Plan) -> Delays:
    """Enqueue jobs with a countdown, and see when they begin."""
    with (
        fresh_folder(plan) as folder,
        open_bench(plan, folder) as bench,
        bench.queue.start_workers(plan.workers),
    ):
        warm_up_workers(bench)
        calls = [
            bench.clock.s().set(countdown=HEAD_START + number * APART + number % 10 / 1000)
            for number in range(plan.calls)
        ]
        results = bench.queue.enqueue_many(calls)
        begun = [result.get(timeout=PATIENCE) for result in results]
        jobs = bench.queue.transport.get([result.id for result in results])
    late = [(began - job.due) * 1000 for began, job in zip(begun, jobs, strict=True) if job is not None]
    return Delays(len(late), *(percentile(late, percent) for percent in (50, 95, 99)))


def _measure_cost(plan: Plan, schedules: int) -> Cost:
    with fresh_folder(plan) as folder, open_bench(plan, folder) as bench:
        _add_schedules(bench, schedules)
        return Cost(schedules, _idle_share(plan, bench), _tick_cost(bench))


def _add_schedules(bench: Bench, number: int) -> None:
    """Store schedules, of which none is due before tomorrow."""
    now = time.time()
    # Not all at the same moment, and the one that is to fire alone among them.
    seconds = [DAY + each for each in range(number)]
    records = [_record(bench, f"schedule {each:g}", each, now) for each in seconds]
    bench.queue.transport.save_schedules(records)


def _record(bench: Bench, name: str, seconds: float, now: float) -> ScheduleRecord:
    schedule = every(seconds, anchor=now)
    return ScheduleRecord(
        name=name,
        task=bench.nothing.name,
        spec=encode(schedule),
        policy=encode_policy(Policy()),
        job=NewJob("", bench.nothing.name, b""),
        next_run=first_run(schedule, Policy(), now),
        created=now,
    )


def _idle_share(plan: Plan, bench: Bench) -> float | None:
    """Return the share of one core that a scheduler uses while nothing is due."""
    beat = Beat(Scheduler(bench.queue.transport))
    beat.start()
    try:
        time.sleep(CALM_DOWN)
        # The main thread sleeps meanwhile: what is used, the scheduler uses.
        used = cpu_of([os.getpid()])
        time.sleep(plan.idle)
        now = cpu_of([os.getpid()])
    finally:
        beat.stop()
    return None if used is None or now is None else (now - used) / plan.idle


class _Turned:
    """A clock that goes on only when it is told to."""

    def __init__(self) -> None:
        self.now = time.time()

    def wall(self) -> float:
        return self.now

    def monotonic(self) -> float:
        return self.now

    def sleep(self, seconds: float) -> None:
        self.now += seconds


def _tick_cost(bench: Bench) -> float:
    """Return the milliseconds in which a scheduler fires one tick and looks when the next one is."""
    clock = _Turned()
    bench.queue.transport.save_schedules([_record(bench, "the one that fires", 1.0, clock.now)])
    scheduler = Scheduler(bench.queue.transport, clock)
    times = []
    while scheduler.look() == 0.0:
        pass
    for _ in range(TICKS):
        clock.now += 1.0
        began = time.perf_counter()
        while scheduler.look() == 0.0:
            pass
        times.append(time.perf_counter() - began)
    scheduler.close()
    return statistics.median(times) * 1000


def _share(value: float | None) -> str:
    return UNKNOWN if value is None else f"{100 * value:.3f} %"
