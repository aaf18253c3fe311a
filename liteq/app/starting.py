"""Starts a queue's workers, or its scheduler, inside this program."""

from __future__ import annotations

import os
import socket
import time
from functools import partial

from liteq.app.conf import QueueSettings
from liteq.app.opening import open_for_workers
from liteq.app.store import Store
from liteq.clock import SystemClock
from liteq.errors import ConfigurationError, NotSupportedError
from liteq.job import WorkerInfo
from liteq.registry import Registry
from liteq.transport import Transport
from liteq.worker.code import LoadedCode
from liteq.worker.config import TaskModule, WorkerConfig
from liteq.worker.pools.arranging import Arrangement, arrange
from liteq.worker.pools.registry import PROCESSES, SOLO
from liteq.worker.workers import ProcessWorkers, RunningScheduler, SoloWorkers, ThreadWorkers, Workers

__all__ = ["start_scheduler", "start_workers"]

_WITHIN = ("threads", "asyncio", SOLO)
"""The pools that a queue can have whose jobs no other process sees."""


def start_workers(
    store: Store,
    registry: Registry,
    *,
    count: int | None,
    pool: str | None,
    processes: int | None,
    queues: tuple[str, ...] | None,
    loglevel: str,
    name: str,
    beat: bool,
) -> Workers:
    """Start workers for a store that know the tasks of a registry; see `Queue.start_workers`."""
    _refuse_manual(store)
    settings = store.settings
    hostname = f"{name}@{socket.gethostname()}"
    code = _code(store, registry) if beat else None
    if not store.crosses_processes:
        arrangement = _arrange_threads(settings.url, pool, count, processes)
        pid = os.getpid()
        info = WorkerInfo(name, hostname, pid, pid, queues)
        return ThreadWorkers(store.transport(), registry.tasks, info, arrangement, code)
    arrangement = arrange(pool or PROCESSES, count, processes)
    config = WorkerConfig(
        url=settings.url,
        settings=settings.transport_settings(),
        modules=_modules(registry),
        queues=queues,
        name=name,
        hostname=hostname,
        supervisor=os.getpid(),
        loglevel=loglevel,
        visibility_timeout=settings.visibility_timeout,
        pool=arrangement.pool,
        concurrency=arrangement.concurrency,
    )
    if arrangement.pool == SOLO:
        return SoloWorkers(_opener(settings), registry.tasks, config, code)
    return ProcessWorkers(_opener(settings), config, arrangement.processes, code)


def _arrange_threads(url: str, pool: str | None, count: int | None, processes: int | None) -> Arrangement:
    """Return what is asked of workers that are threads of this process."""
    arrangement = arrange(pool or "threads", count, processes)
    if arrangement.pool not in _WITHIN or arrangement.processes > 1:
        raise NotSupportedError(
            f"The queue {url} stays in this process, and the pool {arrangement.pool} needs others; use the "
            f"pool {' or '.join(_WITHIN)}, or a queue file."
        )
    return arrangement


def start_scheduler(store: Store, registry: Registry) -> Workers:
    """Start a scheduler for a store; see `Queue.start_scheduler`."""
    _refuse_manual(store)
    code = _code(store, registry)
    if not store.crosses_processes:
        return RunningScheduler(store.transport(), code, store.settings.url)
    transport = _opener(store.settings)()
    return RunningScheduler(transport, code, store.settings.url, transport.close)


def _refuse_manual(store: Store) -> None:
    if not isinstance(store.clock, SystemClock):
        raise NotSupportedError(
            f"The queue {store.settings.url} goes by a clock that a test turns by hand, and workers and "
            "schedulers by the machine's; run its jobs with drain(), or with the fixture liteq_worker."
        )


def _code(store: Store, registry: Registry) -> LoadedCode:
    return LoadedCode(store.settings.url, prefer=registry)


def _opener(settings: QueueSettings) -> partial[Transport]:
    give_up = time.monotonic() + settings.busy_timeout
    return partial(
        open_for_workers,
        settings.url,
        over=lambda: time.monotonic() > give_up,
        **settings.transport_settings(),
    )


def _modules(registry: Registry) -> tuple[TaskModule, ...]:
    origins = [task.origin for task in registry.tasks.values() if task.origin is not None]
    if registry.tasks and not origins:
        raise ConfigurationError(
            "Worker processes could not import any task of this queue, because no module holds them "
            "(a REPL, a notebook or a `-c` string does not). Put the tasks into a module."
        )
    found = [TaskModule(origin.module, origin.root, origin.directory) for origin in origins]
    return tuple(dict.fromkeys(found))
