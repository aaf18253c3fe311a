"""`liteq worker`: runs the jobs of a queue."""

from __future__ import annotations

import os
import socket
from collections.abc import Sequence

import click
from click.exceptions import Exit

from liteq.app.opening import when_served
from liteq.calls.checks import check_name
from liteq.cli.celery_options import WORKER_IGNORED, WORKER_REFUSED, celery_options, worker_name
from liteq.cli.draining import Drain
from liteq.cli.group import NO
from liteq.cli.logging_options import LogOptions, logging_options, redirecting_options
from liteq.cli.parameters import application_option, optional_target_argument, queues_option
from liteq.cli.serving import serve_alone, serve_with_processes
from liteq.cli.target import Target, resolve_with_modules
from liteq.cli.tasks import named_modules, recorded_modules
from liteq.errors import ConfigurationError, WorkerError
from liteq.transport import Transport
from liteq.worker.config import WorkerConfig
from liteq.worker.log_setup import let_program_configure
from liteq.worker.pools.arranging import Arrangement, arrange
from liteq.worker.pools.registry import PROCESSES, SOLO

__all__ = ["worker"]


@click.command()
@optional_target_argument
@application_option
@click.option(
    "-P",
    "--pool",
    default=PROCESSES,
    show_default=True,
    help="How jobs run: processes, threads, asyncio, gevent, eventlet, solo.",
)
@click.option(
    "-c",
    "--concurrency",
    type=click.IntRange(min=1),
    help="Worker processes, by default one a core; of other pools, jobs at once in each process.",
)
@click.option(
    "--processes", type=click.IntRange(min=1), help="Processes of a pool that runs several jobs; default 1."
)
@queues_option
@logging_options
@redirecting_options
@click.option("--drain", is_flag=True, help="Stop when nothing is ready or running; exit 1 if a job failed.")
@click.option(
    "-B/ ",
    "--beat/--no-beat",
    default=True,
    show_default="--beat",
    help="Fire schedules too, as all workers do but those that drain.",
)
@click.option(
    "-n",
    "--name",
    "--hostname",
    "name",
    default="worker",
    show_default=True,
    callback=worker_name,
    help="The worker's name.",
)
@click.option(
    "--max-jobs",
    "--max-tasks-per-child",
    "max_jobs",
    type=click.IntRange(min=1),
    help="Replace a worker process after so many jobs.",
)
@click.option("--durability", type=click.Choice(["full", "normal"]), help="Default full, or as TARGET says.")
@celery_options(WORKER_IGNORED, WORKER_REFUSED)
def worker(
    target: str | None,
    modules: Sequence[str],
    pool: str,
    concurrency: int | None,
    processes: int | None,
    queues: tuple[str, ...] | None,
    logs: LogOptions,
    redirect: str | None,
    drain: bool,
    beat: bool,
    name: str,
    max_jobs: int | None,
    durability: str | None,
) -> None:
    """Run the jobs of the queue TARGET, until SIGTERM or Ctrl-C.

    Given only a file, the modules that are recorded in it are imported for their tasks; with -A, those that
    it names and no other. Without TARGET, -A names the application, as in Celery. The first signal lets the
    running jobs finish, the second stops at once.
    """
    arrangement = _arrange(pool, concurrency, processes, max_jobs)
    logs.configure(check_name("-n", name))
    where, modules = resolve_with_modules(target, modules)
    let_program_configure(logs.loglevel, name)
    named = named_modules(modules)
    changes = {} if durability is None else {"durability": durability}
    with _open(where, bool(named), changes) as transport:
        recorded = () if named or where.app is not None else when_served(lambda: recorded_modules(transport))
        config = WorkerConfig(
            url=where.url,
            # The file is there: a worker process that finds none must not make another. A server may come
            # back with nothing that it had, and is used all the same.
            settings={**where.settings, **changes, "create": not where.is_file},
            app=None if where.app is None else where.text,
            modules=named or recorded,
            queues=queues,
            name=name,
            hostname=f"{name}@{socket.gethostname()}",
            supervisor=os.getpid(),
            loglevel=logs.loglevel,
            log_format=logs.log_format,
            log_config=logs.log_config,
            redirect_stdouts=redirect,
            max_jobs=max_jobs,
            drain=drain,
            pool=arrangement.pool,
            concurrency=arrangement.concurrency,
        )
        try:
            # Else there would be no end to it, as long as a schedule goes on.
            beat = beat and not drain
            _work(transport, config, where, arrangement.processes, beat)
        except WorkerError as error:
            if named or where.app is not None or "cannot be imported" not in str(error):
                raise
            raise WorkerError(f"{error}; -A MODULE says where the tasks are instead.") from error


def _arrange(pool: str, concurrency: int | None, processes: int | None, max_jobs: int | None) -> Arrangement:
    """Return what the options come to; raises as `arrange` does."""
    arrangement = arrange(pool, concurrency, processes)
    if arrangement.pool == SOLO and max_jobs is not None:
        raise ConfigurationError(
            f"-P {SOLO} has no process that could be replaced after --max-jobs; use -P {PROCESSES}."
        )
    return arrangement


def _open(where: Target, may_create: bool, changes: dict[str, str]) -> Transport:
    """Open the store; a file that is not there is created only for those who say where the tasks are."""
    if where.app is not None:
        return where.open_for_workers(**{**where.settings, **changes})
    if not may_create:
        where.require()
    return where.open_for_workers(create=may_create or not where.is_file, **changes)


def _work(transport: Transport, config: WorkerConfig, where: Target, processes: int, beat: bool) -> None:
    drain = Drain(transport, config.queues) if config.drain else None
    if config.pool == SOLO:
        stopping, tasks = serve_alone(transport, config, where.app, beat)
    else:
        stopping, tasks = serve_with_processes(transport, config, processes, where.app, beat)
    if drain is None:
        return
    line, failed = drain.report(tasks)
    click.echo(f"not {line}" if stopping.asked else line)
    if failed or stopping.asked:
        raise Exit(NO)
