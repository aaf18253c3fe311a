"""The asyncio pool: async tasks beside each other on one event loop, plain ones in threads."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Iterable, Sequence
from functools import partial
from typing import TypeVar

from liteq.worker.log import LOGGER
from liteq.worker.pools.base import JobRun
from liteq.worker.pools.threads import ThreadPool, Threads

__all__ = ["AsyncioCrew", "AsyncioPool"]

T = TypeVar("T")

MOST_THREADS = 64
"""How many plain functions run at once, at most."""
FAREWELL = 1.0
"""Seconds that what jobs have left on the event loop gets to end after it was cancelled."""


class AsyncioCrew:
    """Runs each async job as a task of one event loop; see `liteq.worker.pools.base.Crew`.

    The event loop has the calling thread of `main`, and a thread beside it dispatches.
    """

    def __init__(self, concurrency: int) -> None:
        self.plain_limit = min(concurrency, MOST_THREADS)
        self._threads = Threads(self.plain_limit)
        self._loop = asyncio.new_event_loop()
        # The loop itself keeps no task from being collected.
        self._tasks: dict[JobRun, asyncio.Task[None]] = {}

    def main(self, dispatch: Callable[[], T]) -> T:
        """Run the event loop in this thread while another one dispatches."""
        results: list[T] = []
        errors: list[BaseException] = []

        def work() -> None:
            try:
                results.append(dispatch())
            except BaseException as error:
                errors.append(error)
            finally:
                self._loop.call_soon_threadsafe(self._loop.stop)

        dispatcher = threading.Thread(target=work, name="liteq-dispatcher", daemon=True)
        dispatcher.start()
        self._serve(lambda: bool(results or errors))
        dispatcher.join()
        if errors:
            # Jobs may still run; the process ends, or whoever holds on to it has to live with them.
            raise errors[0]
        self._close()
        return results[0]

    def start(self, runs: Sequence[JobRun]) -> None:
        """Run these jobs beside those that run."""
        coroutines = [run for run in runs if run.is_async]
        if coroutines:
            self._loop.call_soon_threadsafe(self._start, coroutines)
        # Not by way of the loop, which something may keep.
        for run in runs:
            if not run.is_async:
                self._threads.start(run)

    def recall(self, runs: Iterable[JobRun]) -> None:
        """Cancel those that are tasks of the event loop."""
        self._loop.call_soon_threadsafe(self._cancel, list(runs))

    def _start(self, runs: Iterable[JobRun]) -> None:
        for run in runs:
            self._tasks[run] = task = self._loop.create_task(run.arun())
            task.add_done_callback(partial(self._ended, run))

    def _ended(self, run: JobRun, task: asyncio.Task[None]) -> None:
        del self._tasks[run]
        # A job raises nothing, so somebody has cancelled the task before its first step.
        if task.cancelled():
            self._start([run])

    def _cancel(self, runs: Iterable[JobRun]) -> None:
        for run in runs:
            if run in self._tasks:
                self._tasks[run].cancel()

    def _serve(self, is_over: Callable[[], bool]) -> None:
        """Run the event loop, also if a job stops it, or lets an exit out of what it has left there."""
        while not is_over():
            try:
                self._loop.run_forever()
            except BaseException as error:
                LOGGER.warning("Something that a job left on the event loop raised %r.", error)

    def _close(self) -> None:
        """Give everything up; what jobs have left on the event loop is cancelled."""
        self._threads.close()
        left = asyncio.all_tasks(self._loop)
        for task in left:
            task.cancel()
        if left:
            self._loop.run_until_complete(asyncio.wait(left, timeout=FAREWELL))
        self._loop.run_until_complete(self._loop.shutdown_asyncgens())
        self._loop.close()


class AsyncioPool(ThreadPool):
    """`-P asyncio`; see `liteq.worker.pools.base.Pool`."""

    name = "asyncio"
    recalls = True

    def __init__(self) -> None:
        super().__init__()
        self.default_concurrency = 100

    def crew(self, concurrency: int) -> AsyncioCrew:  # type: ignore[override]
        """Return a crew for so many jobs."""
        return AsyncioCrew(concurrency)

    def interrupts(self, is_async: bool) -> bool:
        """Tell whether a job is a coroutine, which is cancelled."""
        return is_async
