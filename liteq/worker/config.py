"""What a supervisor tells a worker process: one record that survives the trip through JSON."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any, NamedTuple, Self

__all__ = ["BOOT", "DEFAULT_VISIBILITY_TIMEOUT", "LOST_DESCRIPTORS", "TaskModule", "WorkerConfig"]

DEFAULT_VISIBILITY_TIMEOUT = 60.0

LOST_DESCRIPTORS = 70
"""The exit status of a worker process that ends because its descriptors were closed or replaced."""

# Standard input is read without a buffer: what follows the first line belongs to the control thread.
BOOT = """
import sys, json
c = json.loads(open(0, 'rb', 0, closefd=False).readline())
sys.path[:] = c['path']
if c['first']:
    from importlib import import_module
    module, _, function = c['first'].partition(':')
    try:
        getattr(import_module(module), function)()
    except BaseException as error:
        c['failed'] = f'{type(error).__name__}: {error}'
from liteq.child import main
sys.exit(main(c))
"""
"""The program of a worker process: `[sys.executable, "-c", BOOT]`; see `liteq.child` for its pipes."""


class TaskModule(NamedTuple):
    """A module that registers tasks when it is imported."""

    module: str
    root: str
    """The folder that has to be on the import path."""
    directory: str
    """The folder that the program which first registered its tasks ran in."""


@dataclass(frozen=True, slots=True, kw_only=True)
class WorkerConfig:
    """Everything a worker process has to know to start; all of it can be written as JSON.

    Attributes:
        url: the store, as `liteq.Queue` takes it.
        settings: the keyword arguments for opening the store (`durability`, `busy_timeout`, ...).
        app: `package.module` or `package.module:attribute` of the application, or None.
        modules: the modules to import for their tasks, besides the application.
        queues: the queue names to serve; None for all.
        name: the worker's name, unique within its supervisor.
        hostname: what tasks see as `self.request.hostname`.
        supervisor: the process id of the supervisor; 0 when there is none to watch.
        loglevel: the level of the log lines, by name.
        log_format: how they look, "text" or "json".
        log_config: the absolute path of a file that configures logging instead, or None.
        redirect_stdouts: the level at which what tasks print goes to the log, by name; None to print it.
        visibility_timeout: seconds that a lease lasts without renewal; None for what the tasks' own queue
            says, if it is on this store, else a minute.
        max_jobs: end after this many jobs, to be replaced by a fresh process; None for never.
        drain: tell the supervisor whenever nothing is ready to run.
        pool: how the process runs jobs, by the name that `-P` takes.
        concurrency: how many jobs run at once in the process; 1 for the pool `processes`.
        declares: bring the schedules that the modules declare into the store, before anything else; only
            the supervisor's first process does.
    """

    url: str
    settings: Mapping[str, Any] = field(default_factory=dict)
    app: str | None = None
    modules: tuple[TaskModule, ...] = ()
    queues: tuple[str, ...] | None = None
    name: str = "worker"
    hostname: str = ""
    supervisor: int = 0
    loglevel: str = "INFO"
    log_format: str = "text"
    log_config: str | None = None
    redirect_stdouts: str | None = None
    visibility_timeout: float | None = None
    max_jobs: int | None = None
    drain: bool = False
    declares: bool = False
    pool: str = "processes"
    concurrency: int = 1

    def to_json(self) -> dict[str, Any]:
        """Return the record as a dict of JSON values."""
        return asdict(self)

    @classmethod
    def from_json(cls, values: Mapping[str, Any]) -> Self:
        """Return the record that `to_json` was called on, also after a trip through JSON text."""
        modules = tuple(TaskModule(*module) for module in values.get("modules", ()))
        queues = values.get("queues")
        named = {**values, "modules": modules, "queues": None if queues is None else tuple(queues)}
        return cls(**named)
