"""The benchmark's figures as a table for people, and as a record for programs."""

from __future__ import annotations

import os
import platform
import sqlite3
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, ClassVar, Protocol

from liteq import __version__
from liteq.bench.measuring import Comparison, Spread
from liteq.bench.plan import Plan

__all__ = ["Figures", "Report"]


class Figures(Protocol):
    """What one measurement gave, a dataclass."""

    __dataclass_fields__: ClassVar[dict[str, Any]]

    def rows(self) -> list[list[str]]:
        """Return the figures as a table, its heading first."""


@dataclass(frozen=True, slots=True)
class Report:
    """All figures of one run.

    Attributes:
        plan: what was asked for.
        throughput: the workloads beside their floors.
        others: everything else, by name.
    """

    plan: Plan
    throughput: Sequence[Comparison]
    others: Mapping[str, Figures]

    def as_record(self) -> dict[str, Any]:
        """Return everything as JSON values: jobs per second, and what the names of fields say."""
        return {
            "system": system(),
            "plan": {**asdict(self.plan), "folder": str(self.plan.folder)},
            "throughput": [asdict(each) for each in self.throughput],
            **{name: asdict(figures) for name, figures in self.others.items()},
        }

    def as_text(self) -> str:
        """Return everything as tables with a heading each."""
        tables = [throughput_table(self.throughput)] if self.throughput else []
        tables += [aligned(figures.rows()) for figures in self.others.values()]
        return "\n\n".join([heading(self.plan), *tables])


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
