"""What `liteq worker --drain` says in its last line, and its verdict."""

from __future__ import annotations

import time
from collections.abc import Collection

from liteq.job import JobFilter, LaneCount
from liteq.states import FAILURE
from liteq.transport import Transport

__all__ = ["Drain"]

EVERYTHING = 2**31 - 1


class Drain:
    """Counts what happens in a queue from now on.

    Args:
        transport: the store.
        queues: the queue names that are drained; None for all.
    """

    def __init__(self, transport: Transport, queues: Collection[str] | None) -> None:
        self._transport = transport
        self._queues = queues
        self._since = time.time()
        self._before = self._lanes()

    def report(self, known: Collection[str]) -> tuple[str, int]:
        """Return the last line, and how many jobs have failed for good.

        Args:
            known: the tasks that the workers know.
        """
        after = self._lanes()
        # A success that is not kept leaves no record, so it shows only as a job that waits no more; and a
        # job that a task has enqueued shows only as a record. Neither count alone has both.
        recorded = _sum(after, "finished") - _sum(self._before, "finished")
        gone = _sum(self._before, "ready", "delayed") - _sum(after, "ready", "delayed")
        failed = len(self._failed())
        delayed = sum(lane.jobs for lane in after if lane.waiting == "delayed" and lane.task in known)
        unknown = sum(
            lane.jobs for lane in after if lane.waiting in ("ready", "delayed") and lane.task not in known
        )
        line = (
            f"drained: {_jobs(max(recorded, gone, failed))} finished, {failed} of them failed; "
            f"{_jobs(delayed)} delayed and {_jobs(unknown)} of unknown tasks left"
        )
        return line, failed

    def _failed(self) -> list[str]:
        queues = None if self._queues is None else [*self._queues]
        which = JobFilter(states=[FAILURE], queues=queues, done_since=self._since, limit=EVERYTHING)
        return [job.id for job in self._transport.find(which)]

    def _lanes(self) -> list[LaneCount]:
        lanes = self._transport.count()
        return [lane for lane in lanes if self._queues is None or lane.queue in self._queues]


def _sum(lanes: list[LaneCount], *stations: str) -> int:
    return sum(lane.jobs for lane in lanes if lane.waiting in stations)


def _jobs(count: int) -> str:
    return f"{count} {'job' if count == 1 else 'jobs'}"
