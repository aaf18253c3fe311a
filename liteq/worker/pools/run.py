"""One claimed job on its way through a pool: published when it begins, laid down when it has ended."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from typing import Protocol

from liteq.clock import Clock
from liteq.job import Claim, Transition
from liteq.transport import RunningSlot
from liteq.worker.pools.executor import PoolExecutor

__all__ = ["Host", "Run"]


class Host(Protocol):
    """What starts jobs, and is told how they end."""

    clock: Clock
    executor: PoolExecutor
    on_time_limit: Callable[[], None]
    """Called when a job with a time limit has begun and is published."""

    @property
    def slot(self) -> RunningSlot | None:
        """Where it publishes what runs."""

    def is_stopping(self) -> bool:
        """Tell whether nothing may begin any more."""

    def finished(self, run: Run, decided: Transition | None) -> None:
        """Take what the store is to record; None if the job has ended in a transaction of its own."""

    def returned(self, run: Run) -> None:
        """Take back a job that has not begun."""

    def passed(self, run: Run) -> None:
        """Note that the crew has come to a job that was taken back from it."""


class Run:
    """A job that was given to a crew; see `liteq.worker.pools.base.JobRun`.

    Args:
        host: who has claimed it.
        job: the claim.
        place: its place in the slot.
        is_async: whether its task is an async function.

    Attributes:
        recalled: the job is interrupted by a stop, and is to go back.
        is_published: whether others may read that it runs.
        is_running: whether its task is called.
        key: what tells this attempt from all others.
    """

    __slots__ = (
        "_deadline",
        "_host",
        "_untaken",
        "is_async",
        "is_published",
        "is_running",
        "job",
        "key",
        "place",
        "recalled",
    )

    def __init__(self, host: Host, job: Claim, place: int, is_async: bool) -> None:
        self._host = host
        self.job = job
        self.key = job.seq, job.token
        self.place = place
        self.is_async = is_async
        self.recalled = False
        self.is_published = self.is_running = False
        self._deadline: float | None = None
        # Whoever takes the one thing out of it decides: the crew, and it begins, or else it goes back.
        self._untaken = [True]

    @property
    def is_taken(self) -> bool:
        """Whether it is decided that it begins, or that it does not."""
        return not self._untaken

    def take(self) -> bool:
        """Decide whether it begins; False if somebody has done that already."""
        try:
            return self._untaken.pop()
        except IndexError:
            return False

    def run(self) -> None:
        """Run it in the calling thread."""
        if self._begins():
            self._end(self._host.executor.run(self.job))

    async def arun(self) -> None:
        """Run it on the event loop that awaits this."""
        if self._begins():
            self._end(await self._host.executor.arun(self.job, self))

    def publish(self) -> None:
        """Publish that it runs."""
        self.is_published = True
        slot = self._host.slot
        # A slot that is closed at this moment belongs to a worker that starts anew, and publishes all then.
        with suppress(ValueError):
            if slot is not None:
                slot.begin(self.job.seq, self.job.token, self._deadline, self.place)

    def unpublish(self) -> None:
        """Publish no longer that it runs."""
        slot = self._host.slot
        with suppress(ValueError):
            if slot is not None:
                slot.clear(self.place)

    def _begins(self) -> bool:
        host = self._host
        if not self.take():
            host.passed(self)
            return False
        # Before looking: whoever stops and interrupts looks at these in the opposite order.
        self.is_running = True
        if host.is_stopping():
            self.is_running = False
            host.returned(self)
            return False
        limit = host.executor.kill_after(self.job, self.is_async)
        if limit is not None:
            self._deadline = host.clock.monotonic() + limit
        self.publish()
        if limit is not None:
            host.on_time_limit()
        return True

    def _end(self, decided: Transition | None) -> None:
        if self._deadline is not None:
            # It stays published until its outcome is in the store, which takes no part of its time.
            self._deadline = None
            self.publish()
        self._host.finished(self, decided)
