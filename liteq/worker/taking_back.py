"""Taking back what waits in a worker behind a job that holds its interpreter.

Jobs are claimed in batches. When one turns out long, its worker's keeper hands back those behind it; but the
keeper is a thread, and none runs while a task holds the interpreter in C. Then the supervisor does it.
"""

from __future__ import annotations

import threading
from collections.abc import Iterable, Sequence

from liteq.clock import Clock
from liteq.errors import LiteqError
from liteq.job import Claim, Running, Transition, WorkerRecord
from liteq.lifecycle import Returned, decide
from liteq.retry import Random
from liteq.transport import Transport
from liteq.worker.batching import TAKE_BACK_AFTER
from liteq.worker.log import LOGGER
from liteq.worker.recovery import is_running

__all__ = ["TakingBack", "waiting_behind"]

CLOSE_TIMEOUT = 10.0


class TakingBack:
    """Hands back what workers hold behind jobs that have run for too long.

    In a thread of its own, which is there only when there is something to take: such a worker may hold the
    write lock too, and then only its time limit, which the supervisor enforces, brings that back.

    Args:
        transport: the store.
        clock: tells the time.
        random: a source of floats in [0, 1).
    """

    def __init__(self, transport: Transport, clock: Clock, random: Random) -> None:
        self._transport = transport
        self._clock = clock
        self._random = random
        self._thread = threading.Thread()

    def look(self, workers: Iterable[WorkerRecord]) -> None:
        """Begin to take back what is overdue in these workers, which live; returns at once."""
        now = self._clock.monotonic()
        overdue = [
            (worker.holder, worker.running)
            for worker in workers
            if worker.leases > 1
            and worker.running is not None
            and now - worker.running.since >= TAKE_BACK_AFTER
        ]
        if overdue and not self._thread.is_alive():
            self._thread = threading.Thread(
                target=self._take_all, args=(overdue,), name="liteq-taking-back", daemon=True
            )
            self._thread.start()

    def close(self) -> None:
        """Wait until nothing is being taken back any more, but not for ever."""
        if self._thread.is_alive():
            self._thread.join(CLOSE_TIMEOUT)

    def _take_all(self, overdue: Iterable[tuple[int, Running]]) -> None:
        try:
            for holder, running in overdue:
                for taken in self._take(holder, running):
                    LOGGER.info("Job %s goes back: the one before it holds its interpreter.", taken.id)
        except LiteqError as error:
            LOGGER.warning("%s What waits behind a long job goes back later.", error)

    def _take(self, holder: int, running: Running) -> list[Transition]:
        now = self._clock.wall()
        behind = waiting_behind(self._transport.leases(holder), running)
        decided = [decide(claim, Returned(), now, self._random) for claim in behind]
        refused = self._transport.settle(holder, decided, now) if decided else []
        return [returned for returned in decided if returned not in refused]


def waiting_behind(claims: Sequence[Claim], running: Running) -> Sequence[Claim]:
    """Return those of a holder's claims that it has not begun.

    A worker runs its jobs in the order in which it has claimed them, and claims no more before it has stored
    what became of them. So those before the running one are finished, though perhaps nobody knows it yet, and
    those behind it are not begun. Nothing can be said if the running one is no longer among them, or if the
    worker runs several at once, which begins what it claims at once.

    Args:
        claims: all that it has under lease, in the order in which it claimed them.
        running: what it had published as running before they were read.
    """
    if running.beside is not None:
        return ()
    for place, claim in enumerate(claims):
        if is_running(running, claim):
            return claims[place + 1 :]
    return ()
