"""What lets the threads of one process sleep until something happens."""

from __future__ import annotations

import threading
import time
from collections.abc import Collection
from itertools import takewhile

__all__ = ["LocalListener"]


class LocalListener:
    """A sleeper that its transport rings; `topics` are what concerns it, None for everything."""

    def __init__(self, listeners: list[LocalListener], topics: Collection[str] | None) -> None:
        self._listeners = listeners
        self._topics = None if topics is None else frozenset(topics)
        self.armed = False
        self._rung = threading.Event()
        self._attends = 0
        self._until = 0.0
        listeners.append(self)

    def arm(self) -> None:
        """Ask to be rung from now on."""
        self.armed = True

    def wait(self, timeout: float) -> bool:
        """Sleep until rung or for `timeout` seconds; tell whether it rang. Disarms."""
        rung = self._rung.wait(timeout)
        self.armed = False
        self._rung.clear()
        return rung

    def ring(self) -> None:
        """Wake this listener, now or when it next waits."""
        self._rung.set()

    def attend(self, interests: int, seconds: float) -> None:
        """Say that its owner comes back within so many seconds."""
        self._attends, self._until = interests, time.monotonic() + seconds

    def is_attended(self, interests: int) -> bool:
        """Tell whether the owner of an older listener attends to the same."""
        older = takewhile(lambda listener: listener is not self, list(self._listeners))
        now = time.monotonic()
        return any(listener._attends == interests and listener._until > now for listener in older)

    def close(self) -> None:
        """Be rung no more; idempotent."""
        if self in self._listeners:
            self._listeners.remove(self)

    def hear(self, topics: Collection[str]) -> None:
        """Ring if it is armed and one of these concerns it."""
        if self.armed and (self._topics is None or not self._topics.isdisjoint(topics)):
            self.ring()
