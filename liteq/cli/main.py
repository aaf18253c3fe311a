"""The command `liteq`."""

from __future__ import annotations

import contextlib
import sys

import click

from liteq import __version__
from liteq.cli.group import LazyGroup

__all__ = ["main"]


@click.group(
    "liteq",
    cls=LazyGroup,
    invoke_without_command=True,
    modules={
        "worker": "liteq.cli.worker",
        "beat": "liteq.cli.beat",
        "call": "liteq.cli.call",
        "result": "liteq.cli.result",
        "inspect": "liteq.cli.inspect",
        "jobs": "liteq.cli.jobs",
        "schedules": "liteq.cli.schedules",
        "purge": "liteq.cli.purge",
        "move": "liteq.cli.move",
        "doctor": "liteq.cli.doctor",
        "bench": "liteq.bench.command",
    },
    context_settings={"help_option_names": ["-h", "--help"]},
)
@click.option(
    "-A", "--app", "app", metavar="APPLICATION", help="The application, for the command that follows."
)
@click.version_option(__version__, "--version", message="liteq %(version)s")
@click.pass_context
def main(context: click.Context, app: str | None) -> None:
    """Run and look after a task queue that lives in one SQLite file.

    TARGET is the queue's file (queue.db), a URL (sqlite:///queue.db), or an application (package.module or
    package.module:q). Celery's spelling is understood as well: liteq -A proj worker -l info.

    The exit status is 0; 1 if what was asked is answered with no; 2 if there could be no answer.
    """
    for stream in (sys.stdout, sys.stderr):
        # Whatever the terminal's encoding, a name that it cannot show must not end the command.
        with contextlib.suppress(AttributeError):
            stream.reconfigure(errors="backslashreplace")  # type: ignore[union-attr]
    if context.invoked_subcommand is None:
        click.echo(context.get_help())
