"""Soft time limits: `SoftTimeLimitExceeded`, raised inside a task that runs for too long.

One thread of the process watches all limits, and raises in the thread that runs the task. The main thread
is woken from a blocking call as well, where the system has signals for that; any other thread meets the
exception when its call returns. A coroutine meets it where it awaits.

A limit hits its task or nobody. Who takes the one thing out of `Limit._armed` decides: the watch, and then
the exception is on its way, or the end of the task, and then it never comes. What is on its way when the task
ends is waited for, and taken back.
"""

from __future__ import annotations

import os
import signal
import sys
import threading
import time
from collections.abc import Callable, Coroutine, Generator
from contextlib import suppress
from types import CoroutineType, FrameType, TracebackType
from typing import Any, Generic, TypeVar

from liteq.calls.coroutines import run_coroutine
from liteq.errors import SoftTimeLimitExceeded

__all__ = ["Limit", "alimit", "limit", "overrun", "run_limited"]

R = TypeVar("R")

IDLE = 5.0
"""Seconds without any limit after which the watching thread ends; the next limit starts another."""
ON_ITS_WAY = 1.0
"""The most seconds that the end of a task waits for an exception that is being raised at this moment."""


class Limit:
    """The block in which a task runs; after `seconds` the calling thread gets a `SoftTimeLimitExceeded`.

    Args:
        seconds: from the beginning of the block.
    """

    __slots__ = ("_armed", "_before", "_seconds", "_sent", "deadline", "thread", "wakes")

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds
        self._armed = [True]
        self._sent = False
        self._before: Any = None
        self.deadline = 0.0
        self.thread = 0
        self.wakes = False
        """Whether a signal may wake the thread from a blocking call."""

    def __enter__(self) -> None:
        self.thread = threading.get_ident()
        self.wakes = _can_wake()
        if self.wakes:
            # Only for as long as it may be needed: outside of the block, the signal is as it was.
            self._before = signal.signal(signal.SIGURG, _wake)
        self.deadline = time.monotonic() + self._seconds
        _watch.add(self)

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        # It may come now, when the task has ended by itself: too late.
        with suppress(SoftTimeLimitExceeded):
            self._end()
        if self.wakes and self._before is not None:
            signal.signal(signal.SIGURG, self._before)
        if type(error) is SoftTimeLimitExceeded:
            _say(error, self._seconds)

    def _end(self) -> None:
        """See to it that nothing is raised any more."""
        _watch.remove(self)
        try:
            self._armed.pop()
        except IndexError:
            give_up = time.monotonic() + ON_ITS_WAY
            while not self._sent and time.monotonic() < give_up:
                time.sleep(0.0002)
            _raise_in(self.thread, None)

    def fire(self) -> None:
        """Raise in the thread, unless its task has ended; called by the watch."""
        try:
            self._armed.pop()
        except IndexError:
            return
        _raise_in(self.thread, SoftTimeLimitExceeded)
        # Not if the task has put a handler of its own in the place of ours.
        if sys.platform != "win32" and self.wakes and signal.getsignal(signal.SIGURG) is _wake:
            with suppress(OSError):
                signal.pthread_kill(self.thread, signal.SIGURG)
        self._sent = True


limit = Limit


class _Watch:
    """The thread that looks at the limits of all tasks that run in this process."""

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self._limits: dict[int, Limit] = {}
        self._thread: threading.Thread | None = None
        self._looks_at = 0.0

    def add(self, limit: Limit) -> None:
        """Watch a limit."""
        with self._changed:
            self._limits[id(limit)] = limit
            if self._thread is None:
                self._thread = threading.Thread(target=self._run, name="liteq-soft-limits", daemon=True)
                self._thread.start()
            elif limit.deadline < self._looks_at:
                self._changed.notify()

    def remove(self, limit: Limit) -> None:
        """Watch a limit no more; takes no lock, because an exception may come at any moment."""
        self._limits.pop(id(limit), None)

    def _run(self) -> None:
        while True:
            with self._changed:
                now = time.monotonic()
                limits = list(self._limits.values())
                if not limits and now >= self._looks_at > 0:
                    self._thread, self._looks_at = None, 0.0
                    return
                due = [limit for limit in limits if limit.deadline <= now]
                if not due:
                    self._looks_at = min((limit.deadline for limit in limits), default=now + IDLE)
                    self._changed.wait(self._looks_at - now)
                    continue
            for limit in due:
                self.remove(limit)
                limit.fire()


_watch = _Watch()


def _begin_anew() -> None:
    """Forget, in a forked child, the thread that it does not have."""
    global _watch
    _watch = _Watch()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_begin_anew)


def _can_wake() -> bool:
    # What the signal does where nobody handles it is nothing, so that one that comes late harms nobody.
    return sys.platform != "win32" and threading.current_thread() is threading.main_thread()


def _wake(_number: int, _frame: FrameType | None) -> None:
    """Do nothing for a moment, in which the exception comes that was sent before the signal."""
    for _ in range(3):
        pass


def _raise_in(thread: int, kind: type[BaseException] | None) -> None:
    """Let a thread of Python code raise at its next step; None takes back what it has not raised yet."""
    # Imported here because few programs have soft limits.
    import ctypes

    raised = None if kind is None else ctypes.py_object(kind)
    ctypes.pythonapi.PyThreadState_SetAsyncExc(ctypes.c_ulong(thread), raised)


def _say(error: SoftTimeLimitExceeded, seconds: float) -> None:
    error.message = overrun(seconds).message
    error.args = (error.message,)


def overrun(seconds: float) -> SoftTimeLimitExceeded:
    """Return what a task gets that runs for longer than this."""
    return SoftTimeLimitExceeded(f"The task ran longer than its soft time limit of {seconds:g} s.")


# ---- coroutines ----------------------------------------------------------------------------------


async def alimit(seconds: float, coroutine: Coroutine[Any, Any, R]) -> R:
    """Await a task's coroutine, and raise `SoftTimeLimitExceeded` where it awaits after so many seconds.

    To the libraries that it awaits, the exception is a cancellation as well, so that what they have begun
    ends as it does when a task is cancelled.

    Args:
        seconds: from now.
        coroutine: what to await; it has not begun.
    """
    import asyncio

    class Exceeded(SoftTimeLimitExceeded, asyncio.CancelledError):
        """Both."""

    try:
        return await _Steps(coroutine, seconds, Exceeded)
    except Exceeded as error:
        raise SoftTimeLimitExceeded(error.message).with_traceback(error.__traceback__) from error.__cause__
    except BaseExceptionGroup as group:
        # Until Python 3.13 a task group takes a subclass of a cancellation for an error of its block.
        if group.split(Exceeded)[1] is not None:
            raise
        raise SoftTimeLimitExceeded(overrun(seconds).message).with_traceback(group.__traceback__) from None


class _Steps(Generic[R]):
    """Awaits a coroutine step by step, to put another exception in the place of a cancellation."""

    def __init__(
        self, coroutine: Coroutine[Any, Any, R], seconds: float, exceeded: type[SoftTimeLimitExceeded]
    ) -> None:
        self._coroutine = coroutine
        self._seconds = seconds
        self._exceeded = exceeded
        self._task: Any = None
        self._cancelling = 0
        self._is_due = False

    def __await__(self) -> Generator[Any, Any, R]:
        import asyncio

        self._task = asyncio.current_task()
        self._cancelling = self._task.cancelling()
        timer = asyncio.get_running_loop().call_later(self._seconds, self._fire)
        step: Callable[[Any], Any] = self._coroutine.send
        value: Any = None
        try:
            while True:
                try:
                    awaited = step(value)
                except StopIteration as stop:
                    result: R = stop.value
                    return result
                try:
                    step, value = self._coroutine.send, (yield awaited)
                except asyncio.CancelledError as error:
                    step, value = self._coroutine.throw, self._in_place_of(error)
                except BaseException as error:
                    step, value = self._coroutine.throw, error
        finally:
            timer.cancel()
            self._coroutine.close()

    def _fire(self) -> None:
        # Called by the loop, so that the task is waiting just now, and the cancellation reaches it there.
        self._is_due = True
        self._task.cancel()

    def _in_place_of(self, error: BaseException) -> BaseException:
        """Return what the coroutine is to raise, where its task is told to be cancelled."""
        if not self._is_due:
            return error
        self._is_due = False
        # Somebody else may want it cancelled at the same moment, and that comes first.
        if self._task.uncancel() > self._cancelling:
            return error
        exceeded = self._exceeded()
        _say(exceeded, self._seconds)
        return exceeded


# ---- either --------------------------------------------------------------------------------------


def run_limited(seconds: float, function: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Any:
    """Call a task's function in this thread under a soft time limit; an async one is awaited here."""
    with Limit(seconds):
        value = function(*args, **kwargs)
    if type(value) is CoroutineType:
        value = run_coroutine(alimit(seconds, value))
    return value
