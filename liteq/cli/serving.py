"""Running workers in the foreground: what they say at the start, and how signals stop them."""

from __future__ import annotations

import contextlib
import os
import signal
import sys
import threading
from collections.abc import Callable, Collection, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from types import FrameType

import click

from liteq import __version__
from liteq.app.opening import when_served
from liteq.app.reconciling import reconcile_declared
from liteq.cli.group import INTERRUPTED
from liteq.cli.output import print_pairs
from liteq.queue import Queue
from liteq.registry import collect_tasks
from liteq.transport import Transport
from liteq.urls import is_redis
from liteq.worker.code import LoadedCode
from liteq.worker.config import WorkerConfig
from liteq.worker.imports import import_tasks
from liteq.worker.log_setup import let_program_configure
from liteq.worker.pools.registry import PROCESSES
from liteq.worker.redirecting import redirect_stdouts
from liteq.worker.scheduler import Scheduler

__all__ = ["Stopping", "serve_alone", "serve_with_processes"]

ONCE_MORE = b"liteq: stopping: finishing the running jobs; once more to stop at once\n"


class Stopping:
    """What the first signal and the second one do.

    Attributes:
        asked: whether a signal has come.
    """

    def __init__(
        self, stop: Callable[[], None], kill: Callable[[], None], message: bytes = ONCE_MORE
    ) -> None:
        self.asked = False
        self._message = message
        self._stop = stop
        self._kill = kill

    def __call__(self, _number: int, _frame: FrameType | None) -> None:
        """Handle a signal."""
        if self.asked:
            self._kill()
            return
        self.asked = True
        # Not through `sys.stderr`: the signal may have come while something was being written to it.
        with contextlib.suppress(OSError):
            os.write(2, self._message)
        self._stop()

    @contextmanager
    def installed(self) -> Iterator[None]:
        """Handle the signals that ask a program to end, until the block ends."""
        numbers = [signal.SIGTERM, signal.SIGINT]
        if sys.platform == "win32":
            numbers.append(signal.SIGBREAK)
        before = [(number, signal.signal(number, self)) for number in numbers]
        try:
            yield
        finally:
            for number, handler in before:
                signal.signal(number, handler)


def serve_with_processes(
    transport: Transport, config: WorkerConfig, count: int, app: Queue | None, beat: bool
) -> tuple[Stopping, Collection[str]]:
    """Run worker processes until a signal comes or the queue is drained.

    Args:
        transport: the store.
        config: what the workers are told.
        count: how many there are.
        app: the application, if the target is one.
        beat: fire schedules too.

    Returns:
        What the signals have asked, and the tasks that the workers know.

    Raises:
        WorkerError: the workers cannot start, or cannot go on.
        StoreError: the store cannot serve any more.
    """
    # Imported here because a lone worker has no use for it.
    from liteq.worker.supervisor import Supervisor

    # Whoever has imported all that declares schedules brings them into the store.
    if app is None or config.modules:
        config = replace(config, declares=True)
    else:
        when_served(lambda: reconcile_declared(transport, config.url, app))
    scheduler = _scheduler(transport, config, app, lambda: import_tasks(config.modules)) if beat else None
    supervisor = Supervisor(transport, config, count, scheduler=scheduler)
    stopping = Stopping(supervisor.stop, supervisor.kill)
    # Where nothing was said about the durability, each worker takes it from the tasks' own queue.
    told = "" if is_redis(config.url) else "durability"
    found = [(name, value) for name, value in when_served(transport.describe) if name != told]
    if told in config.settings:
        found.append((told, str(config.settings[told])))

    def announce() -> None:
        supervisor.ready.wait()
        if not (supervisor.has_failed or stopping.asked):
            concurrency = f"{count}" if config.pool == PROCESSES else f"{config.concurrency}"
            _print_banner(found, config, concurrency, _shown(config.pool, count), supervisor.tasks)

    # In a thread of its own, so that the workers are not kept waiting for it.
    herald = threading.Thread(target=announce, name="liteq-banner", daemon=True)
    herald.start()
    with stopping.installed():
        supervisor.run()
    herald.join()
    return stopping, supervisor.tasks


def _shown(pool: str, count: int) -> str:
    return pool if pool == PROCESSES or count == 1 else f"{pool}, in each of {count} processes"


def serve_alone(
    transport: Transport, config: WorkerConfig, app: Queue | None, beat: bool
) -> tuple[Stopping, Collection[str]]:
    """Run jobs in this process until a signal comes or the queue is drained.

    Args:
        transport: the store.
        config: what the worker is told.
        app: the application, if the target is one.
        beat: fire schedules too.

    Returns:
        What the signals have asked, and the tasks that are known.

    Raises:
        NotSupportedError: a task has a time limit.
        WorkerError: a task module cannot be imported.
        StoreError: the store cannot serve any more.
    """
    from liteq.worker.solo import SoloWorker

    import_tasks(config.modules)
    let_program_configure(config.loglevel, config.name)
    when_served(lambda: reconcile_declared(transport, config.url, app))
    tasks = collect_tasks(config.url, None if app is None else app.registry)
    worker = SoloWorker(transport, tasks, config, _scheduler(transport, config, app) if beat else None)
    # Nothing less ends a task that runs in this thread; whoever works next recovers its job.
    stopping = Stopping(worker.stop, lambda: os._exit(INTERRUPTED))
    _print_banner(when_served(transport.describe), config, "1", "solo, without time limits", tasks)
    with stopping.installed(), redirect_stdouts(config.redirect_stdouts):
        worker.run()
    return stopping, tasks


def _scheduler(
    transport: Transport, config: WorkerConfig, app: Queue | None, load: Callable[[], None] | None = None
) -> Scheduler:
    code = LoadedCode(config.url, prefer=None if app is None else app.registry, load=load)
    return Scheduler(transport, code=code)


def _print_banner(
    found: Iterable[tuple[str, str]],
    config: WorkerConfig,
    concurrency: str,
    pool: str,
    tasks: Collection[str],
) -> None:
    """Say what was found, on standard output; whoever closed that does not want to know."""
    try:
        click.echo(f"liteq {__version__}, pid {os.getpid()}")
        print_pairs(
            [
                ("  name", config.name),
                *((f"  {name}", value) for name, value in found),
                ("  queues", "all" if config.queues is None else ", ".join(config.queues)),
                ("  concurrency", concurrency),
                ("  pool", pool),
                ("  tasks", ", ".join(sorted(tasks)) or "none; every job stays queued"),
            ]
        )
        click.echo("ready")
    except OSError:
        # What is left in the buffer would be tried again at the end, and complained about.
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
