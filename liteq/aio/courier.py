"""A thread that does errands for coroutines, one after the other, so that no event loop waits for a store."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Awaitable, Callable, Sequence
from functools import partial
from typing import Any, TypeVar, cast

from liteq.app.store import Store
from liteq.errors import LiteqError, StoreBusyError
from liteq.job import NewJob

__all__ = ["Courier", "own_copy"]

T = TypeVar("T")
ErrorT = TypeVar("ErrorT", bound=BaseException)

IDLE = 5.0
"""Seconds without an errand after which a thread ends that need not be the same for the next."""
MOST_JOBS = 1000
"""Jobs of several callers that are stored in one transaction."""


class _Errand:
    """Something to do: jobs to store, or a function to call; and where to tell what came of it."""

    __slots__ = ("future", "jobs", "loop", "store", "work")

    def __init__(
        self,
        work: Callable[[], object] | None,
        jobs: Sequence[NewJob] = (),
        store: Store | None = None,
        loop: Any = None,
    ) -> None:
        self.work = work
        self.jobs = jobs
        self.store = store
        self.loop = loop
        self.future: Any = None if loop is None else loop.create_future()


class Courier:
    """Does errands in the order in which they come, in a daemon thread that is there while there are any.

    Jobs that are waiting to be stored one after the other are stored together.

    Args:
        name: of the thread.
        is_loyal: the same thread does all errands until `retire`, for work that belongs to it as locks do;
            otherwise it ends when it has been idle for a while, and the next errand starts another.
    """

    def __init__(self, name: str, is_loyal: bool = False) -> None:
        self._name = name
        self._is_loyal = is_loyal
        self._changed = threading.Condition()
        self._line: deque[_Errand] = deque()
        self._thread: threading.Thread | None = None
        self._retired = False

    def call(self, work: Callable[[], T]) -> Awaitable[T]:
        """Call a function in the thread; return a future of the running loop with what it returns."""
        return cast("Awaitable[T]", self._send(_Errand(work, loop=_running_loop())))

    def store(self, store: Store, jobs: Sequence[NewJob]) -> Awaitable[list[bool]]:
        """Store jobs, all or none; return a future of the running loop with what `enqueue` says."""
        return cast("Awaitable[list[bool]]", self._send(_Errand(None, jobs, store, _running_loop())))

    def post(self, work: Callable[[], object]) -> None:
        """Call a function in the thread, and tell nobody what came of it."""
        self._send(_Errand(work))

    def retire(self) -> None:
        """Let the thread end as soon as its errands are done."""
        with self._changed:
            self._retired = True
            self._changed.notify()

    def close(self) -> None:
        """Wait until all errands are done and the thread has ended; one that comes later is done too."""
        self.retire()
        thread = self._thread
        if thread is not None and thread is not threading.current_thread():
            thread.join()

    def _send(self, errand: _Errand) -> Any:
        with self._changed:
            self._line.append(errand)
            if self._thread is None:
                self._thread = threading.Thread(target=self._run, name=self._name, daemon=True)
                self._thread.start()
            else:
                self._changed.notify()
        return errand.future

    def _run(self) -> None:
        while errands := self._next():
            ends = [(errands[0], *_ended(errands[0].work))] if errands[0].work else _stored(errands)
            _tell(ends)

    def _next(self) -> list[_Errand]:
        """Wait for something to do; nothing if the thread is to end."""
        with self._changed:
            while not self._line:
                if self._retired or not (self._changed.wait(None if self._is_loyal else IDLE) or self._line):
                    self._thread, self._retired = None, False
                    return []
            errands = [self._line.popleft()]
            room = MOST_JOBS - len(errands[0].jobs)
            while errands[0].work is None and self._line and self._line[0].work is None:
                room -= len(self._line[0].jobs)
                if room < 0:
                    break
                errands.append(self._line.popleft())
            return errands


_End = tuple[_Errand, object, BaseException | None]
"""An errand, what it has given, and what it has raised."""


def _ended(work: Callable[[], object]) -> tuple[object, BaseException | None]:
    try:
        return work(), None
    except StopIteration as error:
        # A future cannot carry it.
        told = RuntimeError("a function that was called for a coroutine raised StopIteration")
        told.__cause__ = error
        return None, told
    except BaseException as error:
        return None, error


def _stored(errands: Sequence[_Errand]) -> list[_End]:
    """Store the jobs of all errands; where one of them may be to blame for a failure, each by itself."""
    store = errands[0].store
    assert store is not None
    jobs = [job for errand in errands for job in errand.jobs]
    stored, error = _ended(lambda: store.transport().enqueue(jobs, store.clock.wall()))
    if error is None:
        flags = iter(cast("list[bool]", stored))
        return [(errand, [next(flags) for _ in errand.jobs], None) for errand in errands]
    if len(errands) > 1 and not isinstance(error, StoreBusyError):
        return [end for errand in errands for end in _stored([errand])]
    return [(errand, None, own_copy(error) if number else error) for number, errand in enumerate(errands)]


def own_copy(error: ErrorT) -> ErrorT:
    """Return an error like another one: what is raised in several coroutines collects their tracebacks."""
    if not isinstance(error, LiteqError):
        return error
    twin = type(error)(*error.args)
    twin.__cause__ = error.__cause__
    return twin


def _tell(ends: Sequence[_End]) -> None:
    # Imported here because it imports asyncio, which whoever is told has imported already.
    from liteq.aio.loops import deliver

    news: dict[Any, list[Callable[[], object]]] = {}
    for errand, value, error in ends:
        if errand.loop is not None:
            news.setdefault(errand.loop, []).append(partial(_settle, errand.future, value, error))
    for loop, each in news.items():
        deliver(loop, each)


def _settle(future: Any, value: object, error: BaseException | None) -> None:
    # Whoever waited for it may have been cancelled.
    if future.done():
        return
    if error is None:
        future.set_result(value)
    else:
        future.set_exception(error)


def _running_loop() -> Any:
    import asyncio

    return asyncio.get_running_loop()
