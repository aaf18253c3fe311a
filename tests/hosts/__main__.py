"""Plays the scenarios: `PYTHONPATH=tests python -m hosts [NAME ...]`, as root."""

from __future__ import annotations

import sys
import time

import click

from hosts.network import why_not
from hosts.scenarios import SCENARIOS, run


@click.command()
@click.argument("names", nargs=-1, type=click.Choice(list(SCENARIOS)))
def main(names: tuple[str, ...]) -> None:
    """Play scenarios on hosts of this machine's own, by default all, and print what they came to."""
    if why_not():
        raise click.ClickException(why_not())
    broken = 0
    for name in names or SCENARIOS:
        began = time.monotonic()
        report = run(name)
        click.echo(f"{report}; {time.monotonic() - began:.0f} s in all")
        if report.told:
            told = ", ".join(f"{rule} {count}" for rule, count in report.told.most_common())
            click.echo(f"  what the setting lets happen, by the checker's rules: {told}")
        for problem in report.problems:
            click.echo(f"  - {problem}")
        broken += bool(report.problems)
    sys.exit(min(1, broken))


if __name__ == "__main__":
    main()
