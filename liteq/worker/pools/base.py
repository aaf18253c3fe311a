"""What a pool is: how one process runs several jobs at once.

A pool of your own is a class with the attributes and methods of `Pool`, named by an entry point of the group
`liteq.pools`. Its `Crew` starts what it is given, each beside the others; claiming, settling, time limits and
stopping are the loop's (`liteq.worker.pools.loop`), and are the same in every pool.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, Protocol, TypeVar

from liteq.job import Claim
from liteq.task import Task

__all__ = ["Crew", "JobRun", "Pool"]

T = TypeVar("T")


class JobRun(Protocol):
    """One claimed job, ready to be run; exactly one of its two methods is called, once. Neither raises."""

    @property
    def is_async(self) -> bool:
        """Whether its task is an async function."""

    def run(self) -> None:
        """Run it in the calling thread; an async task gets an event loop of that thread's own."""

    async def arun(self) -> None:
        """Run it on the event loop that awaits this."""


class Crew(Protocol):
    """Runs jobs side by side in this process."""

    @property
    def plain_limit(self) -> int | None:
        """How many jobs of plain functions it runs at once, where that is fewer than all; else None."""

    def main(self, dispatch: Callable[[], T]) -> T:
        """Call `dispatch`, which starts jobs until it returns, and return what it does.

        Called in the main thread of a worker process. A crew that needs this thread for itself calls
        `dispatch` in another one meanwhile. When `dispatch` has returned no job runs any more, and the crew
        gives up what it has.
        """

    def start(self, runs: Sequence[JobRun]) -> None:
        """Begin to run these jobs beside those that run; returns at once. Called by `dispatch`."""

    def recall(self, runs: Iterable[JobRun]) -> None:
        """Begin to interrupt these jobs, if the pool `recalls`; from any thread, and returns at once."""


class Pool(Protocol):
    """A kind of pool; made without arguments."""

    @property
    def name(self) -> str:
        """What `-P` calls it."""

    @property
    def first(self) -> str | None:
        """What a worker process calls before it imports anything else; None for nothing.

        The names of a module and of a function in it, with a colon between them.
        """

    @property
    def default_concurrency(self) -> int:
        """How many jobs run at once in a process if nobody says."""

    @property
    def recalls(self) -> bool:
        """Whether its crews can interrupt jobs when a worker is to stop at once."""

    def require(self) -> None:
        """Look whether the pool can be used here, without importing what it needs.

        Raises:
            ExtraRequiredError: something is not installed.
            NotSupportedError: it cannot run on this interpreter or system.
        """

    def refusal(self, task: Task[..., Any]) -> str | None:
        """Return why this pool cannot run a task; None if it can."""

    def crew(self, concurrency: int) -> Crew:
        """Return a crew for so many jobs at once."""

    def interrupts(self, is_async: bool) -> bool:
        """Tell whether the pool itself ends jobs, of async or of plain functions, at their time limit.

        The process of a job that goes on all the same is killed in any case.
        """

    def call(
        self,
        job: Claim,
        limit: float | None,
        function: Callable[..., Any],
        args: Sequence[Any],
        kwargs: Mapping[str, Any],
    ) -> Any:
        """Call a plain task's function, and interrupt it after `limit` seconds, if this pool can do that."""

    def limited(self, seconds: float, function: Callable[..., Any]) -> Callable[..., Any]:
        """Return a plain task's function with a soft time limit: it raises inside it, where this can."""

    def aside(self, function: Callable[[], T]) -> T:
        """Call a function that blocks its thread, as reading a pipe does, so that no job waits for it."""
