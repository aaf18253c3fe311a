"""The benchmark's figures as a table for people, and as a record for programs."""

from __future__ import annotations

import os
import platform
import sqlite3
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

from liteq import __version__
from liteq.bench.measuring import Comparison, Spread
from liteq.bench.plan import Plan
from liteq.bench.waiting import Idleness, Latency

__all__ = ["Report"]


@dataclass(frozen=True, slots=True)
class Report:
    """All figures of one run.

    Attributes:
        plan: what was asked for.
        throughput: the workloads beside their floors.
        latency: of calls to idle workers.
        idleness: what idle workers use.
    """

    plan: Plan
    throughput: Sequence[Comparison]
    latency: Latency
    idleness: Idleness

    def as_record(self) -> dict[str, Any]:
        """Return everything as JSON values; throughput in jobs per second, latency in milliseconds."""
        plan = {**asdict(self.plan), "folder": str(self.plan.folder)}
        return {
            "system": system(),
            "plan": plan,
            "throughput": [asdict(each) for each in self.throughput],
            "latency": asdict(self.latency),
            "idle": asdict(self.idleness),
        }

    def as_text(self) -> str:
        """Return everything as tables with a heading each."""
        parts = [heading(self.plan), throughput_table(self.throughput)]
        parts += [latency_table(self.latency), idle_table(self.idleness)]
        return "\n\n".join(parts)


def system() -> dict[str, Any]:
    """Say on what the figures were measured."""
    return {
        "liteq": __version__,
        "python": platform.python_version(),
        "sqlite": sqlite3.sqlite_version,
        "system": f"{platform.system()} {platform.machine()}",
        "cores": os.cpu_count(),
    }


def heading(plan: Plan) -> str:
    """Say what was measured, on what."""
    about = system()
    return (
        f"liteq {about['liteq']}, Python {about['python']}, SQLite {about['sqlite']}, {about['system']}, "
        f"{about['cores']} cores\n"
        f"durability {plan.durability}, {plan.workers} workers, "
        f"median and range of {plan.rounds} rounds after one to warm up"
    )


def throughput_table(throughput: Sequence[Comparison]) -> str:
    """Return the workloads, each with its floor and its ratio to it."""
    rows = [["jobs per second", "jobs", "liteq", "range", "bare sqlite3", "range", "ratio"]]
    for each in throughput:
        figures = [f"{each.jobs:,}", *shown(each.liteq), *shown(each.floor)]
        rows.append([each.name, *figures, f"{each.ratio:.2f}"])
    return aligned(rows)


def latency_table(latency: Latency) -> str:
    """Return the latency of calls."""
    rows = [["milliseconds", "calls", "p50", "p99"]]
    for name, figures in (("call to start", latency.start), ("call to result", latency.result)):
        rows.append([name, f"{latency.calls:,}", f"{figures.p50:.2f}", f"{figures.p99:.2f}"])
    return aligned(rows)


def idle_table(idle: Idleness) -> str:
    """Return what idle workers use."""
    workers = (
        "not known on this system" if idle.workers_cpu is None else share(idle.workers_cpu, idle.seconds)
    )
    return aligned(
        [
            [f"idle for {idle.seconds:g} s", "of one core"],
            ["supervisor's process", share(idle.supervisor_cpu, idle.seconds)],
            ["worker processes", workers],
            ["writes to the file", "some" if idle.written else "none"],
        ]
    )


def share(cpu: float, seconds: float) -> str:
    """Return CPU time as a percentage of one core."""
    return f"{100 * cpu / seconds:.2f} %"


def shown(spread: Spread) -> list[str]:
    """Return a median and its range as text."""
    return [f"{spread.median:,.0f}", f"{spread.low:,.0f} - {spread.high:,.0f}"]


def aligned(rows: Sequence[Sequence[str]]) -> str:
    """Return rows of equal length as lines: the first column to the left, the others to the right."""
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    return "\n".join(
        "  ".join(
            cell.rjust(width) if column else cell.ljust(width)
            for column, (cell, width) in enumerate(zip(row, widths, strict=True))
        )
        for row in rows
    )
