"""Offices of a store, each held by one process at a time, over all hosts.

An office is a key that expires. Its holder renews it well before that; one that cannot, because it is dead,
suspended or cut off, loses it. Nothing depends on there being only one: what the holders of offices do is
right however many do it.
"""

from __future__ import annotations

import contextlib
import secrets
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager

from liteq.errors import LiteqError
from liteq.transports.redis.connection import Connection
from liteq.transports.redis.scripts import Script

__all__ = ["Offices"]

LASTS = 6.0
"""Seconds after which an office that nobody renews is free."""
RENEW_EVERY = 2.0
"""Seconds."""
GIVE_BACK_WITHIN = 0.5
"""Seconds for which one who leaves tries to give an office back."""

# One key may be taken, kept or given back by whoever has the token; the key is named by what follows the tag.
_OFFICE = b"""
local key = string.sub(KEYS[1], 1, -6) .. 'office:' .. ARGV[1]
local held = redis.call('GET', key)
if ARGV[3] == '0' then
  return held == ARGV[2] and redis.call('DEL', key) or 0
end
if held and held ~= ARGV[2] then
  return 0
end
redis.call('SET', key, ARGV[2], 'PX', ARGV[3])
return 1
"""


class Offices:
    """The offices that this process holds, renewed by one thread while there are any.

    Args:
        connection: to the store's server.
    """

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self._script = Script(_OFFICE, connection.key, connection.guarded)
        self._lock = threading.Lock()
        self._until: dict[tuple[str, str], float] = {}
        """The offices held, by name and token, and until when at least, on the monotonic clock."""
        self._changed = threading.Event()
        self._thread: threading.Thread | None = None

    @contextmanager
    def lead(self, office: str) -> Iterator[bool]:
        """Try to take an office; True inside the block if that worked.

        Raises:
            StoreError: the server does not serve.
        """
        token = secrets.token_hex(8)
        if not self._say(office, token, LASTS):
            yield False
            return
        try:
            self._begin_to_renew()
            yield True
        finally:
            with self._lock:
                held = self._until.pop((office, token), None)
                self._changed.set()
            if held is not None:
                # Nobody waits for long if this fails.
                with contextlib.suppress(LiteqError):
                    self._connection.run_script(self._script, (office, token, 0), patience=GIVE_BACK_WITHIN)

    def keeps(self, office: str) -> bool:
        """Tell whether this process still has an office that it took."""
        now = time.monotonic()
        with self._lock:
            return any(name == office and now < until for (name, _), until in self._until.items())

    def close(self) -> None:
        """Give nothing back, but renew no more; idempotent."""
        with self._lock:
            self._until.clear()
            self._changed.set()
            thread = self._thread
        if thread is not None and thread is not threading.current_thread():
            thread.join(1.0)

    def _say(self, office: str, token: str, seconds: float) -> bool:
        asked = time.monotonic()
        mine = bool(self._connection.run_script(self._script, (office, token, int(seconds * 1000))))
        if mine:
            with self._lock:
                self._until[office, token] = asked + seconds
        return mine

    def _begin_to_renew(self) -> None:
        with self._lock:
            self._changed.clear()
            if self._thread is None or not self._thread.is_alive():
                self._thread = threading.Thread(target=self._renew, name="liteq-offices", daemon=True)
                self._thread.start()

    def _renew(self) -> None:
        while True:
            self._changed.wait(RENEW_EVERY)
            with self._lock:
                self._changed.clear()
                held = list(self._until)
                if not held:
                    self._thread = None
                    return
            for office, token in held:
                self._renew_one(office, token)

    def _renew_one(self, office: str, token: str) -> None:
        try:
            asked = time.monotonic()
            kept = self._connection.run_script(self._script, (office, token, int(LASTS * 1000)))
        except LiteqError:
            # It is lost by itself when its time is over, and free for others then.
            return
        with self._lock:
            if (office, token) not in self._until:
                return
            if kept:
                self._until[office, token] = asked + LASTS
            else:
                del self._until[office, token]
