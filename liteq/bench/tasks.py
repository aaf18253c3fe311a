"""The tasks of the benchmark, in a module that worker processes import."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from liteq.bench.plan import Plan
from liteq.queue import Queue
from liteq.task import AsyncTask, Task

__all__ = ["Bench", "open_bench"]

LONGEST_HOLD = 120.0
"""Seconds after which a held worker goes on, if whoever held it has gone."""


def nothing() -> None:
    """Do nothing."""


def clock() -> float:
    """Return the wall time at which the task began."""
    return time.time()


def hold(gate: str) -> None:
    """Occupy a worker until a file is there."""
    give_up = time.monotonic() + LONGEST_HOLD
    while not os.path.exists(gate) and time.monotonic() < give_up:  # noqa: PTH110 (it is asked often)
        time.sleep(0.0005)


def sleep(seconds: float) -> None:
    """Take so long without the processor."""
    time.sleep(seconds)


def compute(seconds: float) -> None:
    """Take so long of the processor's time."""
    end = time.thread_time() + seconds
    while time.thread_time() < end:
        pass


async def nap(seconds: float) -> float:
    """Wait for so long on an event loop; return the wall time at which it began."""
    # Imported here because the other tasks have no use for it.
    import asyncio

    began = time.time()
    await asyncio.sleep(seconds)
    return began


@dataclass(frozen=True)
class Bench:
    """A queue in a file of its own, with the benchmark's tasks."""

    queue: Queue
    path: Path
    nothing: Task[[], None]
    clock: Task[[], float]
    hold: Task[[str], None]
    sleep: Task[[float], None]
    compute: Task[[float], None]
    nap: AsyncTask[[float], float]


def make_bench(queue: Queue, path: Path) -> Bench:
    """Register the benchmark's tasks on a queue."""
    tasks = (queue.task(nothing), queue.task(clock), queue.task(hold), queue.task(sleep), queue.task(compute))
    return Bench(queue, path, *tasks, queue.task(nap))


@contextmanager
def open_bench(plan: Plan, folder: Path) -> Iterator[Bench]:
    """Open a new queue file in a folder, and close it at the end of the block."""
    path = folder / "queue.db"
    with Queue(path, durability=plan.durability) as queue:
        yield make_bench(queue, path)


for_workers = make_bench(Queue("memory://"), Path())
"""Makes the tasks known to a worker that imports this module; the jobs come from the file it was given."""
