"""How long an event loop is kept from its callbacks while coroutines enqueue and await results."""

from __future__ import annotations

import asyncio
import sys
import threading
import time
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from multiprocessing import get_context
from pathlib import Path

from liteq.bench.children import follow_parent
from liteq.bench.measuring import percentile
from liteq.bench.plan import Plan
from liteq.bench.tasks import Bench, open_bench
from liteq.bench.waiting import UNKNOWN
from liteq.bench.workloads import PATIENCE, check_done_once, working
from liteq.errors import WorkerError
from liteq.result import AsyncResult

__all__ = ["Lateness", "LoopDelays", "measure_loop"]

CALLERS = 50
"""Coroutines that call at the same time."""
TICK = 0.001
"""Seconds between two callbacks of the one that is measured."""
IDLE_TICKS = 1000
WRITES = 200
"""Jobs in each transaction of the busy writer."""
WARM_UP = 50


@dataclass(frozen=True, slots=True)
class Lateness:
    """How many milliseconds after it was due a callback was called.

    Time in which the loop's thread waited for a processor that others had is not counted, where the system
    tells it: that is the machine's affair.

    Attributes:
        ticks: how many callbacks were measured.
        p50: what half of them did not exceed.
        p99: the same of 99 in 100.
        longest: of all.
        with_machine: the longest with the waits for a processor; None where they are not told, and counted.
    """

    ticks: int
    p50: float
    p99: float
    longest: float
    with_machine: float | None


@dataclass(frozen=True, slots=True)
class LoopDelays:
    """An event loop that does nothing, and the same with calls beside a busy writer.

    Attributes:
        calls: how many were made and awaited.
        idle: of the loop alone.
        loaded: of the loop meanwhile.
    """

    calls: int
    idle: Lateness
    loaded: Lateness

    def rows(self) -> list[list[str]]:
        """Return a line for each."""
        rows = [
            ["a callback is late by, ms", "callbacks", "p50", "p99", "longest", "with waits for a processor"]
        ]
        loaded = f"{self.calls:,} calls, each awaited, beside a writer"
        for name, late in (("the loop alone", self.idle), (loaded, self.loaded)):
            figures = [f"{value:.2f}" for value in (late.p50, late.p99, late.longest)]
            longest = UNKNOWN if late.with_machine is None else f"{late.with_machine:.2f}"
            rows.append([name, f"{late.ticks:,}", *figures, longest])
        return rows


class Ticks:
    """A callback that comes again and again, and notes how late it is."""

    def __init__(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._late: list[float] = []
        self._own: list[float] = []
        self._wait()

    def _wait(self) -> None:
        self._waited = waited_for_processor()
        self._due = self._loop.time() + TICK
        self._handle = self._loop.call_at(self._due, self._tick)

    def _tick(self) -> None:
        late = self._loop.time() - self._due
        self._late.append(late * 1000)
        waited, before = waited_for_processor(), self._waited
        if waited is not None and before is not None:
            late = max(0.0, late - (waited - before))
        self._own.append(late * 1000)
        self._wait()

    def stop(self) -> Lateness:
        """Tick no more, and sum up."""
        self._handle.cancel()
        own = self._own
        longest = None if self._waited is None else max(self._late)
        return Lateness(len(own), percentile(own, 50), percentile(own, 99), max(own), longest)


def waited_for_processor() -> float | None:
    """Return the seconds that this thread has waited for a processor until now; None if that is not told."""
    if sys.platform != "linux":
        return None
    try:
        told = Path(f"/proc/self/task/{threading.get_native_id()}/schedstat").read_text(encoding="ascii")
        return int(told.split()[1]) / 1e9
    except (OSError, ValueError, IndexError):
        return None


def measure_loop(plan: Plan) -> LoopDelays:
    """Call and await from many coroutines, while another process stores jobs without a pause."""
    context = get_context("spawn")
    with working(plan) as (bench, gate), ProcessPoolExecutor(1, context, initializer=follow_parent) as pool:
        writing = pool.submit(write, plan, bench.path, gate)
        try:
            idle, loaded, results = asyncio.run(measure(plan, bench, gate.with_name("begun")))
        finally:
            gate.touch()
        if not writing.result(PATIENCE):
            raise WorkerError("The busy writer has stored nothing; nothing was measured.")
        check_done_once(bench, results)
    return LoopDelays(len(results), idle, loaded)


async def measure(
    plan: Plan, bench: Bench, begun: Path
) -> tuple[Lateness, Lateness, list[AsyncResult[None]]]:
    """Measure the loop alone, and with the calls."""
    for _ in range(WARM_UP):
        await (await bench.nothing.adelay()).aget(timeout=PATIENCE)
    ticks = Ticks()
    await asyncio.sleep(IDLE_TICKS * TICK)
    idle = ticks.stop()
    begun.touch()
    results: list[AsyncResult[None]] = []
    left = iter(range(plan.single_jobs))
    task = bench.nothing.options(priority=1)

    async def call() -> None:
        for _ in left:
            result = await task.adelay()
            await result.aget(timeout=PATIENCE)
            results.append(result)

    callers = [call() for _ in range(CALLERS)]
    ticks = Ticks()
    await asyncio.gather(*callers)
    return idle, ticks.stop(), results


def write(plan: Plan, path: Path, gate: Path) -> int:
    """Store jobs from when the calls begin until the gate is there; return how many."""
    begun = gate.with_name("begun")
    give_up = time.monotonic() + PATIENCE
    stored = 0
    with open_bench(plan, path.parent) as bench:
        while not gate.exists() and time.monotonic() < give_up:
            if begun.exists():
                # Expired at once, so that no backlog grows: what counts is the writing.
                calls = (bench.nothing.s().set(expires=0) for _ in range(WRITES))
                stored += len(bench.queue.enqueue_many(calls, atomic=True))
            else:
                time.sleep(TICK)
    return stored
