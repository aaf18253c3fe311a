"""What people do with jobs: read them, revoke them, put them back, and what upkeep ends."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from liteq.job import Claim, Job, JobFilter
from liteq.transport import EXPIRED, PURGED
from liteq.transports.redis.calls import Calls
from liteq.transports.redis.doorbell import Doorbells
from liteq.transports.redis.records import as_claim, as_job

__all__ = ["Desk"]

PORTION = 500
"""Jobs that one script looks at; a longer one would hold up everybody else."""
MOST = 1000
"""Jobs that one script changes because they were named."""


class Desk:
    """The reading and the managing verbs of one transport.

    Args:
        calls: where they go.
        bells: told how many have heard of a result.
    """

    def __init__(self, calls: Calls, bells: Doorbells) -> None:
        self._calls = calls
        self._bells = bells

    # ---- reading ---------------------------------------------------------------------------------

    def get(self, job_ids: Sequence[str]) -> list[Job | None]:
        """Read jobs by id, in the order asked."""
        found: list[Job | None] = []
        while len(found) < len(job_ids):
            portion = list(job_ids[len(found) : len(found) + PORTION])
            found += (None if one is False else as_job(*one) for one in self._calls.ask("get", portion))
        return found

    def leases(self, holder: int) -> list[Claim]:
        """List what a worker has under lease, in the order in which it claimed it."""
        found: list[Claim] = []
        place: Any = 0
        while place is not False:
            portion, place = self._calls.ask("leases", (holder, place))
            found += (as_claim(*one) for one in portion)
        return found

    def find(self, which: JobFilter) -> list[Job]:
        """Read jobs by a filter, the last stored first."""
        names = (which.states, which.tasks, which.queues)
        if which.limit <= 0 or any(name is not None and not name for name in names):
            return []
        told = [False if name is None else [str(one) for one in name] for name in names]
        since = False if which.done_since is None else which.done_since
        found: list[Job] = []
        below: Any = False
        while True:
            left = which.limit - len(found)
            # Without a filter each job that is looked at is one that was asked for.
            looks = min(PORTION, left) if which._replace(limit=100) == JobFilter() else PORTION
            portion, below = self._calls.ask("find", (below, looks, left, *told, since))
            found += (as_job(*one) for one in portion)
            if below is False or len(found) >= which.limit:
                return found

    # ---- managing --------------------------------------------------------------------------------

    def revoke(self, job_ids: Sequence[str], now: float, reason: str) -> list[bool]:
        """Make waiting jobs REVOKED."""
        return self._act_on("revoke", job_ids, now, reason)

    def requeue(self, job_ids: Sequence[str], now: float) -> list[bool]:
        """Put failed or revoked jobs back."""
        return self._act_on("requeue", job_ids, now)

    def forget(self, job_id: str) -> bool:
        """Drop a finished job; an unfinished one will keep no success."""
        return bool(self._calls.act("forget", job_id))

    def purge(self, queues: Sequence[str] | None, now: float) -> int:
        """Revoke what waits in some queues.

        In portions, from the last job that is stored at the beginning down, so that it comes to an end
        however fast others store more.
        """
        if queues is not None and not queues:
            return 0
        wanted = False if queues is None else list(queues)
        purged, below = 0, False
        while True:
            portion, below, heard = self._calls.act("purge", below, PORTION, wanted, now, PURGED)
            purged += portion
            self._note(heard)
            if below is False:
                return int(purged)

    def sweep(self, now: float, limit: int) -> int:
        """Expire results and waiting jobs."""
        next_sweep = self.next_sweep()
        if next_sweep is None or next_sweep > now:
            return 0
        number, heard = self._calls.act("sweep", now, min(limit, 2000), EXPIRED)
        self._note(heard)
        return int(number)

    def next_sweep(self) -> float | None:
        """Return when `sweep` next has something to do."""
        moments = [float(moment) for moment in self._calls.ask("next_sweep") if moment is not False]
        return min(moments, default=None)

    def _act_on(self, verb: str, job_ids: Sequence[str], *facts: object) -> list[bool]:
        """Do something to jobs; to more than a thousand, in several steps."""
        everything: list[bool] = []
        for portion in _portions(job_ids, MOST):
            done, heard = self._calls.act(verb, portion, *facts)
            self._note(heard)
            everything += (bool(one) for one in done)
        return everything

    def _note(self, heard: int) -> None:
        if heard:
            self._bells.note_awaited(heard)


def _portions(items: Sequence[str], size: int) -> Iterator[list[str]]:
    for start in range(0, len(items), size):
        yield list(items[start : start + size])
