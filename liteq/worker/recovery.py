"""Taking over the jobs of workers that are gone: when, and what becomes of each job.

A holder that is provably dead (its life lock is free) is recovered at once, unless its own supervisor
seems to live: that one knows whether the job was to blame, so it gets a moment to act. A holder that
lives, or may live, loses its leases only after two looks at the same unchanged lease that has run out,
two of its heartbeats apart on the monotonic clock. A clock that was set forward makes leases run out, and
one that was set back lets them end later than any renewal could; the next renewal mends both. Time in
which the looker itself slept does not count, because the others may have slept as well.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Collection

from liteq.clock import Clock
from liteq.errors import StoreFullError, WorkerLostError
from liteq.failure import encode_failure, reason
from liteq.job import Claim, Running, Transition, WorkerRecord
from liteq.lifecycle import Lost, decide
from liteq.retry import Random
from liteq.transport import Transport

__all__ = ["Recovery", "find_running", "is_running"]

MOMENT = 0.2
"""Seconds that a dead worker's own supervisor gets before others step in."""

SLEPT = 5.0
"""Seconds between two looks from which the looker has slept itself; a heartbeat, where that is longer."""


class Recovery:
    """Looks at the workers of a store, again and again, and recovers those that are gone.

    Args:
        transport: the store.
        clock: tells the time.
        random: a source of floats in [0, 1).
    """

    def __init__(self, transport: Transport, clock: Clock, random: Random) -> None:
        self._transport = transport
        self._clock = clock
        self._random = random
        self._suspects: dict[int, tuple[float | None, float]] = {}
        self._looked_at = clock.monotonic()
        self._pause = 0.0
        self._is_alone = False
        self.own: list[WorkerRecord] = []
        """The caller's own workers as the last look saw them."""

    @property
    def is_watching(self) -> bool:
        """Whether somebody is suspected of being dead, so that the next look should come soon."""
        return any(expires is None for expires, _ in self._suspects.values())

    @property
    def is_alone(self) -> bool:
        """Whether the last look found nobody but the caller's own workers, and no leases that ran out."""
        return self._is_alone

    def look(self, own: Collection[int] = ()) -> list[Transition]:
        """Look at all workers once; return what was decided about the jobs that were taken over.

        Args:
            own: holders whose death the caller learns of by itself.
        """
        now = self._clock.monotonic()
        self._pause, self._looked_at = now - self._looked_at, now
        settled: list[Transition] = []
        records = self._transport.workers()
        for record in records:
            if self._is_gone(record, own):
                settled += self._recover(record)
        known = {record.holder for record in records}
        self._suspects = {holder: seen for holder, seen in self._suspects.items() if holder in known}
        self._is_alone = known.issubset(own) and not self._suspects
        self.own = [record for record in records if record.holder in own]
        return settled

    def _is_gone(self, record: WorkerRecord, own: Collection[int]) -> bool:
        """Decide whether a worker is gone for good, and if so expel it."""
        if record.alive is False and record.holder not in own:
            return self._is_dead(record)
        if not record.leases or 0 <= record.expires - self._clock.wall() <= record.visibility_timeout:
            self._suspects.pop(record.holder, None)
            return False
        return self._is_silent(record)

    def _is_dead(self, record: WorkerRecord) -> bool:
        """Expel one that is provably dead, but let its own supervisor be first."""
        now = self._clock.monotonic()
        expires, since = self._suspects.get(record.holder, (None, now))
        if expires is not None:
            # It was silent before; that it is dead is news.
            since = now
        patient = record.info.pid != record.info.supervisor and _seems_alive(record.info.supervisor)
        if patient and now - since < MOMENT:
            self._suspects[record.holder] = (None, since)
            return False
        self._transport.expel(record.holder, None)
        return True

    def _is_silent(self, record: WorkerRecord) -> bool:
        """Expel one whose lease has run out, if it has not renewed for two of its heartbeats since."""
        now = self._clock.monotonic()
        heartbeat = record.visibility_timeout / 3
        expires, since = self._suspects.get(record.holder, (None, now))
        if expires != record.expires or self._pause > max(heartbeat, SLEPT):
            self._suspects[record.holder] = (record.expires, now)
            return False
        if now - since < 2 * heartbeat:
            return False
        try:
            return self._transport.expel(record.holder, record.expires)
        except StoreFullError:
            # Nor could it renew: when there is room again, it gets as long as others to do so.
            self._suspects[record.holder] = (record.expires, now)
            raise

    def _recover(self, record: WorkerRecord) -> list[Transition]:
        self._suspects.pop(record.holder, None)
        now = self._clock.wall()
        # Only now that it is expelled: one that was merely suspended may have begun another job meanwhile.
        running = self._transport.running(record.holder)
        decided = [
            decide(claim, self._outcome(record, running, claim), now, self._random)
            for claim in self._transport.leases(record.holder)
        ]
        if decided:
            self._transport.settle(record.holder, decided, now)
        return decided

    def _outcome(self, record: WorkerRecord, running: Running | None, claim: Claim) -> Lost:
        error = WorkerLostError(
            f"{claim.task}[{claim.id}]: its worker {record.info.name} (pid {record.info.pid}) is gone, "
            "together with its supervisor or out of reach of it."
        )
        started = not record.trusted or is_running(running, claim)
        return Lost(started, encode_failure(error), reason(error))


def is_running(running: Running | None, claim: Claim) -> bool:
    """Tell whether this claim is among those that its worker published as running."""
    return find_running(running, claim.seq, claim.token) is not None


def find_running(running: Running | None, seq: int, token: int) -> Running | None:
    """Return what was published about this lease; None if it does not run."""
    if running is None:
        return None
    if running.seq == seq and running.token == token:
        return running
    return next((each for each in running.beside or () if each.seq == seq and each.token == token), None)


def _seems_alive(pid: int) -> bool:
    """Tell whether a process of that id exists; it may be another one by now."""
    if pid <= 0:
        return False
    if sys.platform == "win32":
        # There, a signal 0 would not ask but interrupt.
        return True
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True
