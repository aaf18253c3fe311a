"""Tells of jobs that wait for a task which this worker does not know."""

from __future__ import annotations

from collections.abc import Collection, Iterable

from liteq.app.naming import nearest
from liteq.clock import Clock
from liteq.job import LaneCount
from liteq.transport import Transport
from liteq.worker.log import LOGGER

__all__ = ["UnknownTasks"]

_LOOK_EVERY = 5.0
_SHARE = 200
"""Looking takes at most one part in this many of an idle worker's time."""


class UnknownTasks:
    """Finds the names that nobody here knows, and words one sentence for each, once.

    Args:
        known: the tasks that are registered in this process.
        queues: the queue names that this worker serves; None for all.
    """

    def __init__(self, known: Collection[str], queues: Collection[str] | None = None) -> None:
        self._known = known
        self._queues = queues
        self._told: set[str] = set()
        self._suspected = True
        self._look_at = 0.0

    def suspect(self) -> None:
        """Note that jobs have come that may be of such a task."""
        self._suspected = True

    def tell(self, transport: Transport, clock: Clock) -> None:
        """Look and log what is new, if there may be anything; for one who has nothing better to do."""
        now = clock.monotonic()
        if self._suspected and now >= self._look_at:
            for sentence in self.news(transport.count()):
                LOGGER.warning("%s", sentence)
            done = clock.monotonic()
            self._suspected = False
            self._look_at = done + max(_LOOK_EVERY, _SHARE * (done - now))

    def news(self, lanes: Iterable[LaneCount]) -> list[str]:
        """Return a sentence for each task that is unknown, waits here and was not told of before."""
        waiting: dict[str, int] = {}
        for lane in lanes:
            if (
                lane.waiting not in ("ready", "delayed")
                or lane.task in self._known
                or lane.task in self._told
            ):
                continue
            if self._queues is None or lane.queue in self._queues:
                waiting[lane.task] = waiting.get(lane.task, 0) + lane.jobs
        self._told.update(waiting)
        return [self._sentence(task, count) for task, count in sorted(waiting.items())]

    def _sentence(self, task: str, count: int) -> str:
        jobs = "1 job waits" if count == 1 else f"{count} jobs wait"
        hint = nearest(task, [*self._known])
        return f"{jobs} for task {task!r}, which no module imported here registers.{hint}"
