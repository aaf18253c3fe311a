"""What is measured: the same loops for every peer.

Each looks afterwards, on its own time, whether the work was really done.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from peers.adapter import Adapter
from peers.board import Board

__all__ = [
    "Bench",
    "NotDoneError",
    "bare_calls",
    "drain",
    "end_to_end",
    "end_to_end_in_bulk",
    "enqueue_in_bulk",
    "enqueue_one_by_one",
    "latency",
    "wait_for_first",
    "warm_up",
]

PATIENCE = 60.0
"""Seconds to wait for anything that the workers are to do."""
PAUSE = 0.005
"""Seconds before a call whose latency is taken, in which the workers fall asleep again."""
LOOK = 0.0005
"""Seconds between two looks at the board."""
HOLD_TIME = 0.1
"""Seconds after which a hold that has not begun is thought to wait behind another one in the same process."""
WARM_UP = 100
LATENCY_SECONDS = 4.0
FEWEST_CALLS = 10


class NotDoneError(Exception):
    """Work was lost, or was not done in time."""


@dataclass
class Bench:
    """One peer with a store of its own, and the numbers that its jobs have."""

    adapter: Adapter
    board: Board
    used: int = 0
    alive: Callable[[], bool] = lambda: True
    """Whether the workers are there that were started."""

    def number(self, count: int) -> range:
        """Return numbers for so many jobs."""
        first, self.used = self.used, self.used + count
        return range(first, self.used)


def enqueue_one_by_one(bench: Bench, count: int) -> float:
    """Call the task again and again, with no workers; return calls per second."""
    return enqueue(bench, count, lambda jobs: [bench.adapter.delay(job, False) for job in jobs])


def enqueue_in_bulk(bench: Bench, count: int) -> float:
    """Call the task for many at once, with no workers; return calls per second."""
    return enqueue(bench, count, lambda jobs: bench.adapter.delay_many(jobs, False))


def enqueue(bench: Bench, count: int, call: Any) -> float:
    """Store jobs, and see that they are there."""
    # The first call opens connections.
    bench.adapter.delay(bench.number(1)[0], False)
    before = bench.adapter.outstanding()
    jobs = bench.number(count)
    began = time.perf_counter()
    call(jobs)
    seconds = time.perf_counter() - began
    stored = bench.adapter.outstanding() - before
    if stored != count:
        raise NotDoneError(f"{count} jobs were enqueued, and {stored} are stored")
    return count / seconds


def wait_for_first(bench: Bench) -> None:
    """Wait until the first of all jobs has run."""
    wait_until_run(bench, range(1))


def warm_up(bench: Bench) -> None:
    """Let the workers run each task a number of times."""
    for keep in (False, True)[: 1 + bench.adapter.keeps_results]:
        jobs = bench.number(WARM_UP)
        handles = bench.adapter.delay_many(jobs, keep)
        wait_until_run(bench, jobs)
        if keep:
            bench.adapter.values(handles)
    wait_until_settled(bench)


def drain(bench: Bench, count: int, keep: bool) -> float:
    """Let workers that are up work off stored jobs; return jobs per second.

    They are held while the jobs are stored. Time runs until every job has run, and the caller has the last
    results in hand; or, without results, until the store says that nothing is outstanding.
    """
    with held(bench):
        jobs = bench.number(count)
        handles = bench.adapter.delay_many(jobs, keep)
        began = time.perf_counter()
        bench.board.open_gate()
        wait_until_done(bench, jobs, handles, keep)
        seconds = time.perf_counter() - began
    check(bench, jobs, handles, keep)
    return count / seconds


def bare_calls(bench: Bench, count: int) -> float:
    """Store jobs as the driver of the store alone would, a call for each; return calls per second."""
    began = time.perf_counter()
    bench.adapter.bare_calls(count)
    return count / (time.perf_counter() - began)


def end_to_end(bench: Bench, count: int) -> float:
    """Call the task again and again while workers run, until the last job is done; return jobs per second."""
    keep = bench.adapter.keeps_results
    return until_done(bench, count, lambda jobs: [bench.adapter.delay(job, keep) for job in jobs])


def end_to_end_in_bulk(bench: Bench, count: int) -> float:
    """Call the task for many at once while workers run, until the last is done; return jobs per second."""
    keep = bench.adapter.keeps_results
    return until_done(bench, count, lambda jobs: bench.adapter.delay_many(jobs, keep))


def until_done(bench: Bench, count: int, call: Callable[[range], list[Any]]) -> float:
    """Call the task with workers at work, and see that everything was done; return jobs per second."""
    keep = bench.adapter.keeps_results
    jobs = bench.number(count)
    began = time.perf_counter()
    handles = call(jobs)
    wait_until_done(bench, jobs, handles, keep)
    seconds = time.perf_counter() - began
    check(bench, jobs, handles, keep)
    return count / seconds


def latency(bench: Bench, calls: int) -> tuple[list[float], list[float]]:
    """Call the task while the workers are idle; return the milliseconds to its start and to its result.

    There are fewer calls if they take longer than `LATENCY_SECONDS`, and no results if the peer has none.
    """
    keep = bench.adapter.keeps_results
    starts, results = [], []
    began = time.monotonic()
    for job in bench.number(calls):
        if time.monotonic() - began > LATENCY_SECONDS and len(starts) >= FEWEST_CALLS:
            break
        time.sleep(PAUSE)
        # The wall clock, because it is the one clock that all processes share.
        called = time.time()
        handle = bench.adapter.delay(job, keep)
        if keep:
            bench.adapter.value(handle)
            results.append((time.time() - called) * 1000)
        else:
            wait_until_run(bench, range(job, job + 1))
        starts.append((bench.board.started(job) - called) * 1000)
    return starts, results


@contextmanager
def held(bench: Bench) -> Iterator[None]:
    """Occupy everything that runs jobs for the length of the block, or until the gate is opened in it."""
    board, slots = bench.board, bench.adapter.slots
    board.close_gate()
    try:
        for place in range(4 * slots + 8):
            if board.held() >= slots:
                break
            before = board.held()
            bench.adapter.delay_hold(place)
            # Several in a row may be fetched by one process; the next is then for another one.
            give_up = time.monotonic() + HOLD_TIME
            while board.held() == before and time.monotonic() < give_up:
                time.sleep(LOOK)
        wait(
            bench,
            lambda: board.held() >= slots,
            lambda: f"not all of {slots} places for jobs could be occupied",
        )
        yield
    finally:
        board.open_gate()
    wait_until_settled(bench)


def wait_until_done(bench: Bench, jobs: range, handles: Sequence[Any], keep: bool) -> None:
    """Wait until jobs have run, and until their results are there or the store has settled them."""
    # The board is asked first: a look at it costs the workers nothing, and the same with every peer.
    wait_until_run(bench, jobs)
    if keep:
        bench.adapter.values(handles[-bench.adapter.in_flight :])
    else:
        wait_until_settled(bench)


def wait_until_run(bench: Bench, jobs: range) -> None:
    """Wait until these jobs have run."""
    wait(
        bench,
        lambda: not bench.board.missing(jobs),
        lambda: f"{bench.board.missing(jobs)} of {len(jobs)} did not run",
    )


def wait_until_settled(bench: Bench) -> None:
    """Wait until the store has nothing outstanding."""
    wait(
        bench,
        lambda: not bench.adapter.outstanding(),
        lambda: f"{bench.adapter.outstanding()} jobs stayed outstanding",
    )


def wait(bench: Bench, done: Callable[[], bool], otherwise: Callable[[], str]) -> None:
    """Wait until something is so.

    Raises:
        NotDoneError: it was not within `PATIENCE`, or the workers have ended.
    """
    give_up = time.monotonic() + PATIENCE
    looks = 0
    while not done():
        looks += 1
        if looks % 200 == 0 and not bench.alive():
            raise NotDoneError(f"the workers have ended: {otherwise()}")
        if time.monotonic() > give_up:
            raise NotDoneError(f"{otherwise()} within {PATIENCE:g} s")
        time.sleep(LOOK)


def check(bench: Bench, jobs: range, handles: Sequence[Any], keep: bool) -> None:
    """Make sure that each job ran exactly once, and that its result is there."""
    runs = bench.board.runs(jobs)
    if runs != [1] * len(jobs):
        often = sum(times > 1 for times in runs)
        raise NotDoneError(f"of {len(jobs)} jobs {runs.count(0)} did not run, and {often} ran more than once")
    if keep:
        wrong = sum(value != job for value, job in zip(bench.adapter.values(handles), jobs, strict=True))
        if wrong:
            raise NotDoneError(f"of {len(jobs)} results {wrong} were wrong or missing")
