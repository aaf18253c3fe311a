"""`liteq beat`: fires the schedules of a queue, and runs no jobs."""

from __future__ import annotations

import os
import threading
from collections.abc import Sequence

import click

from liteq import __version__
from liteq.app.opening import when_served
from liteq.app.reconciling import reconcile_declared
from liteq.cli.celery_options import BEAT_IGNORED, BEAT_REFUSED, celery_options
from liteq.cli.group import INTERRUPTED
from liteq.cli.logging_options import LogOptions, logging_options
from liteq.cli.output import print_pairs
from liteq.cli.parameters import application_option, optional_target_argument
from liteq.cli.serving import Stopping
from liteq.cli.target import resolve_with_modules
from liteq.cli.tasks import named_modules, recorded_modules
from liteq.worker.code import LoadedCode
from liteq.worker.imports import import_tasks
from liteq.worker.log_setup import let_program_configure
from liteq.worker.scheduler import Scheduler

__all__ = ["beat"]

STOPPING = b"liteq: stopping\n"
LOOK_INTERVAL = 0.5
"""Seconds within which a signal is noticed."""


@click.command()
@optional_target_argument
@application_option
@logging_options
@celery_options(BEAT_IGNORED, BEAT_REFUSED)
def beat(target: str | None, modules: Sequence[str], logs: LogOptions) -> None:
    """Fire the schedules of the queue TARGET, until SIGTERM or Ctrl-C; run no jobs.

    Workers do that too, unless they are told not to. Any number of both may run: each tick fires once.
    Without TARGET, -A names the application, as in Celery.
    """
    logs.configure("beat")
    where, modules = resolve_with_modules(target, modules)
    named = named_modules(modules)
    if where.app is None and not named:
        where.require()
    with where.open_for_workers(create=where.app is not None or bool(named)) as transport:
        recorded = () if named or where.app is not None else when_served(lambda: recorded_modules(transport))
        import_tasks(named or recorded)
        let_program_configure(logs.loglevel, "beat")
        code = LoadedCode(where.url, prefer=None if where.app is None else where.app.registry)
        when_served(lambda: reconcile_declared(transport, where.url, where.app))
        click.echo(f"liteq {__version__}, pid {os.getpid()}")
        print_pairs([(f"  {name}", value) for name, value in when_served(transport.describe)])
        _run(Scheduler(transport, code=code))


def _run(scheduler: Scheduler) -> None:
    """Run the scheduler until a signal comes.

    Raises:
        StoreError: the store cannot serve any more.
    """
    failures: list[BaseException] = []

    def run() -> None:
        try:
            scheduler.run()
        except BaseException as error:
            failures.append(error)

    # In a thread of its own, so that no signal handler interrupts it while it holds a lock.
    thread = threading.Thread(target=run, name="liteq-scheduler", daemon=True)
    stopping = Stopping(scheduler.stop, lambda: os._exit(INTERRUPTED), STOPPING)
    with stopping.installed():
        thread.start()
        click.echo("ready")
        # In turns, because a signal that the system hands to the other thread wakes nobody here.
        while thread.is_alive():
            thread.join(LOOK_INTERVAL)
    if failures:
        raise failures[0]
