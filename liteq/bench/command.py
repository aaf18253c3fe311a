"""The command `liteq bench`."""

from __future__ import annotations

import json
import sqlite3
import tempfile
from collections.abc import Callable, Collection
from functools import partial
from pathlib import Path
from typing import Any, Literal, NamedTuple

import click

from liteq.bench import floor, workloads
from liteq.bench.backlog import measure_backlog, measure_growth
from liteq.bench.looping import measure_loop
from liteq.bench.measuring import compare
from liteq.bench.napping import measure_naps
from liteq.bench.plan import Plan
from liteq.bench.report import Figures, Report
from liteq.bench.sharing import measure_long_job, measure_producers, measure_scaling
from liteq.bench.startup import measure_startup
from liteq.bench.timing import measure_delays, measure_schedules
from liteq.bench.waiting import measure_idleness, measure_latency
from liteq.errors import StoreError

__all__ = ["bench"]

Measure = Callable[[Plan], float]


class Workload(NamedTuple):
    """A throughput: what it is called, the work by liteq and by bare sqlite3, and whether one by one."""

    title: str
    liteq: Measure
    bare: Measure
    single: bool = False


THROUGHPUT = {
    "single": Workload("enqueue one by one", workloads.enqueue_one_by_one, floor.enqueue_one_by_one, True),
    "threads": Workload(
        f"enqueue from {workloads.THREADS} threads",
        workloads.enqueue_by_threads,
        floor.enqueue_one_by_one,
        True,
    ),
    "bulk": Workload("enqueue in bulk", workloads.enqueue_in_bulk, floor.enqueue_in_bulk),
    "drain": Workload("drain with results", workloads.drain, floor.drain),
    "drain-without-results": Workload(
        "drain without results", workloads.drain_without_results, floor.drain_without_results
    ),
    "end-to-end": Workload("end to end", workloads.end_to_end, floor.end_to_end),
}
OTHERS: dict[str, Callable[[Plan], Figures]] = {
    "latency": measure_latency,
    "idle": measure_idleness,
    "startup": measure_startup,
    "delays": measure_delays,
    "schedules": measure_schedules,
    "backlog": measure_backlog,
    "growth": measure_growth,
    "long-job": measure_long_job,
    "producers": measure_producers,
    "scaling": measure_scaling,
    "asyncio": measure_loop,
    "naps": measure_naps,
}
USUAL = (*THROUGHPUT, "latency", "idle", "startup")
"""What is measured unless asked otherwise; the rest takes minutes."""


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
    "--seconds",
    type=click.FloatRange(min=0, min_open=True),
    default=20.0,
    show_default=True,
    help="How long producers compete, and how long the long job takes.",
)
@click.option(
    "--backlog",
    type=click.IntRange(min=1),
    default=1_000_000,
    show_default=True,
    metavar="JOBS",
    help="Jobs of each kind in the large file of that workload.",
)
@click.option(
    "--only",
    type=click.Choice([*THROUGHPUT, *OTHERS]),
    multiple=True,
    metavar="WORKLOAD",
    help="Measure this; may be repeated.  [default: "
    + ", ".join(USUAL)
    + "; there are also "
    + ", ".join(name for name in OTHERS if name not in USUAL)
    + "]",
)
@click.option("--all", "everything", is_flag=True, help="Measure all there is; takes many minutes.")
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
    seconds: float,
    backlog: int,
    only: tuple[str, ...],
    everything: bool,
    folder: Path,
    as_json: bool,
) -> None:
    """Measure liteq on this machine, beside what bare sqlite3 does.

    It makes temporary files, and removes them. Let nothing else run meanwhile.
    """
    try:
        with tempfile.TemporaryDirectory(prefix="liteq-bench-", dir=folder.absolute()) as made:
            plan = Plan(durability, jobs, workers, rounds, idle, seconds, backlog, Path(made))
            report = measure(plan, [*THROUGHPUT, *OTHERS] if everything else only or USUAL, tell)
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


def measure(plan: Plan, names: Collection[str], tell: Callable[[str], None]) -> Report:
    """Measure what is named; `tell` is told what comes next."""
    compared = []
    for name, workload in THROUGHPUT.items():
        if name in names:
            tell(workload.title)
            jobs = plan.single_jobs if workload.single else plan.jobs
            liteq, bare = partial(workload.liteq, plan), partial(workload.bare, plan)
            compared.append(compare(workload.title, jobs, liteq, bare, plan.rounds))
    others = {}
    for name, measure_it in OTHERS.items():
        if name in names:
            tell(name)
            others[name.replace("-", "_")] = measure_it(plan)
    return Report(plan, compared, others)
