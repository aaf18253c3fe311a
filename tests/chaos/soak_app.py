"""The application of the soak: jobs of mixed kinds, and `python -m chaos.soak_app SEED`, which enqueues them.

Nothing is recorded: half an hour of it must leave nothing behind.
"""

from __future__ import annotations

import os
import random
import signal
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from liteq import Queue

__all__ = ["q"]

FOLDER = Path(os.environ["CHAOS_FOLDER"])
PAUSE = float(os.environ.get("CHAOS_PAUSE", "0.02"))
"""Seconds between two calls, on average."""
KEPT = 20.0
"""Seconds for which results are kept, so that as many go as come long before a third of the soak is over."""

q = Queue(FOLDER / "queue.db", result_expires=KEPT)


@q.task
def add(x: int, y: int) -> int:
    return x + y


@q.task
def works(seconds: float) -> None:
    time.sleep(seconds)


@q.task
def copies(data: bytes) -> bytes:
    """Has arguments and a result that are stored apart from the job's row."""
    return data[::-1]


@q.task(ignore_result=True)
def ignored(x: int) -> int:
    return x


@q.task(autoretry_for=(OSError,), max_retries=2, default_retry_delay=0.1)
def stumbles(fails: int) -> int:
    """Fails as often as it is told, perhaps for good."""
    if stumbles.request.retries < fails:
        raise OSError(f"attempt {stumbles.request.attempt}")
    return fails


@q.task(bind=True)
def progresses(self: Any, steps: int) -> int:
    for step in range(steps):
        self.update_state("PROGRESS", {"step": step})
    return steps


@q.task
def parent(children: int) -> None:
    for number in range(children):
        add.delay(number, children)


@q.task(bind=True)
def keeps(self: Any, number: int) -> None:
    """Completes together with a row of its own, and keeps no more of them than a hundred."""
    with self.transaction() as connection:
        connection.execute("INSERT INTO kept (number) VALUES (?)", (number,))
        connection.execute("DELETE FROM kept WHERE rowid <= (SELECT max(rowid) - 100 FROM kept)")
        self.complete(number)


def main(seed: int) -> None:
    """Enqueue jobs until SIGTERM comes."""
    asked: list[int] = []
    signal.signal(signal.SIGTERM, lambda number, _: asked.append(number))
    chance = random.Random(seed)
    with q.transaction() as connection:
        connection.execute("CREATE TABLE IF NOT EXISTS kept (number INTEGER)")
    kinds: dict[Callable[[int], object], int] = {
        lambda n: add.delay(n, n): 30,
        lambda n: add.options(priority=n % 7, countdown=n % 3).delay(n, n): 10,
        lambda n: add.apply_async((n, n), task_id=f"shared-{n % 5}"): 5,
        lambda n: add.options(countdown=5, expires=0.5).delay(n, n): 2,
        lambda n: works.delay(0.02): 10,
        lambda n: copies.delay(bytes(2_000 + n % 3_000)): 8,
        lambda n: ignored.delay(n): 10,
        lambda n: stumbles.delay(n % 4): 5,
        lambda n: progresses.delay(3): 3,
        lambda n: parent.delay(3): 4,
        lambda n: keeps.delay(n): 8,
        lambda n: q.enqueue_many(add.s(n, i) for i in range(20)): 1,
        lambda n: add.delay(n, n).get(timeout=30): 5,
        lambda n: add.options(countdown=60).delay(n, n).revoke(): 2,
    }
    number = 0
    while not asked:
        number += 1
        chance.choices(list(kinds), list(kinds.values()))[0](number)
        time.sleep(chance.expovariate(1 / PAUSE))
    q.close()


if __name__ == "__main__":
    main(int(sys.argv[1]))
