"""The throughput of liteq: each function does a workload once and returns the seconds that it took.

Each makes a file of its own, and afterwards, on its own time, looks whether the work was really done.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from liteq.bench.plan import Plan, fresh_folder
from liteq.bench.tasks import Bench, open_bench
from liteq.errors import WorkerError
from liteq.job import ClaimRequest, Job
from liteq.result import AsyncResult
from liteq.states import STARTED, SUCCESS

__all__ = [
    "THREADS",
    "drain",
    "drain_without_results",
    "end_to_end",
    "enqueue_by_threads",
    "enqueue_in_bulk",
    "enqueue_one_by_one",
    "warm_up_workers",
]

THREADS = 16
"""Threads that enqueue at the same time."""

PATIENCE = 120.0
"""Seconds to wait for anything that the workers are to do."""
WARM_UP_JOBS = 256
IN_FLIGHT = 128
"""The most jobs that a worker claims at once."""


def enqueue_one_by_one(plan: Plan) -> float:
    """Call `delay()` for each job, with no workers."""
    with fresh_folder(plan) as folder, open_bench(plan, folder) as bench:
        bench.nothing.delay()
        began = time.perf_counter()
        for _ in range(plan.single_jobs):
            bench.nothing.delay()
        seconds = time.perf_counter() - began
        check_waiting(bench, plan.single_jobs + 1)
    return seconds


def enqueue_by_threads(plan: Plan) -> float:
    """Call `delay()` for each job from many threads at once, with no workers."""
    with fresh_folder(plan) as folder, open_bench(plan, folder) as bench:
        bench.nothing.delay()
        gate = threading.Barrier(THREADS + 1)

        def enqueue(jobs: int) -> None:
            gate.wait(PATIENCE)
            for _ in range(jobs):
                bench.nothing.delay()

        with ThreadPoolExecutor(THREADS) as pool:
            shares = [len(range(first, plan.single_jobs, THREADS)) for first in range(THREADS)]
            running = [pool.submit(enqueue, jobs) for jobs in shares]
            gate.wait(PATIENCE)
            began = time.perf_counter()
            for each in running:
                each.result()
            seconds = time.perf_counter() - began
        check_waiting(bench, plan.single_jobs + 1)
    return seconds


def enqueue_in_bulk(plan: Plan) -> float:
    """Give all jobs to one `enqueue_many()`, with no workers."""
    with fresh_folder(plan) as folder, open_bench(plan, folder) as bench:
        bench.nothing.delay()
        began = time.perf_counter()
        bench.queue.enqueue_many(bench.nothing.s() for _ in range(plan.jobs))
        seconds = time.perf_counter() - began
        check_waiting(bench, plan.jobs + 1)
    return seconds


def drain(plan: Plan) -> float:
    """Let workers that are up and running work off jobs that are stored, until all results are stored.

    The workers are held by a job each while the jobs are stored. Time runs from the moment at which they
    are let go until the caller has seen the last result.
    """
    with working(plan) as (bench, gate):
        with held(bench, plan.workers, gate) as let_go:
            results = bench.queue.enqueue_many(bench.nothing.s() for _ in range(plan.jobs))
            began = time.perf_counter()
            let_go()
            wait_for_all(bench, results, plan.workers)
            seconds = time.perf_counter() - began
        check_done_once(bench, results)
    return seconds


def drain_without_results(plan: Plan) -> float:
    """Do the same with jobs that leave nothing behind, until the file holds none of them."""
    with working(plan) as (bench, gate):
        with held(bench, plan.workers, gate) as let_go:
            call = bench.nothing.s().set(ignore_result=True)
            results = bench.queue.enqueue_many(call for _ in range(plan.jobs))
            began = time.perf_counter()
            let_go()
            wait_for_all(bench, results, plan.workers)
            seconds = time.perf_counter() - began
        check_gone(bench, results)
    return seconds


def end_to_end(plan: Plan) -> float:
    """Call `delay()` for each job while the workers run, until the caller has seen the last result."""
    with working(plan) as (bench, _):
        began = time.perf_counter()
        results = [bench.nothing.delay() for _ in range(plan.jobs)]
        wait_for_all(bench, results, plan.workers)
        seconds = time.perf_counter() - began
        check_done_once(bench, results)
    return seconds


@contextmanager
def working(plan: Plan) -> Iterator[tuple[Bench, Path]]:
    """Lend a queue whose workers are up and warm, and the path of a gate to hold them."""
    with (
        fresh_folder(plan) as folder,
        open_bench(plan, folder) as bench,
        bench.queue.start_workers(plan.workers),
    ):
        warm_up_workers(bench)
        yield bench, folder / "gate"


def warm_up_workers(bench: Bench) -> None:
    """Let the workers run each task a few times, so that they have learned how long it takes."""
    results = bench.queue.enqueue_many(bench.nothing.s() for _ in range(WARM_UP_JOBS))
    bench.clock.delay().get(timeout=PATIENCE)
    for result in results:
        result.get(timeout=PATIENCE)


@contextmanager
def held(bench: Bench, workers: int, gate: Path) -> Iterator[Callable[[], None]]:
    """Hold all workers, and lend what lets them go; they are let go at the end of the block anyway."""
    try:
        hold = bench.hold.options(priority=1)
        holds = [hold.delay(str(gate)) for _ in range(workers)]
        give_up = time.monotonic() + PATIENCE
        while any(hold.status != STARTED for hold in holds):
            if time.monotonic() > give_up:
                raise WorkerError(f"Not all {workers} workers have taken a job within {PATIENCE:g} s.")
            time.sleep(0.005)
        yield gate.touch
    finally:
        gate.touch()


def wait_for_all(bench: Bench, results: Sequence[AsyncResult[None]], workers: int) -> None:
    """Wait until every job is finished, and no other is left; costs the workers no time while they are at it.

    Jobs are claimed in order, so that when the last one is finished only those can be missing that other
    workers had claimed just before it, or that one which was held up had handed back.
    """
    wait_for_last(bench, results, workers)
    give_up = time.monotonic() + PATIENCE
    while not nothing_is_left(bench):
        pause_until(give_up)


def wait_for_last(bench: Bench, results: Sequence[AsyncResult[None]], workers: int) -> None:
    """Wait until the last jobs are finished, of which any worker can have claimed some."""
    results[-1].get(timeout=PATIENCE)
    give_up = time.monotonic() + PATIENCE
    while not all(job is None or job.finished for job in read(bench, results[-workers * IN_FLIGHT :])):
        pause_until(give_up)


def pause_until(give_up: float) -> None:
    """Sleep for a moment, or raise if it is too late for that."""
    if time.monotonic() > give_up:
        raise WorkerError(f"The last job is finished, and others were not within {PATIENCE:g} s.")
    time.sleep(0.0005)


def nothing_is_left(bench: Bench) -> bool:
    """Tell whether no job is ready and none is in the hands of a worker."""
    transport = bench.queue.transport
    due = transport.next_due(ClaimRequest(dict.fromkeys(bench.queue.tasks, 1)))
    return due is None and not any(record.leases for record in transport.workers())


def read(bench: Bench, results: Sequence[AsyncResult[Any]]) -> Iterator[Job | None]:
    """Read the jobs of results."""
    for first in range(0, len(results), 500):
        yield from bench.queue.transport.get([result.id for result in results[first : first + 500]])


def check_waiting(bench: Bench, jobs: int) -> None:
    """Make sure that so many jobs are stored."""
    stored = sum(lane.jobs for lane in bench.queue.transport.count() if lane.waiting == "ready")
    if stored != jobs:
        raise WorkerError(f"{jobs} jobs were enqueued, and {stored} are waiting; nothing was measured.")


def check_gone(bench: Bench, results: Sequence[AsyncResult[None]]) -> None:
    """Make sure that no job is left, as is right for those that leave no record when they succeed."""
    left = sum(job is not None for job in read(bench, results))
    if left:
        raise WorkerError(f"Of {len(results)} jobs {left} are left; nothing was measured.")


def check_done_once(bench: Bench, results: Sequence[AsyncResult[Any]]) -> None:
    """Make sure that every job ran exactly once, and well."""
    done = sum(job is not None and job.state == SUCCESS and job.attempts == 1 for job in read(bench, results))
    if done != len(results):
        raise WorkerError(f"Of {len(results)} jobs {done} ran exactly once; nothing was measured.")
