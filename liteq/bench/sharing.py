"""How work is shared: a long job among short ones, producers that compete, and more and more workers."""

from __future__ import annotations

import os
import time
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, replace
from multiprocessing import get_context
from multiprocessing.synchronize import Barrier
from pathlib import Path

from liteq.bench.children import follow_parent
from liteq.bench.plan import Plan
from liteq.bench.tasks import Bench, open_bench
from liteq.bench.workloads import PATIENCE, check_done_once, wait_for_all, working
from liteq.errors import WorkerError
from liteq.result import AsyncResult
from liteq.task import Task

__all__ = ["LongJob", "Producers", "Scaling", "measure_long_job", "measure_producers", "measure_scaling"]

SHORT = 0.002
"""Seconds that each of the short jobs takes."""
MOST_SHORT_JOBS = 2000
PRODUCERS = 8
WORKERS = (1, 2, 4)
DURATIONS = (0.0, 0.001, 0.01, 0.1)
CELL = 2.0
"""Seconds that a cell of the table takes, about."""


# ---- a long job among short ones ------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class LongJob:
    """Short jobs beside a long one.

    Attributes:
        jobs: how many short ones.
        long: seconds that the long one takes.
        workers: how many workers had the long job among the short ones.
        beside: seconds until all the short ones were done, with the long one among them.
        alone: the same with one worker less and no long job.
        still_running: whether the long one was still at it when they were done.
    """

    jobs: int
    long: float
    workers: int
    beside: float
    alone: float
    still_running: bool

    def rows(self) -> list[list[str]]:
        """Return a line for each run."""
        state = "still running" if self.still_running else "done"
        return [
            [f"{self.jobs:,} jobs of {SHORT * 1000:g} ms", "seconds", ""],
            [
                f"{self.workers} workers, one job of {self.long:g} s among them",
                f"{self.beside:.2f}",
                f"long job {state}",
            ],
            [f"{self.workers - 1} without it", f"{self.alone:.2f}", ""],
        ]


def measure_long_job(plan: Plan) -> LongJob:
    """Work off short jobs with a long one among them, and without it by one worker less."""
    jobs = min(plan.jobs, MOST_SHORT_JOBS)
    plan = replace(plan, workers=max(2, plan.workers))
    with working(plan) as (bench, _):
        short = [bench.sleep.s(SHORT) for _ in range(jobs)]
        # With others before it, so that it is claimed together with them if ever.
        calls = [*short[: jobs // 2], bench.sleep.s(plan.seconds), *short[jobs // 2 :]]
        began = time.perf_counter()
        results = bench.queue.enqueue_many(calls)
        long = results.pop(jobs // 2)
        wait_for_each(results)
        beside = time.perf_counter() - began
        still_running = not long.ready()
        long.get(timeout=PATIENCE)
        check_done_once(bench, [*results, long])
    with working(replace(plan, workers=plan.workers - 1)) as (bench, _):
        began = time.perf_counter()
        wait_for_each(bench.queue.enqueue_many(bench.sleep.s(SHORT) for _ in range(jobs)))
        alone = time.perf_counter() - began
    return LongJob(jobs, plan.seconds, plan.workers, beside, alone, still_running)


def wait_for_each(results: Sequence[AsyncResult[None]]) -> None:
    """Wait for every job, in whatever order they end."""
    for result in results:
        result.get(timeout=PATIENCE)


# ---- producers that compete -------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Producers:
    """Several processes that call `delay()` as fast as they can, while workers run.

    Attributes:
        seconds: for how long.
        calls: of each producer.
        longest: milliseconds of the longest call of all.
        least_share: the calls of the producer that came off worst, as a share of the mean.
    """

    seconds: float
    calls: list[int]
    longest: float
    least_share: float

    def rows(self) -> list[list[str]]:
        """Return the figures in one line."""
        rate = sum(self.calls) / self.seconds
        return [
            [
                f"{len(self.calls)} producers for {self.seconds:g} s",
                "calls per second",
                "longest call, ms",
                "least share",
            ],
            ["delay() beside the workers", f"{rate:,.0f}", f"{self.longest:.1f}", f"{self.least_share:.2f}"],
        ]


def measure_producers(plan: Plan) -> Producers:
    """Let the producers go at one moment, and wait until the workers have done all their jobs."""
    context = get_context("spawn")
    gate = context.Barrier(PRODUCERS)
    with (
        working(plan) as (bench, _),
        ProcessPoolExecutor(PRODUCERS, context, initializer=share, initargs=(gate,)) as pool,
    ):
        futures = [pool.submit(produce, replace(plan, folder=bench.path.parent)) for _ in range(PRODUCERS)]
        found = [future.result() for future in futures]
        last = bench.nothing.delay()
        last.get(timeout=PATIENCE)
        stored = sum(lane.jobs for lane in bench.queue.transport.count() if lane.state == "SUCCESS")
    calls = [calls for calls, _ in found]
    if stored < sum(calls):
        raise WorkerError(f"{sum(calls)} jobs were enqueued, and {stored} were done; nothing was measured.")
    longest = max(longest for _, longest in found) * 1000
    return Producers(plan.seconds, calls, longest, min(calls) / (sum(calls) / PRODUCERS))


shared: list[Barrier] = []
"""In a producer's process: what lets all go at one moment."""


def share(gate: Barrier) -> None:
    """Prepare a producer's process."""
    follow_parent()
    shared.append(gate)


def produce(plan: Plan) -> tuple[int, float]:
    """Call `delay()` until the time is over; return how often, and the seconds of the longest call."""
    calls, longest = 0, 0.0
    with open_bench(plan, Path(plan.folder)) as bench:
        # Opens the file, which is no part of a call.
        bench.queue.transport.count()
        shared[0].wait(PATIENCE)
        end = time.perf_counter() + plan.seconds
        before = time.perf_counter()
        while before < end:
            bench.nothing.delay()
            after = time.perf_counter()
            longest = max(longest, after - before)
            calls += 1
            before = after
    return calls, longest


# ---- more and more workers --------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Cell:
    """What so many workers do of one kind of task.

    Attributes:
        workers: how many processes.
        kind: whether the task sleeps or computes.
        seconds: that it takes.
        rate: jobs per second.
        ideal: what workers, or cores if there are fewer, can do at most; None for a task that takes no time.
    """

    workers: int
    kind: str
    seconds: float
    rate: float
    ideal: float | None


@dataclass(frozen=True, slots=True)
class Scaling:
    """The throughput of different numbers of workers, on tasks of different lengths."""

    cells: list[Cell]

    def rows(self) -> list[list[str]]:
        """Return a line for each kind of task, and two columns for each number of workers."""
        heads = [text for count in WORKERS for text in (f"workers: {count}", "of ideal")]
        rows = [["jobs per second", *heads]]
        for kind in ("sleep", "compute"):
            for seconds in DURATIONS:
                row = [f"{kind} {seconds * 1000:g} ms"]
                for cell in self.cells:
                    if (cell.kind, cell.seconds) == (kind, seconds):
                        share = "" if cell.ideal is None else f"{cell.rate / cell.ideal:.2f}"
                        row += [f"{cell.rate:,.0f}", share]
                rows.append(row)
        return rows


def measure_scaling(plan: Plan) -> Scaling:
    """Measure each number of workers on each kind of task."""
    cells = []
    for workers in WORKERS:
        with working(replace(plan, workers=workers)) as (bench, _):
            for kind, task in (("sleep", bench.sleep), ("compute", bench.compute)):
                cells += [measure_cell(plan, bench, workers, kind, task, seconds) for seconds in DURATIONS]
    return Scaling(cells)


def measure_cell(
    plan: Plan, bench: Bench, workers: int, kind: str, task: Task[[float], None], seconds: float
) -> Cell:
    """Work off as many jobs as take `CELL` seconds, or as the plan has."""
    at_once = workers if kind == "sleep" else min(workers, os.cpu_count() or workers)
    ideal = at_once / seconds if seconds else None
    # A multiple of the workers, so that none of them has nothing to do while others end.
    jobs = plan.jobs if ideal is None else max(1, min(plan.jobs, int(CELL * ideal)) // workers) * workers
    # So that the workers know how long the task takes.
    wait_for_each(bench.queue.enqueue_many(task.s(seconds) for _ in range(4 * workers)))
    began = time.perf_counter()
    results = bench.queue.enqueue_many(task.s(seconds) for _ in range(jobs))
    if seconds:
        wait_for_each(results)
    else:
        wait_for_all(bench, results, workers)
    taken = time.perf_counter() - began
    check_done_once(bench, results)
    return Cell(workers, kind, seconds, jobs / taken, ideal)
