"""A worker for tests: a thread that runs the jobs of a queue, with the tasks that it has at each moment."""

from __future__ import annotations

import threading

from liteq.clock import SystemClock
from liteq.errors import WorkerError
from liteq.queue import Queue
from liteq.worker.drain import Drain

__all__ = ["TestWorker"]

LOOK_EVERY = 0.02
"""Seconds after which it looks at a clock that is turned by hand, which rings nobody."""
LONGEST_SLEEP = 1.0
PATIENCE = 60.0
"""Seconds that the job which runs when the worker is to stop may take."""


class TestWorker:
    """Runs the jobs of a queue in a thread of this program, whatever keeps them, until it is stopped.

    A task that is registered later is run too, and where the queue goes by a manual clock, so does the
    worker. A `time_limit` is not kept.

    Args:
        queue: the queue.
    """

    __test__ = False
    """It is none, whatever pytest thinks of its name."""

    def __init__(self, queue: Queue) -> None:
        self._queue = queue
        self._over = threading.Event()
        self._listener = queue.transport.listen_for_jobs()
        self._errors: list[BaseException] = []
        self._failure: BaseException | None = None
        self._thread = threading.Thread(target=self._run, name="liteq-test-worker", daemon=True)
        self._thread.start()

    @property
    def errors(self) -> list[BaseException]:
        """What the jobs have raised that failed for good, in order."""
        return [*self._errors]

    def stop(self) -> None:
        """Finish the job that runs, leave the others in the queue, and end; idempotent.

        Raises:
            WorkerError: the job that runs does not end.
            StoreError: the store could not serve any more.
            KeyboardInterrupt: a task has raised it.
        """
        self._over.set()
        self._listener.ring()
        self._thread.join(PATIENCE)
        if self._thread.is_alive():
            raise WorkerError(f"A job of {self._queue.url} still runs {PATIENCE:g} s after the test's end.")
        self._listener.close()
        failure, self._failure = self._failure, None
        if failure is not None:
            raise failure

    def _run(self) -> None:
        try:
            while not self._over.is_set():
                self._listener.arm()
                self._rest(self._work())
        # An interrupt too, that a task has raised.
        except BaseException as error:
            self._failure = error

    def _work(self) -> float | None:
        """Run what is ready; return when there is next something to do."""
        work = Drain(self._queue.store, {**self._queue.tasks})
        work.errors = self._errors
        if work.has_more(False):
            with work.registered():
                while not self._over.is_set() and work.step():
                    pass
        return work.next_due()

    def _rest(self, due: float | None) -> None:
        clock = self._queue.store.clock
        pause = LONGEST_SLEEP if isinstance(clock, SystemClock) else LOOK_EVERY
        if due is not None:
            pause = min(pause, max(0.0, due - clock.wall()))
        if not self._over.is_set() and pause > 0:
            self._listener.wait(pause)
