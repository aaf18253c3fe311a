"""The pools of green threads: one thread runs all jobs, and switches when one of them waits.

Both libraries replace what waits in the standard library by what switches. That has to be done before
anything else is imported, liteq included, so the worker process begins with it. Nothing here imports them.
"""

from __future__ import annotations

import atexit
import importlib
from collections.abc import Callable, Iterable, Mapping, Sequence
from importlib.util import find_spec
from inspect import iscoroutinefunction
from types import CoroutineType
from typing import Any, TypeVar

from liteq.errors import ExtraRequiredError, NotSupportedError
from liteq.job import Claim
from liteq.task import Task
from liteq.worker import soft
from liteq.worker.faults import overrun
from liteq.worker.pools.base import JobRun

__all__ = ["EventletPool", "GeventPool", "GreenCrew"]

T = TypeVar("T")


class GreenCrew:
    """Runs each job in a green thread; see `liteq.worker.pools.base.Crew`.

    Args:
        spawn: starts a green thread.
    """

    plain_limit = None

    def __init__(self, spawn: Callable[[Callable[[], None]], object]) -> None:
        self._spawn = spawn

    def main(self, dispatch: Callable[[], T]) -> T:
        """Dispatch in this green thread."""
        return dispatch()

    def start(self, runs: Sequence[JobRun]) -> None:
        """Run these jobs beside those that run."""
        for run in runs:
            self._spawn(run.run)

    def recall(self, runs: Iterable[JobRun]) -> None:
        """Do nothing: what is raised in a green thread could not be told from an error of its task."""


class _GreenPool:
    """What both have in common; see `liteq.worker.pools.base.Pool`."""

    name: str
    first: str | None
    default_concurrency = 100
    recalls = False

    def require(self) -> None:
        """Look whether the library is installed.

        Raises:
            ExtraRequiredError: it is not.
        """
        if find_spec(self.name) is None:
            raise ExtraRequiredError(
                f"The pool {self.name} needs the {self.name} extra: pip install 'liteq-queue[{self.name}]'"
            )

    def refusal(self, task: Task[..., Any]) -> str | None:
        """Refuse async tasks: asyncio and green threads want to wait in different places."""
        if not iscoroutinefunction(task.fn):
            return None
        return (
            f"The task {task.name} is async, and the pool {self.name} runs plain functions only; "
            "use the pool asyncio, threads or processes."
        )

    def interrupts(self, _is_async: bool) -> bool:
        """Return True: a green thread is interrupted where it waits."""
        return True

    def call(
        self,
        job: Claim,
        limit: float | None,
        function: Callable[..., Any],
        args: Sequence[Any],
        kwargs: Mapping[str, Any],
    ) -> Any:
        """Call a task's function, and raise in it when its time is over."""
        if limit is None:
            value = function(*args, **kwargs)
        else:
            with self._timeout(limit, overrun(job, limit)):
                value = function(*args, **kwargs)
        if type(value) is CoroutineType:
            value.close()
            raise NotSupportedError(
                f"Task {job.task} gave a coroutine, and the pool {self.name} has no event loop for it; "
                "use the pool asyncio, threads or processes."
            )
        return value

    def limited(self, seconds: float, function: Callable[..., Any]) -> Callable[..., Any]:
        """Return a function in which is raised where its green thread waits."""

        def call(*args: Any, **kwargs: Any) -> Any:
            with self._timeout(seconds, soft.overrun(seconds)):
                return function(*args, **kwargs)

        return call

    def crew(self, _concurrency: int) -> GreenCrew:
        """Return a crew of green threads."""
        return GreenCrew(importlib.import_module(self.name).spawn)

    def _timeout(self, seconds: float, error: BaseException) -> Any:
        return importlib.import_module(self.name).Timeout(seconds, error)


class GeventPool(_GreenPool):
    """`-P gevent`."""

    name = "gevent"
    first = "gevent.monkey:patch_all"

    def aside(self, function: Callable[[], T]) -> T:
        """Call a function that blocks in a thread of gevent's own."""
        result: T = importlib.import_module("gevent").get_hub().threadpool.apply(function)
        return result


class EventletPool(_GreenPool):
    """`-P eventlet`."""

    name = "eventlet"
    first = "eventlet:monkey_patch"

    def aside(self, function: Callable[[], T]) -> T:
        """Call a function that blocks in a thread of eventlet's own."""
        pool = importlib.import_module("eventlet.tpool")
        pool.setup()
        # It would wait at exit for the thread that waits for the supervisor.
        atexit.unregister(pool.killall)
        result: T = pool.execute(function)
        return result
