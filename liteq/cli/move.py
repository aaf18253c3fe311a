"""`liteq move`: brings all that a queue keeps to another store."""

from __future__ import annotations

import os
import sys

import click

from liteq.app.moving import move as move_queue
from liteq.cli.output import print_json, print_table
from liteq.cli.parameters import json_option
from liteq.cli.target import Target, resolve
from liteq.moving import Moved
from liteq.queue import Queue

__all__ = ["move"]


@click.command()
@click.argument("source")
@click.argument("target")
@click.option(
    "--batch",
    type=click.IntRange(min=1),
    default=1000,
    show_default=True,
    help="How many jobs go in one transaction.",
)
@json_option
def move(source: str, target: str, batch: int, as_json: bool) -> None:
    """Move all jobs, results and schedules of the queue SOURCE to TARGET, and close SOURCE.

    Both are a queue's file, a URL or an application; a file TARGET that is not there is made. Stop the
    workers of SOURCE first; those of TARGET may run. A move that was interrupted goes on when the same
    command is given again.
    """
    here, there = resolve(source), resolve(target)
    here.require()
    brought: list[Moved] = []

    def report(so_far: Moved) -> None:
        brought.append(so_far)
        if _is_watched():
            _shown(so_far)

    try:
        moved = move_queue(_place(here), _place(there), batch=batch, progress=report)
    except KeyboardInterrupt:
        click.echo("liteq: this move has not ended; give the same command again to go on with it.", err=True)
        raise
    if not brought:
        click.echo("liteq: nothing was left to move; these are the counts of the runs before.", err=True)
    elif _is_watched():
        click.echo(err=True)
    if as_json:
        print_json({"source": here.url, "target": there.url, **moved._asdict()})
    else:
        print_table(("KIND", "MOVED"), list(moved._asdict().items()))


def _place(named: Target) -> Queue | str | os.PathLike[str]:
    # As it was written: it may have a password.
    return named.text if named.app is None else named.app


def _is_watched() -> bool:
    return sys.stderr.isatty()


def _shown(moved: Moved) -> None:
    click.echo(f"\r{moved.jobs:,} jobs", nl=False, err=True)
