"""The command `liteq bench`."""

from __future__ import annotations

import json
import sqlite3
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any, Literal

import click

from liteq.bench import floor, workloads
from liteq.bench.measuring import Comparison, compare
from liteq.bench.plan import Plan
from liteq.bench.report import Report
from liteq.bench.waiting import measure_idleness, measure_latency
from liteq.errors import StoreError

__all__ = ["bench"]

Measure = Callable[[Plan], float]


@click.command()
@click.option(
    "--durability",
    type=click.Choice(["full", "normal"]),
    default="full",
    show_default=True,
    help="Of the queue, and of the floor.",
)
@click.option(
    "--jobs",
    type=click.IntRange(min=1),
    default=20_000,
    show_default=True,
    help="Jobs in a round; a tenth of them where they are stored one by one.",
)
@click.option("--workers", type=click.IntRange(min=1), default=2, show_default=True, help="Worker processes.")
@click.option(
    "--rounds",
    type=click.IntRange(min=1),
    default=3,
    show_default=True,
    help="Rounds that are counted, after one to warm up.",
)
@click.option(
    "--idle",
    type=click.FloatRange(min=0, min_open=True),
    default=5.0,
    show_default=True,
    metavar="SECONDS",
    help="How long idle workers are watched.",
)
@click.option(
    "--folder",
    type=click.Path(exists=True, file_okay=False, writable=True, path_type=Path),
    default=Path(),
    metavar="DIR",
    help="Where to make the temporary files, on the disk to be measured.  [default: the current folder]",
)
@click.option("--json", "as_json", is_flag=True, help="Print the figures as JSON.")
def bench(
    durability: Literal["full", "normal"],
    jobs: int,
    workers: int,
    rounds: int,
    idle: float,
    folder: Path,
    as_json: bool,
) -> None:
    """Measure liteq on this machine, beside what bare sqlite3 does.

    It makes temporary files, and removes them. Let nothing else run meanwhile.
    """
    try:
        with tempfile.TemporaryDirectory(prefix="liteq-bench-", dir=folder.absolute()) as made:
            report = measure(Plan(durability, jobs, workers, rounds, idle, Path(made)), tell)
    except (OSError, sqlite3.Error) as error:
        if isinstance(error, StoreError):
            raise
        raise StoreError(f"The benchmark could not do its work in {folder.absolute()}: {error}") from error
    # The folder is gone; what it was in is what people want to know.
    record: dict[str, Any] = report.as_record()
    record["plan"]["folder"] = str(folder.absolute())
    click.echo(json.dumps(record, indent=2) if as_json else report.as_text())


def tell(what: str) -> None:
    """Say on standard error what is measured now."""
    click.echo(f"measuring: {what} ...", err=True)


def measure(plan: Plan, tell: Callable[[str], None]) -> Report:
    """Measure everything; `tell` is told what comes next."""

    def throughput(name: str, jobs: int, liteq: Measure, bare: Measure) -> Comparison:
        tell(name)
        return compare(name, jobs, lambda: liteq(plan), lambda: bare(plan), plan.rounds)

    compared = [
        throughput(
            "enqueue one by one", plan.single_jobs, workloads.enqueue_one_by_one, floor.enqueue_one_by_one
        ),
        throughput(
            f"enqueue from {workloads.THREADS} threads",
            plan.single_jobs,
            workloads.enqueue_by_threads,
            floor.enqueue_one_by_one,
        ),
        throughput("enqueue in bulk", plan.jobs, workloads.enqueue_in_bulk, floor.enqueue_in_bulk),
        throughput("drain with results", plan.jobs, workloads.drain, floor.drain),
        throughput(
            "drain without results",
            plan.jobs,
            workloads.drain_without_results,
            floor.drain_without_results,
        ),
        throughput("end to end", plan.jobs, workloads.end_to_end, floor.end_to_end),
    ]
    tell("latency of calls")
    latency = measure_latency(plan)
    tell("idle workers")
    return Report(plan, compared, latency, measure_idleness(plan))
