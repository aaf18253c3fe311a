"""The pool of threads: each runs one job at a time."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextvars import copy_context
from functools import partial
from queue import SimpleQueue
from typing import Any, TypeVar

from liteq.calls.coroutines import close_loop
from liteq.job import Claim
from liteq.task import Task
from liteq.worker.executor import call_here
from liteq.worker.pools.base import JobRun
from liteq.worker.soft import run_limited

__all__ = ["ThreadCrew", "ThreadPool", "Threads"]

T = TypeVar("T")


class Threads:
    """Threads that run jobs; each is made when no other is free, and kept until the end.

    Daemons, because a worker process that is done ends without waiting for anybody.

    Args:
        count: how many there are at most; what is more than they can run waits.
    """

    def __init__(self, count: int) -> None:
        self._count = count
        self._runs: SimpleQueue[JobRun | None] = SimpleQueue()
        self._free = threading.Semaphore(0)
        self._threads: list[threading.Thread] = []

    def start(self, run: JobRun) -> None:
        """Run a job in one of them."""
        self._runs.put(run)
        if not self._free.acquire(blocking=False) and len(self._threads) < self._count:
            name = f"liteq-job-{len(self._threads) + 1}"
            self._threads.append(threading.Thread(target=self._work, name=name, daemon=True))
            self._threads[-1].start()

    def close(self) -> None:
        """End the threads, and wait for them; none runs a job by now."""
        for _ in self._threads:
            self._runs.put(None)
        for thread in self._threads:
            thread.join()

    def _work(self) -> None:
        while (run := self._runs.get()) is not None:
            # In a context of its own, so that no job finds what another one has set.
            copy_context().run(run.run)
            self._free.release()
        close_loop()


class ThreadCrew:
    """Runs each job in a thread; see `liteq.worker.pools.base.Crew`."""

    plain_limit = None

    def __init__(self, concurrency: int) -> None:
        self._threads = Threads(concurrency)

    def main(self, dispatch: Callable[[], T]) -> T:
        """Dispatch in this thread."""
        result = dispatch()
        self._threads.close()
        return result

    def start(self, runs: Sequence[JobRun]) -> None:
        """Run these jobs beside those that run."""
        for run in runs:
            self._threads.start(run)

    def recall(self, runs: Iterable[JobRun]) -> None:
        """Do nothing: a thread cannot be interrupted."""


class ThreadPool:
    """`-P threads`; see `liteq.worker.pools.base.Pool`."""

    name = "threads"
    first: str | None = None
    recalls = False

    def __init__(self) -> None:
        self.default_concurrency = os.cpu_count() or 1

    def require(self) -> None:
        """Return at once: every interpreter has threads."""

    def refusal(self, _task: Task[..., Any]) -> str | None:
        """Return None: every task runs here."""
        return None

    def crew(self, concurrency: int) -> ThreadCrew:
        """Return a crew of so many threads."""
        return ThreadCrew(concurrency)

    def interrupts(self, _is_async: bool) -> bool:
        """Return False: no thread can be interrupted."""
        return False

    def call(
        self,
        job: Claim,
        _limit: float | None,
        function: Callable[..., Any],
        args: Sequence[Any],
        kwargs: Mapping[str, Any],
    ) -> Any:
        """Call a task's function in this thread."""
        return call_here(job, function, args, kwargs)

    def limited(self, seconds: float, function: Callable[..., Any]) -> Callable[..., Any]:
        """Return a function in which is raised between two steps of its thread."""
        return partial(run_limited, seconds, function)

    def aside(self, function: Callable[[], T]) -> T:
        """Call a function here: it blocks no thread that runs jobs."""
        return function()
