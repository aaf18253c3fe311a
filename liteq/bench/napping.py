"""Jobs that wait, beside each other on the event loop of one worker process."""

from __future__ import annotations

import time
from dataclasses import dataclass

from liteq.bench.plan import Plan, fresh_folder
from liteq.bench.tasks import open_bench
from liteq.bench.workloads import PATIENCE, check_done_once

__all__ = ["Naps", "measure_naps"]

JOBS = 1000
SECONDS = 1.0


@dataclass(frozen=True, slots=True)
class Naps:
    """How long many jobs take that each wait for a while.

    Attributes:
        jobs: how many; as many run at once.
        seconds: how long each waits.
        begun: seconds from when they were being enqueued until the last one had begun.
        done: until the caller had the last result.
    """

    jobs: int
    seconds: float
    begun: float
    done: float

    def rows(self) -> list[list[str]]:
        """Return a line for each moment."""
        return [
            [f"{self.jobs:,} jobs that wait for {self.seconds:g} s, in one process", "seconds"],
            ["until all have begun", f"{self.begun:.3f}"],
            ["until all are done", f"{self.done:.3f}"],
        ]


def measure_naps(plan: Plan) -> Naps:
    """Let a process of the pool `asyncio` wait for as many jobs at once as there are."""
    jobs = min(plan.jobs, JOBS)
    with (
        fresh_folder(plan) as folder,
        open_bench(plan, folder) as bench,
        bench.queue.start_workers(jobs, pool="asyncio", beat=False),
    ):
        bench.nap.delay(0.0).get(timeout=PATIENCE)
        wall, start = time.time(), time.monotonic()
        results = bench.queue.enqueue_many(bench.nap.s(SECONDS) for _ in range(jobs))
        begun = max(result.get(timeout=PATIENCE) for result in results)
        done = time.monotonic() - start
        check_done_once(bench, results)
    return Naps(jobs, SECONDS, begun - wall, done)
