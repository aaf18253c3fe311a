"""What a large file costs: claims and drains beside a million jobs, and how the file grows."""

from __future__ import annotations

import random
import statistics
import time
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from liteq.bench.plan import Plan
from liteq.bench.tasks import Bench
from liteq.bench.waiting import megabytes
from liteq.bench.workloads import check_gone, held, wait_for_all, wait_for_last, working
from liteq.job import Claim, ClaimRequest, WorkerInfo
from liteq.lifecycle import Succeeded, decide
from liteq.result import AsyncResult

__all__ = ["Backlog", "Growth", "measure_backlog", "measure_growth"]

FEW = 1000
"""Jobs of each kind in the file that the large one is compared with."""
FAR = 1_000_000.0
"""Seconds by which the delayed jobs are delayed."""
TURNS = 5
"""Turns between two refills; they claim 640 jobs, so that a file with a thousand never runs dry."""
REFILLS = 20
LIMIT = 128
CYCLES = 5


@dataclass(frozen=True, slots=True)
class Cost:
    """What working on one file costs.

    Attributes:
        jobs: of each kind: ready, delayed and finished.
        turn: milliseconds to settle a batch of 128 and claim the next; median.
        drain: jobs per second, worked off by the workers.
    """

    jobs: int
    turn: float
    drain: float


@dataclass(frozen=True, slots=True)
class Backlog:
    """A small file and a large one.

    Attributes:
        small: a thousand jobs of each kind.
        large: many.
        turn_ratio: how many times as long a turn takes on the large one.
        drain_ratio: the large one's drain rate as a share of the small one's.
    """

    small: Cost
    large: Cost
    turn_ratio: float
    drain_ratio: float

    def rows(self) -> list[list[str]]:
        """Return a column for each file."""
        small, large = self.small, self.large
        return [
            ["ready, delayed and finished, each", f"{small.jobs:,}", f"{large.jobs:,}", "ratio"],
            [
                "turn: settle and claim 128, ms",
                f"{small.turn:.2f}",
                f"{large.turn:.2f}",
                f"{self.turn_ratio:.2f}",
            ],
            [
                "drain, jobs per second",
                f"{small.drain:,.0f}",
                f"{large.drain:,.0f}",
                f"{self.drain_ratio:.2f}",
            ],
        ]


@dataclass(frozen=True, slots=True)
class Growth:
    """The size of the file after each time it was filled and drained.

    Attributes:
        jobs: stored in each cycle, and gone at its end.
        sizes: bytes of the database after each cycle.
    """

    jobs: int
    sizes: list[int]

    def rows(self) -> list[list[str]]:
        """Return a column for each cycle."""
        cycles = [f"cycle {number}" for number in range(1, len(self.sizes) + 1)]
        sizes = [megabytes(size) for size in self.sizes]
        return [[f"filled with {self.jobs:,} jobs and drained", *cycles], ["size of the file", *sizes]]


def measure_backlog(plan: Plan) -> Backlog:
    """Do the same work on a small file and on a large one."""
    small, large = measure_cost(plan, FEW), measure_cost(plan, max(FEW, plan.backlog))
    return Backlog(small, large, large.turn / small.turn, large.drain / small.drain)


def measure_cost(plan: Plan, jobs: int) -> Cost:
    """Fill a file with jobs of each kind, take turns, and let the workers drain some."""
    with working(plan) as (bench, gate):
        finished = bench.queue.enqueue_many(bench.nothing.s() for _ in range(jobs))
        wait_for_all(bench, finished, plan.workers)
        with held(bench, plan.workers, gate) as let_go:
            delayed = bench.nothing.s().set(countdown=FAR)
            bench.queue.enqueue_many(delayed for _ in range(jobs))
            ready = deque(bench.queue.enqueue_many(bench.nothing.s() for _ in range(jobs)))
            turn = measure_turns(bench, ready)
            missing = max(0, plan.jobs - len(ready))
            ready += bench.queue.enqueue_many(bench.nothing.s() for _ in range(missing))
            watched = [ready.popleft() for _ in range(plan.jobs)]
            began = time.perf_counter()
            let_go()
            wait_for_last(bench, watched, plan.workers)
            seconds = time.perf_counter() - began
    return Cost(jobs, turn * 1000, plan.jobs / seconds)


def measure_turns(bench: Bench, ready: deque[AsyncResult[None]]) -> float:
    """Settle and claim again and again, while as many jobs come in; return the seconds of the median turn."""
    transport = bench.queue.transport
    request = ClaimRequest({bench.nothing.name: 1}, limit=LIMIT)
    times = []
    with registered(bench) as holder:
        claimed: list[Claim] = []
        for _ in range(REFILLS):
            for _ in range(TURNS):
                now = time.time()
                decided = [decide(job, Succeeded(), now, random.random) for job in claimed]
                began = time.perf_counter()
                claimed = transport.turn(holder, now, decided, request).claimed
                times.append(time.perf_counter() - began)
                for _ in claimed:
                    ready.popleft()
            ready += bench.queue.enqueue_many(bench.nothing.s() for _ in range(TURNS * LIMIT))
        now = time.time()
        transport.turn(holder, now, [decide(job, Succeeded(), now, random.random) for job in claimed])
    return statistics.median(times)


@contextmanager
def registered(bench: Bench) -> Iterator[int]:
    """Lend a holder number of this process's own."""
    transport = bench.queue.transport
    holder = transport.register(WorkerInfo("bench", "", 0, 0), 60.0, time.time())
    try:
        yield holder
    finally:
        transport.unregister(holder)


def measure_growth(plan: Plan) -> Growth:
    """Fill a file and drain it again and again, with jobs that leave nothing behind."""
    sizes = []
    with working(plan) as (bench, gate):
        for _ in range(CYCLES):
            call = bench.nothing.s().set(ignore_result=True)
            with held(bench, plan.workers, gate):
                results = bench.queue.enqueue_many(call for _ in range(plan.jobs))
            wait_for_all(bench, results, plan.workers)
            check_gone(bench, results)
            gate.unlink()
            sizes.append(bench.path.stat().st_size)
    return Growth(plan.jobs, sizes)
