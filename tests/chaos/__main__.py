"""Runs the proofs at any size: `PYTHONPATH=tests python -m chaos [NAME ...] [--size N] [--seed N]`."""

from __future__ import annotations

import random
import sys
import time

import click

from chaos.proof import PROOFS, prove


@click.command()
@click.argument("names", nargs=-1, type=click.Choice(list(PROOFS)))
@click.option("--size", type=int, help="How much of it; default the long size.")
@click.option("--seed", type=int, help="What makes the same run again; default a new one.")
@click.option(
    "--transport",
    type=click.Choice(sorted({kind for plan in PROOFS.values() for kind in plan.transports})),
    help="The kind of store, for those proofs that can be about several; only they are run.",
)
@click.option("--short", is_flag=True, help="The sizes of the default suite.")
def main(
    names: tuple[str, ...], size: int | None, seed: int | None, transport: str | None, short: bool
) -> None:
    """Run proofs of the guarantees, by default all at their long sizes."""
    broken = 0
    for name in names or PROOFS:
        plan = PROOFS[name]
        asked = size if size is not None else plan.short if short else plan.long
        if transport is not None and transport not in plan.transports:
            if names:
                raise click.UsageError(f"{name} cannot be about {transport}.")
            continue
        if not asked:
            continue
        chosen = random.randrange(1_000_000) if seed is None else seed
        click.echo(f"{name}: {asked:,} {plan.unit}, seed {chosen} ...", err=True)
        began = time.monotonic()
        proof = prove(name, asked, chosen, transport)
        click.echo(f"{proof}; {time.monotonic() - began:.0f} s")
        for problem in proof.problems:
            click.echo(f"  - {problem}")
        broken += bool(proof.problems)
    sys.exit(min(1, broken))


if __name__ == "__main__":
    main()
