"""The threads that serve the coroutines of one queue."""

from __future__ import annotations

from typing import Protocol

from liteq.aio.courier import Courier
from liteq.aio.watcher import Watcher
from liteq.app.store import Store

__all__ = ["Hub", "hub_of"]


class OpenBlock(Protocol):
    """A transaction that a coroutine has open."""

    def abort(self) -> None:
        """Let it be rolled back, because the queue is closed; waits for nothing."""

    def close(self) -> None:
        """Wait until that has happened."""


class Hub:
    """What works for the coroutines of one queue, each in a thread that is there while it is needed.

    Attributes:
        courier: stores jobs.
        watcher: waits for results.
        blocks: the transactions that are open.
    """

    def __init__(self) -> None:
        self.courier = Courier("liteq-courier")
        self.watcher = Watcher()
        self.blocks: set[OpenBlock] = set()

    def close(self) -> None:
        """End all of it: roll back transactions, store what is to be stored, and give up awaiting."""
        blocks = list(self.blocks)
        # All of them first: some may be waiting for the lock that another one has.
        for block in blocks:
            block.abort()
        for block in blocks:
            block.close()
        self.courier.close()
        self.watcher.close()


def hub_of(store: Store) -> Hub:
    """Return the hub of a queue, made at first use and closed with the queue."""
    return store.attendants(Hub)
