"""The scheduler as a thread beside whatever else its process does."""

from __future__ import annotations

import threading

from liteq.errors import StoreError
from liteq.worker.log import LOGGER
from liteq.worker.scheduler import Scheduler

__all__ = ["Beat"]

TRY_AGAIN = 1.0
"""Seconds after which it tries again on a store that could not serve."""


class Beat:
    """Runs a scheduler in a thread of its own.

    A store that cannot serve any more is noticed by whoever else works on it. Until they stop it, the
    scheduler tries again.

    Args:
        scheduler: what to run; None for nothing.
    """

    def __init__(self, scheduler: Scheduler | None) -> None:
        self._scheduler = scheduler
        self._ended = threading.Event()
        self._thread: threading.Thread | None = None

    def start(self) -> None:
        """Start the thread."""
        if self._scheduler is not None and self._thread is None:
            self._thread = threading.Thread(
                target=self._run, args=(self._scheduler,), name="liteq-scheduler", daemon=True
            )
            self._thread.start()

    @property
    def is_running(self) -> bool:
        """Whether the thread runs."""
        return self._thread is not None and self._thread.is_alive()

    def ask_to_stop(self) -> None:
        """Let the thread end soon, and another scheduler lead; idempotent."""
        self._ended.set()
        if self._scheduler is not None:
            self._scheduler.stop()

    def stop(self, timeout: float | None = None) -> None:
        """End the thread; idempotent.

        Args:
            timeout: seconds to wait for its end; None for as long as it takes.
        """
        self.ask_to_stop()
        if self._thread is not None:
            self._thread.join(timeout)

    def _run(self, scheduler: Scheduler) -> None:
        told = ""
        while True:
            try:
                scheduler.run()
                return
            except StoreError as error:
                if str(error) != told:
                    told = str(error)
                    LOGGER.warning("%s No schedule fires here meanwhile.", error)
            except BaseException:
                # Nobody joins this thread while the program runs: nothing may end it without a word.
                LOGGER.exception("The scheduler could not do its work, and tries again.")
            if self._ended.wait(TRY_AGAIN):
                return
