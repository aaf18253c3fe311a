"""Options of Celery's commands that service units have, and that mean nothing here or cannot be kept.

They are hidden: the help shows what liteq's commands can do, and `docs/migrating-from-celery.md` has these
tables.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, TypeVar

import click

from liteq.errors import NotSupportedError

__all__ = [
    "BEAT_IGNORED",
    "BEAT_REFUSED",
    "WORKER_IGNORED",
    "WORKER_REFUSED",
    "celery_options",
    "worker_name",
]

FunctionT = TypeVar("FunctionT", bound=Callable[..., Any])

_FILE = "the schedules are in the queue's file"
WORKER_IGNORED: Mapping[str, str] = {
    "-E, --task-events": "there are no events",
    "-O, --optimization VALUE": "a worker takes short jobs in batches, and long ones one by one",
    "--prefetch-multiplier VALUE": "a worker takes short jobs in batches, and long ones one by one",
    "--without-gossip": "there is no server",
    "--without-mingle": "there is no server",
    "--without-heartbeat": "a lost worker is noticed at once",
    "--heartbeat-interval VALUE": "a lost worker is noticed at once",
    "-S, --statedb VALUE": "what is revoked is in the file",
    "-s, --schedule, --schedule-filename VALUE": _FILE,
}
"""What `liteq worker` accepts, each with why it has no effect; `VALUE` stands for those that take one."""

BEAT_IGNORED: Mapping[str, str] = {
    "-s, --schedule, --schedule-filename VALUE": _FILE,
    "--max-interval VALUE": "the scheduler sleeps until the next due moment",
}
"""The same for `liteq beat`."""

_SERVICE: Mapping[str, str] = {
    "-f, --logfile VALUE": "log lines go to standard error; redirect it, as with 2>>FILE",
    "--pidfile VALUE": "it stays in the foreground, and whoever starts it knows its process",
    "-D, --detach": "it stays in the foreground; use Type=exec of systemd, or & of a shell",
    "--uid VALUE": "start it as that user: User= of systemd, or sudo -u",
    "--gid VALUE": "start it with that group: Group= of systemd, or sudo -g",
    "--umask VALUE": "set it where it is started: UMask= of systemd, or umask; a queue has its file_mode",
}
WORKER_REFUSED: Mapping[str, str] = {
    **_SERVICE,
    "--autoscale VALUE": "the number of processes is fixed; give it with -c",
    "--time-limit VALUE": "give time_limit to the tasks, or set task_time_limit for those that do not say",
    "--soft-time-limit VALUE": "give soft_time_limit to the tasks, or set task_soft_time_limit",
    "--max-memory-per-child VALUE": "memory is not watched yet; replace processes with --max-jobs",
    "-X, --exclude-queues VALUE": "name the queues to serve with -Q",
    "-I, --include VALUE": "name the modules in the application: Celery(include=[...]), or with -A",
    "--purge, --discard": "run liteq purge before it",
}
"""What `liteq worker` refuses, each with what to do instead."""

BEAT_REFUSED: Mapping[str, str] = {
    **_SERVICE,
    "-S, --scheduler VALUE": "the scheduler is liteq's own, and keeps its state in the queue's file",
}
"""The same for `liteq beat`."""


def celery_options(
    ignored: Mapping[str, str], refused: Mapping[str, str]
) -> Callable[[FunctionT], FunctionT]:
    """Return a decorator of commands that adds options, hidden, which the command's function does not see.

    Args:
        ignored: those that are accepted without effect.
        refused: those that raise NotSupportedError, each with what to do instead.
    """

    def decorate(function: FunctionT) -> FunctionT:
        for text in ignored:
            function = _option(text)(function)
        for text, instead in refused.items():
            function = _option(text, _refusing(instead))(function)
        return function

    return decorate


def worker_name(_context: click.Context, _parameter: click.Parameter, value: str) -> str:
    """Return a worker's name without what Celery writes after it for the machine, as in `worker1@%h`."""
    name, _, machine = value.partition("@")
    return name if name and machine else value


def _option(text: str, callback: Callable[..., Any] | None = None) -> Callable[[FunctionT], FunctionT]:
    words = text.removesuffix(" VALUE")
    # Its own name, so that it does not take the place of one of the command's.
    name = f"celery_{words.rpartition('--')[2].replace('-', '_')}"
    return click.option(
        *words.split(", "),
        name,
        is_flag=words == text,
        default=None,
        hidden=True,
        expose_value=False,
        callback=callback,
    )


def _refusing(instead: str) -> Callable[[click.Context, click.Parameter, Any], None]:
    def refuse(context: click.Context, parameter: click.Parameter, value: Any) -> None:
        if value is not None and value is not False:
            raise NotSupportedError(f"{context.command_path} has no {parameter.opts[-1]}: {instead}.")

    return refuse
