"""The programs of the storm: what each process does, until it is told to stop or killed.

All of them run in children that `chaos.zygote` has forked off; none has opened the queue's file before.
"""

from __future__ import annotations

import os
import signal
import sys
import threading
import time
import traceback
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from functools import partial
from typing import Any

from chaos.producing import CALLS, Producer, backlog
from chaos.shop import q
from liteq import move
from liteq.cli.main import main as liteq

__all__ = ["ROLES"]

THREADS = 2
"""Threads of a producer that make calls at the same time."""
PAUSE = 0.05
"""Seconds between two calls of a thread, on average."""
APP = "chaos.shop:q"


class _Stop:
    """Told by SIGTERM that it is over."""

    def __init__(self) -> None:
        self.asked = False
        signal.signal(signal.SIGTERM, self._note)

    def _note(self, *_: object) -> None:
        self.asked = True

    def wait(self) -> None:
        while not self.asked:
            time.sleep(0.02)


def _produce(seed: int, around: AbstractContextManager[object] | None = None) -> None:
    stop = _Stop()
    is_over = threading.Event()

    def run(number: int) -> None:
        try:
            Producer(seed * THREADS + number, PAUSE).run(is_over)
        except BaseException:
            # Nobody would notice a thread that is missing.
            traceback.print_exc()
            sys.stderr.flush()
            os._exit(3)

    threads = [threading.Thread(target=run, args=(number,)) for number in range(THREADS)]
    with around or nullcontext():
        for thread in threads:
            thread.start()
        stop.wait()
        is_over.set()
        for thread in threads:
            thread.join()


def produce(seed: int) -> None:
    """Make calls."""
    _produce(seed)


def host(seed: int) -> None:
    """Make calls, with a worker beside them, as an application on a desktop does."""
    _produce(seed, q.start_workers(1, loglevel="ERROR"))


def supervise(workers: int, seed: int) -> None:
    """Run worker processes."""
    liteq(["worker", APP, "-c", str(workers), "-l", "ERROR"])


def supervise_pool(seed: int) -> None:
    """Run a worker process with several jobs at once."""
    liteq(["worker", APP, "-P", "threads", "-c", "3", "-l", "ERROR"])


def work_alone(seed: int) -> None:
    """Run jobs in this very process."""
    liteq(["worker", APP, "-P", "solo", "-l", "ERROR"])


def beat(seed: int) -> None:
    """Fire schedules, and run nothing."""
    liteq(["beat", APP, "-l", "ERROR"])


def fill(seed: int) -> None:
    """Make some calls, and end."""
    backlog(seed, 150)


def call(what: Sequence[Any]) -> None:
    """Make one call, and end."""
    name, *args = what
    CALLS[name](*args)


def bring(what: Sequence[Any]) -> None:
    """Move a queue, and end."""
    source, target, batch = what
    move(source, target, batch=batch)


ROLES: Mapping[str, Callable[[Any], None]] = {
    "producer": produce,
    "host": host,
    "supervisor": partial(supervise, 2),
    "small supervisor": partial(supervise, 1),
    "pooling supervisor": supervise_pool,
    "veteran": partial(supervise, 1),
    "large supervisor": partial(supervise, 4),
    "lone worker": work_alone,
    "beat": beat,
    "filler": fill,
    "caller": call,
    "mover": bring,
}
"""What each role runs; the argument is the seed of its choices, where it has any."""
