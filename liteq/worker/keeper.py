"""The thread that looks after a batch while a job of it runs.

Jobs are claimed in batches, and any of them may turn out long. Then the ones behind it go back to the
queue, where somebody else can run them, and the outcomes of the ones before it go to the store. Between
batches the keeper sleeps without a timeout. While a task holds the interpreter's lock no thread of this
process runs, this one included; then the supervisor takes back what has not begun (see `recovery`), and
finished outcomes wait.
"""

from __future__ import annotations

from collections.abc import Callable
from queue import Empty, SimpleQueue
from threading import Thread

from liteq.clock import Clock
from liteq.errors import StoreBusyError, StoreFullError
from liteq.worker.desk import Desk

__all__ = ["FLUSH_AFTER", "HAND_BACK_AFTER", "Keeper"]

HAND_BACK_AFTER = 0.02
"""Seconds that a job may run before the jobs behind it are handed back."""

FLUSH_AFTER = 0.03
"""Seconds that an outcome may wait for the next turn with the store; 50 ms are promised."""

_LATE = 0.01
"""Seconds; from a task that does not hold the interpreter in C, a thread gets it within 5 ms."""
_LATE_LOOKS = 4
"""How often in a row a look is put off because of that; a machine under load makes threads late as well."""
_PUT_OFF = 0.005
_OFFER = 0.0005
"""Seconds for which the keeper lets go of the interpreter before a turn with the store."""

_FIRST_RETRY = 0.1
_LAST_RETRY = 2.0

_LOOK, _STOP, _CLOSE = range(3)


class Keeper:
    """Hands unstarted jobs back and flushes outcomes while a job runs.

    Args:
        desk: the table shared with the running thread.
        clock: tells monotonic time.
        wake_loop: makes the running thread look at its flags if it is asleep.
    """

    def __init__(self, desk: Desk, clock: Clock, wake_loop: Callable[[], None]) -> None:
        self._desk = desk
        self._clock = clock
        self._wake_loop = wake_loop
        # A SimpleQueue because its `put` may be called from a signal handler; an Event's `set` may not.
        self._bell: SimpleQueue[int] = SimpleQueue()
        self._asleep = False
        self._not_before = 0.0
        self._late_looks = 0
        self._retry_delay = _FIRST_RETRY
        self._thread = Thread(target=self._run, name="liteq-keeper", daemon=True)
        self.failure: BaseException | None = None
        """What ended this thread, if an error did: the running thread raises it."""

    def start(self) -> None:
        """Start the thread."""
        self._thread.start()

    def watch(self) -> None:
        """Say that a batch begins."""
        if self._asleep:
            self._bell.put(_LOOK)

    def stop(self) -> None:
        """Hand back at once what has not begun, and wake the loop; may be called from a signal handler."""
        self._bell.put(_STOP)

    def close(self) -> None:
        """End the thread and wait for it; idempotent."""
        self._bell.put(_CLOSE)
        if self._thread.is_alive():
            self._thread.join()

    def _run(self) -> None:
        try:
            while (message := self._next()) != _CLOSE:
                if message == _STOP:
                    self._wake_loop()
                elif self._is_held():
                    continue
                self._look(stopping=message == _STOP)
        except BaseException as error:
            self.failure = error
            self._wake_loop()

    def _next(self) -> int:
        """Sleep until there is something to look at."""
        # Raised before looking: a batch that begins after the look then rings the bell.
        self._asleep = True
        at = self._next_look()
        if at is None:
            message = self._bell.get()
            self._asleep = False
            return message
        self._asleep = False
        try:
            return self._bell.get(timeout=max(0.0, at - self._clock.monotonic()))
        except Empty:
            return _LOOK

    def _is_held(self) -> bool:
        """Tell whether a task seems to hold the interpreter, and put the look off if so.

        A task that takes it again while this thread waits for the disk keeps this thread from giving back the
        write lock: with one hold of 25 ms and one of 2 s behind it, every writer of the file waited for 2 s.
        So it is offered the interpreter first, and what comes back late is a sign.
        """
        at = self._next_look()
        before = self._clock.monotonic()
        if at is None or at > before:
            return False
        self._clock.sleep(_OFFER)
        late = max(before - at, self._clock.monotonic() - before - _OFFER)
        if late < _LATE or self._late_looks >= _LATE_LOOKS:
            self._late_looks = 0
            return False
        self._late_looks += 1
        self._not_before = self._clock.monotonic() + _PUT_OFF
        return True

    def _next_look(self) -> float | None:
        since = self._desk.running_since
        if since is None:
            return None
        times = []
        if self._desk.unstarted:
            times.append(since + HAND_BACK_AFTER)
        oldest = self._desk.oldest_outcome()
        if oldest is not None:
            times.append(oldest + FLUSH_AFTER)
        return max(min(times), self._not_before) if times else None

    def _look(self, stopping: bool) -> None:
        now = self._clock.monotonic()
        since = self._desk.running_since
        oldest = self._desk.oldest_outcome()
        too_long = since is not None and now - since >= HAND_BACK_AFTER
        too_old = since is not None and oldest is not None and now - oldest >= FLUSH_AFTER
        if stopping or (too_long and self._desk.unstarted):
            self._desk.hand_back()
        elif not too_old:
            return
        self._settle(now)

    def _settle(self, now: float) -> None:
        try:
            self._desk.settle()
        except (StoreBusyError, StoreFullError):
            # The outcomes are back on the table; the running thread logs the same trouble when it meets it.
            self._not_before = now + self._retry_delay
            self._retry_delay = min(_LAST_RETRY, 2 * self._retry_delay)
        else:
            self._not_before = 0.0
            self._retry_delay = _FIRST_RETRY
