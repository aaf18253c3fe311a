"""What runs the jobs of a worker process: the loop that its pool asks for."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Protocol, TypedDict, Unpack

from liteq.clock import SystemClock
from liteq.errors import NotSupportedError
from liteq.job import WorkerInfo
from liteq.task import Task
from liteq.transport import Transport
from liteq.worker.config import WorkerConfig
from liteq.worker.executor import Executor
from liteq.worker.loop import LoopEnd, WorkerLoop
from liteq.worker.pools.base import Pool
from liteq.worker.surroundings import Surroundings

__all__ = ["Loop", "LoopOptions", "check_tasks", "make_loop"]


class Loop(Protocol):
    """Runs jobs until it is stopped."""

    def run(self) -> LoopEnd:
        """Work until stopped or recycled; call it once."""

    def stop(self) -> None:
        """Ask it to end: what runs is finished, what has not begun handed back. For signal handlers too."""

    def recall(self) -> None:
        """Stop, and interrupt what runs so that it goes back, as far as that is possible here."""


class LoopOptions(TypedDict):
    """What every loop takes alike; see `liteq.worker.loop.WorkerLoop`."""

    visibility_timeout: float
    on_registered: Callable[[int], None]
    on_time_limit: Callable[[], None]
    on_idle: Callable[[], None]
    surroundings: Surroundings


def check_tasks(pool: Pool, tasks: Mapping[str, Task[..., Any]]) -> None:
    """Look whether a pool can run all these tasks.

    Raises:
        NotSupportedError: it cannot run one; the message says why.
    """
    for task in tasks.values():
        refusal = pool.refusal(task)
        if refusal is not None:
            raise NotSupportedError(refusal)


def make_loop(
    config: WorkerConfig,
    pool: Pool | None,
    tasks: Mapping[str, Task[..., Any]],
    transport: Transport,
    info: WorkerInfo,
    **options: Unpack[LoopOptions],
) -> Loop:
    """Return the loop of a worker process.

    Args:
        config: what the process is told.
        pool: its pool; None for one job after the other.
        tasks: the tasks that it knows.
        transport: the store.
        info: what the worker tells about itself.
        options: as `WorkerLoop` takes them.

    Raises:
        NotSupportedError: the pool cannot run one of the tasks.
    """
    clock = SystemClock()
    if pool is None:
        return WorkerLoop(
            transport,
            Executor(tasks, transport, clock, hostname=config.hostname),
            info,
            max_jobs=config.max_jobs,
            **options,
        )
    # Imported here because a process that runs one job after the other has no use for them.
    from liteq.worker.pools.executor import PoolExecutor
    from liteq.worker.pools.loop import ConcurrentLoop

    check_tasks(pool, tasks)
    return ConcurrentLoop(
        transport,
        PoolExecutor(pool, tasks, transport, clock, config.hostname),
        pool.crew(config.concurrency),
        config.concurrency,
        info,
        clock=clock,
        max_jobs=config.max_jobs,
        **options,
    )
