"""Running an async task where no event loop waits for it: on a loop of the thread's own.

The loop is made for a thread's first coroutine and kept for the next ones. What a coroutine has begun and not
awaited is cancelled when it ends, as `asyncio.run()` would do it. asyncio is imported with the first one.
"""

from __future__ import annotations

import threading
from collections.abc import Coroutine
from contextvars import copy_context
from typing import Any, Generic, NamedTuple, TypeVar

__all__ = ["close_loop", "run_coroutine"]

R = TypeVar("R")


class _Own(threading.local):
    """The event loop of each thread."""

    loop: Any = None


_own = _Own()


class _Ended(NamedTuple, Generic[R]):
    """How a coroutine has ended."""

    values: tuple[R, ...]
    error: BaseException | None


async def _end_of(coroutine: Coroutine[Any, Any, R]) -> _Ended[R]:
    """Run a coroutine; what it raises, an exit or a cancellation too, is none of the event loop's affairs."""
    try:
        return _Ended((await coroutine,), None)
    except BaseException as error:
        return _Ended((), error)


def run_coroutine(coroutine: Coroutine[Any, Any, R]) -> R:
    """Run a coroutine to its end, and return or raise what it does.

    Where this thread is inside of another event loop, as an eager call may be, a thread of its own runs it.
    """
    import asyncio

    if asyncio._get_running_loop() is not None:
        return _run_beside(coroutine)
    loop = _own.loop
    if loop is None or loop.is_closed():
        loop = _own.loop = asyncio.new_event_loop()
    try:
        ended: _Ended[R] = loop.run_until_complete(_end_of(coroutine))
    finally:
        _cancel(loop)
    if ended.error is not None:
        raise ended.error
    return ended.values[0]


def close_loop() -> None:
    """Close the calling thread's event loop, if it has one; the next coroutine gets another.

    What the loop has running in other threads is not waited for. Inside of another event loop it stays open.
    """
    if _own.loop is None:
        return
    import asyncio

    if asyncio._get_running_loop() is not None:
        return
    loop, _own.loop = _own.loop, None
    if loop.is_closed():
        return
    try:
        _cancel(loop)
        loop.run_until_complete(loop.shutdown_asyncgens())
    finally:
        loop.close()


def _cancel(loop: Any) -> None:
    """Cancel what a coroutine has left behind, and let it end."""
    import asyncio

    left = asyncio.all_tasks(loop)
    if left:
        for task in left:
            task.cancel()
        loop.run_until_complete(asyncio.gather(*left, return_exceptions=True))


def _run_beside(coroutine: Coroutine[Any, Any, R]) -> R:
    ended: list[_Ended[R]] = []

    def run() -> None:
        try:
            ended.append(_Ended((run_coroutine(coroutine),), None))
        except BaseException as error:
            ended.append(_Ended((), error))
        finally:
            close_loop()

    thread = threading.Thread(target=copy_context().run, args=(run,), name="liteq-coroutine")
    thread.start()
    thread.join()
    (end,) = ended
    if end.error is not None:
        raise end.error
    return end.values[0]
