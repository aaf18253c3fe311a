"""What must be done for a store again and again, and by one at a time: expiry and the storage's own care."""

from __future__ import annotations

from contextlib import ExitStack

from liteq.clock import Clock
from liteq.transport import Transport

__all__ = ["Upkeep"]

SWEEP_LIMIT = 1000


class Upkeep:
    """The maintainer's work; whoever holds the store's maintenance lock does it.

    Args:
        transport: the store.
        clock: tells the time.
    """

    def __init__(self, transport: Transport, clock: Clock) -> None:
        self._transport = transport
        self._clock = clock
        self._leading = ExitStack()
        self._is_leader = False

    def look(self) -> float:
        """Do what is due, if this is the maintainer; return the seconds until it should look again."""
        if self._is_leader and not self._transport.keeps("upkeep"):
            self.close()
        if not self._is_leader:
            self._is_leader = self._leading.enter_context(self._transport.lead())
            if not self._is_leader:
                self._leading.close()
                return 1.0
        now = self._clock.wall()
        # First, because a sweep that finds no room on the disk must not keep the WAL from being synced.
        self._transport.tend(now)
        due = self._transport.next_sweep()
        changed = 0
        if due is not None and due <= now:
            changed = self._transport.sweep(now, SWEEP_LIMIT)
            due = self._transport.next_sweep()
        if changed >= SWEEP_LIMIT:
            # In small steps, so that no writer waits for long.
            return 0.01
        return 1.0 if due is None else min(1.0, max(0.001, due - now))

    def close(self) -> None:
        """Let somebody else be the maintainer; idempotent."""
        self._leading.close()
        self._is_leader = False
