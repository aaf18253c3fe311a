"""A fork waits until no thread of this process is in SQLite.

A child has the parent's account of which connections hold which locks of a file, but none of the threads
that would give them back: what it opens itself would wait for them for ever. Between calls there are none.
"""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Iterable
from typing import Protocol
from weakref import WeakSet

__all__ = ["Lock", "wait_at_forks"]

LONGEST = 0.5
"""Seconds that a fork waits at most; a user's transaction may be open for longer, perhaps until this ends."""


class Guarded(Protocol):
    """What is used by one thread at a time."""

    def locks(self) -> Iterable[Lock]:
        """The locks that a thread holds meanwhile, in the order in which it takes them."""


class Lock(Protocol):
    """A lock of `threading`."""

    def acquire(self, blocking: bool = True, timeout: float = -1) -> bool:
        """Take it; False if that could not be done in time."""

    def release(self) -> None:
        """Give it back."""


_guarded: WeakSet[Guarded] = WeakSet()


class _Held(threading.local):
    """What the thread holds that forks."""

    def __init__(self) -> None:
        self.locks: list[Lock] = []


_held = _Held()


def wait_at_forks(guarded: Guarded) -> None:
    """Let forks of this process wait until nobody uses this."""
    _guarded.add(guarded)


def _hold_still() -> None:
    give_up = time.monotonic() + LONGEST
    locks = [lock for each in list(_guarded) for lock in each.locks()]
    for lock in locks:
        if lock.acquire(timeout=max(0.0, give_up - time.monotonic())):
            _held.locks.append(lock)


def _go_on() -> None:
    while _held.locks:
        _held.locks.pop().release()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(before=_hold_still, after_in_parent=_go_on, after_in_child=_go_on)
