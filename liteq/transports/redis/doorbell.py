"""Waking those who sleep: the server passes on what the scripts publish, and a thread here rings.

One thread and one connection serve all listeners of a transport, from the first one on. What is published
while the connection is down is lost; then sleepers wake late, because they look once a second by themselves.
"""

from __future__ import annotations

import contextlib
import logging
import os
import random
import threading
import time
from collections import Counter
from collections.abc import Collection, Iterable, Sequence

from liteq.transports.local.listening import LocalListener
from liteq.transports.redis.client import Link
from liteq.transports.redis.connection import FIRST_PAUSE, LAST_PAUSE, Connection
from liteq.transports.redis.scripts import pack
from liteq.transports.redis.trouble import Kind, Trouble, understand

__all__ = ["Doorbells", "RedisListener"]

LOGGER = logging.getLogger("liteq")

CONFIRMED_WITHIN = 0.5
"""Seconds in which the server confirms a subscription; after that, one goes to sleep without."""
AWAITED_FOR = 0.5
"""Seconds for which somebody in another process, who was rung for a result, counts as awaiting others."""
CLOSE_TIMEOUT = 1.0


class RedisListener(LocalListener):
    """A sleeper that is rung through a channel of the server."""

    def __init__(
        self, bells: Doorbells, listeners: list[LocalListener], topics: Collection[str] | None, channel: bytes
    ) -> None:
        super().__init__(listeners, topics)
        self.bells = bells
        self._channel: bytes | None = channel
        bells.subscribe(channel)

    def arm(self) -> None:
        """Ask to be rung from now on."""
        if self._channel is not None:
            self.bells.confirm(self._channel)
        super().arm()

    def close(self) -> None:
        """Be rung no more; idempotent."""
        super().close()
        channel, self._channel = self._channel, None
        self.armed = False
        if channel is not None:
            self.bells.unsubscribe(channel)


class _Sleepers:
    """The listeners of one process on one store, through whichever transport."""

    def __init__(self) -> None:
        self.jobs: list[LocalListener] = []
        self.results: list[LocalListener] = []
        self.schedules: list[LocalListener] = []

    def of(self, bells: Doorbells) -> list[RedisListener]:
        """Return those of one transport."""
        everybody = (*self.jobs, *self.results, *self.schedules)
        return [each for each in everybody if isinstance(each, RedisListener) and each.bells is bells]


class Doorbells:
    """All that a transport needs to be rung.

    Args:
        connection: to the store's server.
    """

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        tag = connection.key.removesuffix(b"liteq")
        self._jobs, self._done, self._schedules = tag + b"jobs", tag + b"done", tag + b"schedules"
        self._sleepers = _process.sleepers(connection.url.place)
        self._changed = threading.Condition()
        self._wanted: Counter[bytes] = Counter()
        self._confirmed: set[bytes] = set()
        self._link: Link | None = None
        self._thread: threading.Thread | None = None
        self._closing = threading.Event()
        self._awaited_until = 0.0
        self._has_told = False

    # ---- listening -------------------------------------------------------------------------------

    def listen_jobs(self, queues: Sequence[str] | None) -> RedisListener:
        """Return a listener for jobs of these queue names; None for all."""
        return RedisListener(self, self._sleepers.jobs, queues, self._jobs)

    def listen_result(self, job_id: str | None) -> RedisListener:
        """Return a listener for one result, or for all."""
        if job_id is None:
            return RedisListener(self, self._sleepers.results, None, self._done)
        channel = self._done + b":" + job_id.encode("utf-8", "surrogateescape")
        return RedisListener(self, self._sleepers.results, [job_id], channel)

    def listen_schedules(self) -> RedisListener:
        """Return a listener for changes of schedules."""
        return RedisListener(self, self._sleepers.schedules, None, self._schedules)

    # ---- who waits for results -------------------------------------------------------------------

    def is_awaited(self) -> bool:
        """Tell whether anybody sleeps until a result comes, as far as is known here."""
        if any(listener.armed for listener in list(self._sleepers.results)):
            return True
        return time.monotonic() < self._awaited_until

    def note_awaited(self, heard: int) -> None:
        """Note how many were told when the last result was stored."""
        self._awaited_until = time.monotonic() + AWAITED_FOR if heard else 0.0

    # ---- subscriptions ---------------------------------------------------------------------------

    def subscribe(self, channel: bytes) -> None:
        """Ask the server for what is published there; returns before it has said yes."""
        with self._changed:
            self._wanted[channel] += 1
            if self._thread is None and not self._closing.is_set():
                self._thread = threading.Thread(target=self._run, name="liteq-doorbell", daemon=True)
                self._thread.start()
            elif self._wanted[channel] == 1:
                self._say(b"SUBSCRIBE", [channel])

    def unsubscribe(self, channel: bytes) -> None:
        """Take back one `subscribe`."""
        with self._changed:
            self._wanted[channel] -= 1
            if self._wanted[channel] <= 0:
                del self._wanted[channel]
                self._confirmed.discard(channel)
                self._say(b"UNSUBSCRIBE", [channel])

    def confirm(self, channel: bytes) -> None:
        """Wait until the server has confirmed a subscription, but not for long."""
        if channel in self._confirmed:
            return
        with self._changed:
            self._changed.wait_for(
                lambda: channel in self._confirmed or self._closing.is_set(), CONFIRMED_WITHIN
            )

    def _say(self, command: bytes, channels: Iterable[bytes]) -> None:
        """Send a command to the server, if there is a connection; the thread sees to what fails."""
        words = [command, *channels]
        link = self._link
        if link is not None:
            with contextlib.suppress(Exception):
                link.send_packed_command([b"*%d\r\n%b" % (len(words), pack(words))], check_health=False)

    def close(self) -> None:
        """End the thread, and wake all who sleep; idempotent."""
        self._closing.set()
        with self._changed:
            self._changed.notify_all()
            self._say(b"PING", [])
            thread, link = self._thread, self._link
        for listener in self._sleepers.of(self):
            listener.close()
            listener.ring()
        if thread is not None and thread is not threading.current_thread():
            thread.join(CLOSE_TIMEOUT)
            if thread.is_alive() and link is not None:
                link.disconnect()

    # ---- the thread ------------------------------------------------------------------------------

    def _run(self) -> None:
        pause = FIRST_PAUSE
        while not self._closing.is_set():
            try:
                self._connect()
                pause = FIRST_PAUSE
                self._listen()
            except Exception as error:
                self._tell(understand(error))
                self._disconnect()
                self._closing.wait(pause * random.uniform(0.5, 1.0))
                pause = min(LAST_PAUSE, 2 * pause)
        self._disconnect()

    def _tell(self, trouble: Trouble) -> None:
        """Say once that nobody can be rung; of what passes, the transport's own calls tell."""
        if trouble.kind is Kind.FINAL and not (self._has_told or self._closing.is_set()):
            self._has_told = True
            LOGGER.warning(
                "%s: nobody can be woken (%s). Sleepers look by themselves, once a second.",
                self._connection.shown,
                trouble.text,
            )

    def _connect(self) -> None:
        link = self._connection.dial()
        with self._changed:
            self._link = link
            if self._wanted:
                self._say(b"SUBSCRIBE", list(self._wanted))

    def _disconnect(self) -> None:
        with self._changed:
            link, self._link = self._link, None
            self._confirmed.clear()
        if link is not None:
            link.disconnect()

    def _listen(self) -> None:
        link = self._link
        assert link is not None
        silent = False
        while not self._closing.is_set():
            try:
                news = link.read_response(disable_decoding=True, disconnect_on_error=False)
            except Exception as error:
                if silent or not _is_timeout(error):
                    raise
                silent = True
                with self._changed:
                    self._say(b"PING", [])
                continue
            silent = False
            if isinstance(news, list) and len(news) == 3:
                self._hear(news[0], news[1], news[2])

    def _hear(self, kind: bytes, channel: bytes, said: bytes | int) -> None:
        if kind == b"message" and isinstance(said, bytes):
            self._ring(channel, said)
        elif kind == b"subscribe":
            with self._changed:
                if channel in self._wanted:
                    self._confirmed.add(channel)
                    self._changed.notify_all()
            # Who slept while the connection was down may have missed something.
            self._ring(channel, b"")

    def _ring(self, channel: bytes, said: bytes) -> None:
        if channel == self._jobs:
            names = said.decode("utf-8", "surrogateescape").split("\n") if said else None
            for listener in list(self._sleepers.jobs):
                if names is not None:
                    listener.hear(names)
                elif listener.armed:
                    listener.ring()
        elif channel == self._schedules:
            for listener in list(self._sleepers.schedules):
                listener.hear(())
        elif channel.startswith(self._done):
            job_id = channel[len(self._done) + 1 :].decode("utf-8", "surrogateescape")
            for listener in list(self._sleepers.results):
                listener.hear([job_id])


class _Process:
    """What the transports of this process share: who sleeps on which store."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._sleepers: dict[str, _Sleepers] = {}

    def sleepers(self, place: str) -> _Sleepers:
        """Return the sleepers on a store."""
        with self._lock:
            return self._sleepers.setdefault(place, _Sleepers())

    def forget(self) -> None:
        """Leave the parent's sleepers to the parent, in a forked child."""
        self._lock = threading.Lock()
        self._sleepers = {}


def _is_timeout(error: Exception) -> bool:
    from redis.exceptions import TimeoutError as ClientTimeoutError

    return isinstance(error, ClientTimeoutError | TimeoutError)


_process = _Process()
if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_process.forget)
