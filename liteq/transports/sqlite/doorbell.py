"""Waking those who sleep: workers when there are jobs, callers when there are results, schedulers.

Rung after commit. A ring that is lost costs latency only, because nobody sleeps for more than a second
without looking; so nothing here locks out others, and every doubt is settled in favour of ringing.
"""

from __future__ import annotations

import contextlib
import threading
import time
import zlib
from collections.abc import Callable, Collection, Iterable, Sequence
from functools import wraps
from typing import ParamSpec

from liteq.transports.local.oslock import OsLock
from liteq.transports.sqlite.bell import Bell, open_bell, ring
from liteq.transports.sqlite.bell_table import JOBS, PLACES, RESULTS, SCHEDULES, BellTable
from liteq.transports.sqlite.place import SideFolder

__all__ = ["LOOK_INTERVAL", "Doorbells", "FileListener"]

P = ParamSpec("P")

LOOK_INTERVAL = 1.0
"""Seconds; sleepers look this often by themselves, so jobs due later need no ring."""
POLL_WITHOUT_BELL = 0.02
"""Seconds between looks of a listener that found no place; only the 257th sleeper of a file comes here."""
KEPT_LISTENERS = 8


def queue_mask(queues: Iterable[str]) -> int:
    """Return a key with one of 64 bits set for each queue name."""
    mask = 0
    for queue in queues:
        mask |= 1 << (zlib.crc32(queue.encode("utf-8", "surrogatepass")) & 63)
    return mask


def result_key(job_id: str) -> int:
    """Return a key for one job; never 0."""
    return zlib.crc32(job_id.encode("utf-8", "surrogatepass")) | 1 << 32


def _harmless(ring_: Callable[P, None]) -> Callable[P, None]:
    """Let a ring fail in silence: what it tells of is committed, and a lost ring costs latency only."""

    @wraps(ring_)
    def guarded(*args: P.args, **kwargs: P.kwargs) -> None:
        # ValueError is what a table says that another thread has closed meanwhile.
        with contextlib.suppress(OSError, ValueError):
            ring_(*args, **kwargs)

    return guarded


class FileListener:
    """A place in the table with a bell; see `liteq.transport.Listener`."""

    def __init__(self, bells: Doorbells, place: int, bell: Bell) -> None:
        self._bells = bells
        self._table = bells.table
        self.place = place
        self.bell = bell
        self._kind = JOBS

    def watch(self, kind: int, key: int) -> None:
        """Set what it waits for."""
        self._kind = kind
        self._table.set_key(self.place, key)

    def arm(self) -> None:
        """Ask to be rung from now on."""
        self._table.arm(self.place, self._kind)

    def wait(self, timeout: float) -> bool:
        """Sleep until rung or for `timeout` seconds."""
        try:
            return self.bell.wait(max(0.0, timeout))
        finally:
            self._table.disarm(self.place)

    def ring(self) -> None:
        """Wake it from inside its own process."""
        self.bell.ring()

    def attend(self, interests: int, seconds: float) -> None:
        """Say that its owner comes back within so many seconds."""
        self._table.attend(self.place, interests, time.monotonic() + seconds)

    def is_attended(self, interests: int) -> bool:
        """Tell whether the owner of a place before this one attends to the same."""
        return self._table.is_attended(self.place, interests, time.monotonic())

    def close(self) -> None:
        """Hand the place back; idempotent."""
        self._table.disarm(self.place)
        self._table.leave(self.place)
        self._bells.put_back(self)


class _Poller:
    """A listener for when the table is full."""

    def __init__(self) -> None:
        self._rung = threading.Event()

    def arm(self) -> None:
        """There is nobody to ask."""

    def wait(self, timeout: float) -> bool:
        """Sleep for a moment."""
        rang = self._rung.wait(min(timeout, POLL_WITHOUT_BELL))
        self._rung.clear()
        return rang

    def ring(self) -> None:
        """Wake it from inside its own process."""
        self._rung.set()

    def attend(self, interests: int, seconds: float) -> None:
        """There is no place to say so."""

    def is_attended(self, interests: int) -> bool:
        """There is nobody before it that it could know of."""
        return False

    def close(self) -> None:
        """There is nothing to close."""


class Doorbells:
    """All that a process needs to ring, and to be rung."""

    def __init__(self, side: SideFolder) -> None:
        self._side = side
        self.table = BellTable(side.bells)
        self._lock = threading.Lock()
        self._kept: list[FileListener] = []
        self._open: set[FileListener] = set()

    # ---- listening -------------------------------------------------------------------------------

    def listen(self, kind: int, key: int) -> FileListener | _Poller:
        """Return a listener for this kind of news, a kept one where there is one."""
        with self._lock:
            listener = self._kept.pop() if self._kept else self._find_place()
            if listener is None:
                return _Poller()
            self._open.add(listener)
        listener.watch(kind, key)
        return listener

    def listen_for_jobs(self, queues: Sequence[str] | None) -> FileListener | _Poller:
        """Return a listener for jobs of these queue names."""
        return self.listen(JOBS, 0 if queues is None else queue_mask(queues))

    def listen_for_result(self, job_id: str | None) -> FileListener | _Poller:
        """Return a listener for one result, or for all."""
        return self.listen(RESULTS, 0 if job_id is None else result_key(job_id))

    def listen_for_schedules(self) -> FileListener | _Poller:
        """Return a listener for changes of schedules."""
        return self.listen(SCHEDULES, 0)

    def anyone_awaits_results(self) -> bool:
        """Tell whether anybody sleeps until a result comes."""
        return self.table.anyone_armed(RESULTS)

    def put_back(self, listener: FileListener) -> None:
        """Keep a listener for the next who needs one."""
        with self._lock:
            if listener not in self._open:
                return
            self._open.discard(listener)
            if len(self._kept) < KEPT_LISTENERS:
                self._kept.append(listener)
            else:
                self._drop(listener)

    def _find_place(self) -> FileListener | None:
        """Return a listener at a place of its own; None if there is none, or the system refuses one."""
        with contextlib.suppress(OSError):
            return self._take_place()
        return None

    def _take_place(self) -> FileListener | None:
        """Find a free place, or one whose owner is dead, while no other process looks for one."""
        lock = OsLock(self._side.path / "bells-lock")
        try:
            deadline = time.monotonic() + 1.0
            while not lock.try_acquire():
                if time.monotonic() > deadline:
                    return None
                time.sleep(0.001)
            for place in range(PLACES):
                path = self._side.bell(place)
                if self.table.is_owned(place) and ring(path, self.table.facts(place)[1]):
                    continue
                with contextlib.suppress(OSError):
                    bell = open_bell(path)
                    self.table.take(place, 0, bell.address)
                    return FileListener(self, place, bell)
            return None
        finally:
            lock.close()

    def _drop(self, listener: FileListener) -> None:
        self.table.give_up(listener.place)
        listener.bell.close()

    # ---- ringing ---------------------------------------------------------------------------------

    def ring_for_jobs(self, queues: Collection[str]) -> None:
        """Wake as many sleeping workers as there are new jobs, of those that serve the jobs' queue names."""
        # Asked after every `delay()`; in a busy system nobody sleeps.
        if self.table.anyone_armed(JOBS):
            self._ring_for_jobs(queues)

    @_harmless
    def _ring_for_jobs(self, queues: Collection[str]) -> None:
        mask = queue_mask(set(queues))
        left = len(queues)
        for place in self.table.armed(JOBS):
            if left <= 0:
                return
            key, address = self.table.facts(place)
            if key == 0 or key & mask:
                left -= self._ring(place, address)

    @_harmless
    def ring_for_all_jobs(self) -> None:
        """Wake every sleeping worker: jobs came back, of whatever queue."""
        self._ring_all(JOBS)

    @_harmless
    def ring_for_schedules(self) -> None:
        """Wake the schedulers."""
        self._ring_all(SCHEDULES)

    @_harmless
    def ring_for_results(self, job_ids: Iterable[str]) -> None:
        """Wake those who wait for these jobs."""
        places = self.table.armed(RESULTS)
        if not places:
            return
        keys = {result_key(job_id) if job_id else 0 for job_id in job_ids}
        for place in places:
            key, address = self.table.facts(place)
            if key == 0 or key in keys or 0 in keys:
                self._ring(place, address)

    def _ring_all(self, kind: int) -> None:
        for place in self.table.armed(kind):
            self._ring(place, self.table.facts(place)[1])

    def _ring(self, place: int, address: int) -> bool:
        # Disarmed first, so that the next job rings somebody else while this one wakes up.
        self.table.disarm(place)
        if ring(self._side.bell(place), address):
            return True
        self.table.give_up(place)
        return False

    def close(self) -> None:
        """Give up all places; idempotent."""
        with self._lock:
            for listener in (*self._kept, *self._open):
                self._drop(listener)
            self._kept.clear()
            self._open.clear()
        self.table.close()
