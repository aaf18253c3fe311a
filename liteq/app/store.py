"""One queue's hold on its transport: opened at first use, dropped in a forked child, shared by all."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from threading import Lock, get_ident
from typing import NamedTuple, Protocol, TypeVar, cast
from weakref import WeakSet, finalize

from liteq.app.conf import MEMORY_URL, QueueSettings
from liteq.clock import Clock, SystemClock
from liteq.errors import NotSupportedError
from liteq.job import TaskOrigin
from liteq.transport import Transport
from liteq.urls import is_same_place

__all__ = ["LOOK_EVERY", "Attendants", "Store", "abandon_transactions", "in_transactions"]

LOOK_EVERY = 1.0
"""Seconds after which whoever waits for a result looks again though no doorbell rang."""

AttendantsT = TypeVar("AttendantsT", bound="Attendants")

_stores: WeakSet[Store] = WeakSet()
in_transactions: set[int] = set()
"""The threads that are inside a transaction of any queue."""
_inherited: list[Transport] = []
"""What a forked child got from its parent. Kept for ever: closing it would drop the parent's locks."""


class Attendants(Protocol):
    """What works for a queue in threads of its own, and ends before its transport does."""

    def close(self) -> None:
        """End the work; it may begin again."""


class _Place(NamedTuple):
    """What `Store.overridden` exchanges."""

    settings: QueueSettings
    clock: Clock
    transport: Transport | None
    closer: finalize[..., Store] | None
    lost_in_fork: bool
    attendants: list[Attendants]


class Store:
    """What a queue, its tasks and its results share: the settings and the transport.

    Args:
        settings: the queue's settings.
        opener: opens the transport; called at first use, and again after a fork or a close.

    Attributes:
        clock: what tells the time to whoever enqueues, asks and retries here.
    """

    __slots__ = (
        "__weakref__",
        "_attendants",
        "_closer",
        "_held_loops",
        "_in_transaction",
        "_lock",
        "_lost_in_fork",
        "_opener",
        "_origins",
        "_transport",
        "clock",
        "crosses_processes",
        "settings",
    )

    def __init__(self, settings: QueueSettings, opener: Callable[[QueueSettings], Transport]) -> None:
        self.settings = settings
        self.clock: Clock = SystemClock()
        self.crosses_processes = settings.url != MEMORY_URL
        self._opener = opener
        self._lock = Lock()
        self._transport: Transport | None = None
        self._closer: finalize[..., Store] | None = None
        self._lost_in_fork = False
        self._origins: dict[str, TaskOrigin] = {}
        self._in_transaction: dict[int, object] = {}
        self._attendants: list[Attendants] = []
        self._held_loops: dict[int, int] = {}
        _stores.add(self)

    def transport(self) -> Transport:
        """Return the open transport.

        Raises:
            NotSupportedError: an eager queue, or a memory queue in a forked child.
            StoreError: the file cannot serve.
        """
        transport = self._transport
        return self._open() if transport is None else transport

    def _open(self) -> Transport:
        if self.settings.eager:
            raise NotSupportedError(f"The queue {self.settings.url} is eager: it stores nothing.")
        if self._lost_in_fork:
            raise NotSupportedError("A memory:// queue stays in its process; this one was forked off it.")
        with self._lock:
            if self._transport is None:
                transport = self._opener(self.settings)
                for origin in self._origins.values():
                    transport.declare(origin)
                self._transport = transport
                # A queue that nobody closed closes its file when it is dropped, and at exit.
                self._closer = finalize(self, _shut, transport, self._attendants)
            return self._transport

    def is_same(self, other: Store) -> bool:
        """Tell whether another hold is on the same store: itself, or one on the same file."""
        return self is other or (self.crosses_processes and other.is_at(self.settings.url))

    def is_at(self, url: str) -> bool:
        """Tell whether it is on the store of a URL, which other processes can open too."""
        return self.crosses_processes and is_same_place(self.settings.url, url)

    def is_trusted(self) -> bool:
        """Tell whether only this user can write the store: then types that it names may be imported.

        A queue that signs its jobs does so because others can.
        """
        if self.settings.signer is not None:
            return False
        return bool(getattr(self._transport, "trusted", False))

    def declare(self, origin: TaskOrigin) -> None:
        """Let the store know where a task lives, now or as soon as it is open."""
        with self._lock:
            self._origins[origin.task] = origin
            if self._transport is not None:
                self._transport.declare(origin)

    def attendants(self, make: Callable[[], AttendantsT]) -> AttendantsT:
        """Return what works for this queue in threads of its own; made once, and closed with the queue."""
        if not self._attendants:
            with self._lock:
                if not self._attendants:
                    self._attendants.append(make())
        return cast(AttendantsT, self._attendants[0])

    def hold_loop(self, thread: int, more: int) -> None:
        """Count the asynchronous transactions that the event loop of a thread has open or is opening."""
        count = self._held_loops.get(thread, 0) + more
        if count:
            self._held_loops[thread] = count
        else:
            del self._held_loops[thread]

    def is_loop_held(self) -> bool:
        """Tell whether this thread's event loop has an asynchronous transaction open, or is opening one."""
        return bool(self._held_loops) and get_ident() in self._held_loops

    def refuse_to_block(self, what: str) -> None:
        """Refuse a write that would wait in the thread of an event loop for what only that loop can end.

        Raises:
            NotSupportedError: this thread's event loop has an asynchronous transaction open.
        """
        if self.is_loop_held():
            raise NotSupportedError(
                f"{what} would block the event loop, which has an atransaction() open that has to end first; "
                f"use adelay(), aenqueue_many() or atransaction()."
            )

    def close(self) -> None:
        """Close the transport; the next use opens a file again, and memory is gone."""
        for each in self._attendants:
            each.close()
        with self._lock:
            if self._transport is not None:
                if self._closer is not None:
                    self._closer.detach()
                self._transport.close()
                if self.crosses_processes:
                    self._transport = None

    @contextmanager
    def overridden(self, settings: QueueSettings, clock: Clock) -> Iterator[None]:
        """Be the hold on another store, and go by another clock, until the block ends; for tests.

        Args:
            settings: those of the other store, which is opened at first use and closed with the block; the
                store's own settings for none.
            clock: what tells the time inside the block.
        """
        if settings is self.settings:
            before, self.clock = self.clock, clock
            try:
                yield
            finally:
                self.clock = before
            return
        kept = self._exchange(_Place(settings, clock, None, None, False, []))
        try:
            yield
        finally:
            self.close()
            self._exchange(kept)

    def _exchange(self, place: _Place) -> _Place:
        """Take another place, and return the one that was held."""
        with self._lock:
            held = _Place(
                self.settings,
                self.clock,
                self._transport,
                self._closer,
                self._lost_in_fork,
                self._attendants,
            )
            self.settings, self.clock, self._transport, self._closer, self._lost_in_fork = place[:5]
            self._attendants = place.attendants
            self.crosses_processes = self.settings.url != MEMORY_URL
        return held

    def in_transaction(self) -> bool:
        """Tell whether this thread is inside `Queue.transaction`: what it enqueues may yet be undone."""
        return bool(self._in_transaction) and get_ident() in self._in_transaction

    @contextmanager
    def note_transaction(self) -> Iterator[None]:
        """Note that this thread is inside a transaction until the block ends."""
        thread = get_ident()
        # The block may be left only when the next transaction is open, if its own was abandoned.
        outer, this = self._in_transaction.get(thread), object()
        self._in_transaction[thread] = this
        in_transactions.add(thread)
        try:
            yield
        finally:
            if self._in_transaction.get(thread) is this:
                self._forget_transaction(thread, outer)

    def abandon_transaction(self) -> None:
        """Roll back the transaction that this thread has left open, if there is one."""
        if self.in_transaction():
            self._forget_transaction(get_ident(), None)
            if self._transport is not None:
                self._transport.abandon()

    def _forget_transaction(self, thread: int, outer: object) -> None:
        if outer is None:
            del self._in_transaction[thread]
            if not any(thread in store._in_transaction for store in list(_stores)):
                in_transactions.discard(thread)
        else:
            self._in_transaction[thread] = outer

    def drop_inherited(self) -> None:
        """Forget, in a forked child, the transport of the parent, without closing it."""
        self._lock = threading.Lock()
        self._in_transaction = {}
        self._attendants = []
        self._held_loops = {}
        if self._transport is not None:
            if self._closer is not None:
                self._closer.detach()
            _inherited.append(self._transport)
            self._transport = None
            self._lost_in_fork = not self.crosses_processes


def _shut(transport: Transport, attendants: list[Attendants]) -> None:
    for each in attendants:
        each.close()
    transport.close()


def abandon_transactions() -> None:
    """Roll back every transaction that the calling thread has left open."""
    for store in list(_stores):
        store.abandon_transaction()


def _drop_all_inherited() -> None:
    in_transactions.clear()
    for store in list(_stores):
        store.drop_inherited()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_drop_all_inherited)
