"""`liteq purge`: revokes everything that waits."""

from __future__ import annotations

import sys
import time

import click
from click.exceptions import Exit

from liteq.cli.group import NO
from liteq.cli.parameters import queues_option, target_argument
from liteq.cli.target import resolve
from liteq.errors import ConfigurationError
from liteq.transport import Transport

__all__ = ["purge"]


@click.command()
@target_argument
@queues_option
@click.option("-f", "--force", "--yes", "sure", is_flag=True, help="Do not ask.")
def purge(target: str, queues: tuple[str, ...] | None, sure: bool) -> None:
    """Revoke all jobs of the queue TARGET that wait, delayed ones included; running jobs go on.

    They end REVOKED and are kept as long as results are; `liteq jobs retry` puts them back one by one.
    """
    with resolve(target).open() as transport:
        where = "all queues" if queues is None else f"queue {', '.join(queues)}"
        if not sure:
            _ask(_waiting(transport, queues), f"{where} of {transport.url}")
        count = transport.purge(queues, time.time())
    click.echo(f"{_jobs(count)} of {where} revoked")


def _ask(count: int, where: str) -> None:
    if not sys.stdin.isatty():
        raise ConfigurationError(
            f"{_jobs(count)} would be revoked, and there is no terminal to ask whether you are sure; "
            "give --yes to do it."
        )
    if not click.confirm(f"Revoke {_jobs(count)} of {where}?"):
        raise Exit(NO)


def _waiting(transport: Transport, queues: tuple[str, ...] | None) -> int:
    return sum(
        lane.jobs
        for lane in transport.count()
        if lane.waiting in ("ready", "delayed") and (queues is None or lane.queue in queues)
    )


def _jobs(count: int) -> str:
    return "1 waiting job" if count == 1 else f"{count} waiting jobs"
