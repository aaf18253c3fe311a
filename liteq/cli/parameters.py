"""Arguments and options that several commands have."""

from __future__ import annotations

from typing import Any

import click

from liteq.calls.checks import check_name
from liteq.errors import ConfigurationError
from liteq.states import State

__all__ = [
    "application_option",
    "json_option",
    "named_queues",
    "named_states",
    "optional_target_argument",
    "queues_option",
    "target_argument",
]

target_argument = click.argument("target")
optional_target_argument = click.argument("target", required=False)
application_option = click.option(
    "-A",
    "--app",
    "modules",
    metavar="MODULE",
    multiple=True,
    help="The application; or, with TARGET, import tasks from this, and it may be given again.",
)
"""Of commands that work with `optional_target_argument`; see `liteq.cli.target.resolve_with_modules`."""
json_option = click.option("--json", "as_json", is_flag=True, help="Print JSON.")


def named_queues(_context: click.Context, _parameter: click.Parameter, value: str | None) -> Any:
    """Return the queue names of `a,b`; None if none were given."""
    if value is None:
        return None
    try:
        return tuple(check_name("a queue name", name.strip()) for name in value.split(","))
    except ConfigurationError as error:
        raise click.BadParameter(f"{value!r}: {error}") from error


def named_states(
    _context: click.Context, _parameter: click.Parameter, values: tuple[str, ...]
) -> tuple[str, ...]:
    """Return the names of states: liteq's own in any case, others as they are written."""
    return tuple(value.upper() if value.upper() in State.__members__ else value for value in values)


queues_option = click.option(
    "-Q", "--queues", metavar="A,B", callback=named_queues, help="These queue names only."
)
