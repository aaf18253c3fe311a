"""One thread that waits for results on behalf of all coroutines of a queue, however many there are.

It sleeps until a doorbell rings for any result, or for a second, and then looks at all that are awaited. A
new one is looked at at once. Looking at very many takes a while; then it rests for a multiple of that while
between two such looks.
"""

from __future__ import annotations

import threading
import time
from asyncio import AbstractEventLoop
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from functools import partial
from typing import Any, Protocol, TypeVar

from liteq.aio.courier import own_copy
from liteq.aio.loops import deliver
from liteq.app.store import LOOK_EVERY, Store
from liteq.errors import ResultTimeoutError, StoreUnavailableError
from liteq.job import Job
from liteq.transport import Listener, Transport

__all__ = ["Awaited", "Waiting", "Watcher"]

R_co = TypeVar("R_co", covariant=True)

IDLE = 5.0
"""Seconds without anything to wait for after which the thread ends; the next result starts another."""
PART = 100
"""Results that are read from the store at once."""
REST = 2.0
"""How many times as long as it took to look at all it rests before it does so again."""
LEAST_REST = 0.0005
"""Seconds that it rests at least: on a busy queue the doorbell rings for many results that nobody awaits."""


class Awaited(Protocol[R_co]):
    """A handle on a job's result, as far as those who wait for it use it; `AsyncResult` is one."""

    id: str
    _store: Store
    _kept: Job | None

    def _note(self, job: Job | None) -> Job | None: ...

    def _is_over(self, job: Job | None) -> bool: ...

    def _late(self, job: Job | None, timeout: float | None) -> ResultTimeoutError: ...

    def _outcome(self, job: Job | None, propagate: bool) -> R_co: ...


class Waiting:
    """One result that somebody awaits.

    Args:
        result: the handle of the job.
        deadline: until when, on the monotonic clock; None for as long as it takes.
        loop: the event loop in whose thread `done` is called; None for the watcher's own thread.
        done: called with this object when it is over.

    Attributes:
        job: the job as it was seen last.
        error: why it cannot be awaited any more, or None.
        is_late: the deadline has passed and the job is not finished.
        is_over: nothing more comes of it.
    """

    __slots__ = ("deadline", "done", "error", "is_late", "is_over", "job", "loop", "result")

    def __init__(
        self,
        result: Awaited[Any],
        deadline: float | None,
        loop: AbstractEventLoop | None,
        done: Callable[[Waiting], object],
    ) -> None:
        self.result = result
        self.deadline = deadline
        self.loop = loop
        self.done = done
        self.job: Job | None = None
        self.error: BaseException | None = None
        self.is_late = False
        self.is_over = False

    def until(self, job: Job | None, now: float) -> float:
        """Return when it is to be looked at again though nothing rings."""
        at = now + LOOK_EVERY if self.deadline is None else min(self.deadline, now + LOOK_EVERY)
        if job is not None and job.holder is None and job.expires is not None:
            at = min(at, now + max(0.001, job.expires - self.result._store.clock.wall()))
        return at


class Watcher:
    """Waits for the results of one queue."""

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self._new: list[Waiting] = []
        self._waiting: dict[Waiting, None] = {}
        self._thread: threading.Thread | None = None
        self._listener: Listener | None = None
        """What the thread sleeps at; None while it does not, or has nothing to wait for."""
        self._closing = False
        self._rests_until = 0.0
        self._looks_at = 0.0

    # ---- any thread --------------------------------------------------------------------------------

    def add(self, store: Store, waiting: Sequence[Waiting]) -> None:
        """Wait for more results, all of one store."""
        with self._changed:
            self._new += waiting
            if self._thread is None:
                name = "liteq-results"
                self._thread = threading.Thread(target=self._run, args=(store,), name=name, daemon=True)
                self._thread.start()
            else:
                self._wake()

    def forget(self, waiting: Iterable[Waiting]) -> None:
        """Wait for some results no more."""
        with self._changed:
            for each in waiting:
                each.is_over = True
                self._waiting.pop(each, None)

    def close(self) -> None:
        """Tell all who wait that the queue was closed, and end the thread."""
        with self._changed:
            thread = self._thread
            self._closing = True
            self._wake()
        if thread is not None and thread is not threading.current_thread():
            thread.join()
        self._closing = False

    def _wake(self) -> None:
        if self._listener is None:
            self._changed.notify()
        else:
            # What cannot be rung any more is closed, and its sleeper awake.
            with suppress(OSError, ValueError):
                self._listener.ring()

    # ---- its own thread ----------------------------------------------------------------------------

    def _run(self, store: Store) -> None:
        while self._has_work():
            try:
                transport = store.transport()
                listener = transport.listen_for_result()
                try:
                    with self._changed:
                        self._listener = listener
                    while self._step(transport, listener):
                        pass
                finally:
                    with self._changed:
                        self._listener = None
                    listener.close()
            # Not only StoreError: whatever it is, nobody may wait for ever.
            except Exception as error:
                self._give_up(error)

    def _has_work(self) -> bool:
        """Wait until there is something to wait for; False if the thread is to end."""
        with self._changed:
            while not (self._new or self._waiting):
                if self._closing or not (self._changed.wait(IDLE) or self._new):
                    self._thread = None
                    return False
            return True

    def _step(self, transport: Transport, listener: Listener) -> bool:
        """Look once at what is to be looked at, and sleep; False when nothing is left to wait for."""
        listener.arm()
        others = list(self._waiting)
        now = time.monotonic()
        rest = self._rests_until - now if others else 0.0
        if rest <= 0:
            self._looks_at = now + LOOK_EVERY
        self._look(transport, self._take_new())
        if others and rest <= 0:
            self._look_at_all(transport, others)
        with self._changed:
            if self._closing:
                raise StoreUnavailableError(
                    f"{transport.url}: this queue was closed while results were awaited."
                )
            if self._new:
                return True
            if not self._waiting:
                self._listener = None
                return False
        pause = self._looks_at - time.monotonic()
        listener.wait(max(0.0, min(pause, rest) if rest > 0 else pause))
        return True

    def _look_at_all(self, transport: Transport, waiting: Sequence[Waiting]) -> None:
        began = time.monotonic()
        for first in range(0, len(waiting), PART):
            self._look(transport, waiting[first : first + PART])
            self._look(transport, self._take_new())
        ended = time.monotonic()
        self._rests_until = ended + max(LEAST_REST, REST * (ended - began))

    def _take_new(self) -> list[Waiting]:
        """Return those that nobody has looked at yet; whatever becomes of the look, they count as waiting."""
        with self._changed:
            new = [each for each in self._new if not each.is_over]
            self._new.clear()
            self._waiting.update(dict.fromkeys(new))
        return new

    def _look(self, transport: Transport, waiting: Sequence[Waiting]) -> None:
        """Read the jobs of some results, and tell those whose waiting is over."""
        for first in range(0, len(waiting), PART):
            part = waiting[first : first + PART]
            now = time.monotonic()
            jobs = transport.get([each.result.id for each in part])
            with self._changed:
                over = [each for each, job in zip(part, jobs, strict=True) if self._is_over(each, job, now)]
            _tell(over)

    def _is_over(self, each: Waiting, job: Job | None, now: float) -> bool:
        """Tell whether the waiting for a result ends now; whoever was told already is told no more."""
        if each.is_over:
            return False
        each.job = job
        if not each.result._is_over(each.result._note(job)):
            if each.deadline is None or each.deadline > now:
                self._waiting[each] = None
                self._looks_at = min(self._looks_at, each.until(job, now))
                return False
            each.is_late = True
        self._waiting.pop(each, None)
        each.is_over = True
        return True

    def _give_up(self, error: Exception) -> None:
        """Tell all who wait that it has come to nothing."""
        with self._changed:
            over = [each for each in (*self._waiting, *self._new) if not each.is_over]
            self._waiting.clear()
            self._new.clear()
            for each in over:
                each.is_over, each.error = True, own_copy(error)
        _tell(over)


def _tell(over: Sequence[Waiting]) -> None:
    news: dict[AbstractEventLoop, list[Callable[[], object]]] = {}
    for each in over:
        if each.loop is None:
            each.done(each)
        else:
            news.setdefault(each.loop, []).append(partial(each.done, each))
    for loop, calls in news.items():
        deliver(loop, calls)
