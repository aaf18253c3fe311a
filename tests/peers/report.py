"""Tables and a record of what the turns have found."""

from __future__ import annotations

import math
import os
import platform
import statistics
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

from peers.catalogue import REDIS_DURABILITY, Peer

__all__ = ["Findings", "Report", "aligned", "percentile", "piped", "spread"]

THROUGHPUT = {
    "one_by_one": "enqueue one by one",
    "bulk": "enqueue in bulk",
    "drain_kept": "drain, results",
    "drain": "drain, no results",
    "end_to_end": "end to end",
    "end_to_end_bulk": "end to end in bulk",
}
IN_BULK = ("bulk", "end_to_end_bulk")
NONE = "-"
Rows = Sequence[Sequence[str]]


@dataclass
class Findings:
    """What was found about one peer: the figures of each turn, in the order of the rounds."""

    peer: Peer
    jobs: int
    singles: int
    turns: list[dict[str, Any]] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)
    about: dict[str, Any] = field(default_factory=dict)

    def figures(self, name: str) -> list[Any]:
        """Return a figure from each turn that has it."""
        return [turn[name] for turn in self.turns if name in turn]

    def calls(self, which: int) -> list[float]:
        """Return the latencies of all rounds: to the start (0) or to the result (1)."""
        return [each for latency in self.figures("latency") for each in latency[which]]


@dataclass(frozen=True)
class Report:
    """All findings, with what they were measured on and why somebody is missing."""

    findings: Sequence[Findings]
    missing: dict[str, str]
    plan: dict[str, Any]

    def as_record(self) -> dict[str, Any]:
        """Return everything as JSON can have it: jobs per second, milliseconds, per cent of a core, MiB."""
        return {
            "system": system(),
            "plan": self.plan,
            "peers": [self.peer_record(each) for each in self.findings],
            "missing": self.missing,
        }

    def peer_record(self, found: Findings) -> dict[str, Any]:
        """Return everything about one peer."""
        peer = found.peer
        return {
            "name": peer.name,
            "durability": self.durability(peer),
            "settings": peer.settings,
            "notes": peer.notes,
            "about": found.about,
            "jobs": found.jobs,
            "jobs_one_by_one": found.singles,
            "throughput": {name: found.figures(name) for name in THROUGHPUT},
            "bare_calls": found.figures("bare"),
            "call_to_start": found.calls(0),
            "call_to_result": found.calls(1),
            "start_up": found.figures("start_up"),
            "idle": found.figures("idle"),
            "problems": found.problems,
        }

    def as_text(self, table: Callable[[Rows], str]) -> str:
        """Return everything as tables."""
        about = system()
        heading = (
            f"Python {about['python']}, {about['system']}, {about['cores']} cores; "
            f"2 worker processes; median and range of {self.plan['rounds']} rounds"
        )
        rounds = [found for found in self.findings if found.turns]
        parts = [
            heading,
            "Jobs per second:",
            table(self.throughput_rows(rounds)),
            "Workers that wait: milliseconds of a call, what they use, and milliseconds of their start:",
            table(waiting_rows(rounds)),
            "Who was measured, and how:",
            self.abouts(rounds),
            *([self.remarks()] if self.remarks() else []),
        ]
        return "\n\n".join(parts)

    def throughput_rows(self, findings: Sequence[Findings]) -> list[list[str]]:
        """Return the table of throughput."""
        rows = [["peer", "durability", "jobs", *THROUGHPUT.values()]]
        for found in findings:
            cells = [spread(found.figures(name)) for name in THROUGHPUT]
            if not found.about.get("bulk"):
                cells = [
                    f"{cell} *" if name in IN_BULK and cell != NONE else cell
                    for name, cell in zip(THROUGHPUT, cells, strict=True)
                ]
            rows.append([found.peer.name, self.durability(found.peer), jobs_of(found), *cells])
        return rows

    def abouts(self, findings: Sequence[Findings]) -> str:
        """Return versions, settings and semantics."""
        lines = []
        for found in findings:
            about, peer = found.about, found.peer
            versions = [f"{package} {number}" for package, number in about.get("versions", {}).items()]
            versions.append(self.plan["redis"] if peer.uses_redis else f"SQLite {about.get('sqlite', '?')}")
            lines.append(f"- {peer.name}: {', '.join(versions)}; {peer.settings}. It {peer.notes}.")
        return "\n".join(lines)

    def remarks(self) -> str:
        """Say what is missing, and why."""
        lines = []
        if any(found.about and not found.about["bulk"] for found in self.findings):
            lines.append(
                "An asterisk: it documents no way to store many calls at once; the same calls as one by one."
            )
        if any(found.singles != found.jobs for found in self.findings):
            lines.append("Two numbers of jobs: the second one is that of calls made one by one.")
        lines += [
            f"{found.peer.name}: it keeps no results; end to end is until the last job is finished"
            for found in self.findings
            if found.about and not found.about["results"]
        ]
        lines += [floor_of(found) for found in self.findings if found.figures("bare")]
        lines += [f"{found.peer.name}: {problem}" for found in self.findings for problem in found.problems]
        lines += [f"{name} is missing: {why}" for name, why in self.missing.items()]
        return "\n".join(f"- {line}" for line in lines)

    def durability(self, peer: Peer) -> str:
        """Say when a job of this peer is on the disk."""
        return peer.durability or REDIS_DURABILITY[self.plan["redis_durability"]]


def waiting_rows(findings: Sequence[Findings]) -> list[list[str]]:
    """Return the table of latency, of what idleness costs, and of the start."""
    latency = ["calls", "to start p50", "p99", "to result p50", "p99"]
    rows = [["peer", *latency, "idle CPU %", "writes", "processes", "MiB", "start-up"]]
    for found in findings:
        starts, results = found.calls(0), found.calls(1)
        shares = [percentile(calls, percent) for calls in (starts, results) for percent in (50, 99)]
        idle = found.figures("idle")
        rows.append(
            [
                found.peer.name,
                f"{len(starts):,}",
                *(milliseconds(share) for share in shares),
                decimal([each["cpu"] for each in idle], 2),
                NONE if not idle else "some" if any(each["written"] for each in idle) else "none",
                decimal([each["processes"] for each in idle], 0),
                decimal([each["mib"] for each in idle], 0),
                decimal(found.figures("start_up"), 0),
            ]
        )
    return rows


def floor_of(found: Findings) -> str:
    """Say how calls made one by one compare with bare calls of the store, round by round."""
    ratios = [
        call / bare for call, bare in zip(found.figures("one_by_one"), found.figures("bare"), strict=False)
    ]
    return (
        f"{found.peer.name}: one by one it makes {statistics.median(ratios):.2f} of the rate of bare calls "
        f"through the driver of its store, which is {spread(found.figures('bare'))}"
    )


def jobs_of(found: Findings) -> str:
    """Return the number of jobs in a workload, and that of calls made one by one if it is another."""
    return f"{found.jobs:,}" + (f" / {found.singles:,}" if found.singles != found.jobs else "")


def system() -> dict[str, Any]:
    """Say on what the figures were measured."""
    return {
        "python": platform.python_version(),
        "system": f"{platform.system()} {platform.release()} {platform.machine()}",
        "cores": os.cpu_count(),
    }


def percentile(values: Sequence[float], percent: float) -> float | None:
    """Return the least of the values that so many per cent of them do not exceed; None if there are none."""
    ordered = sorted(values)
    return ordered[max(0, math.ceil(len(ordered) * percent / 100) - 1)] if ordered else None


def spread(values: Sequence[float]) -> str:
    """Return a median with its range."""
    if not values:
        return NONE
    return f"{statistics.median(values):,.0f} ({min(values):,.0f} - {max(values):,.0f})"


def milliseconds(value: float | None) -> str:
    """Return milliseconds as text."""
    return NONE if value is None else f"{value:.2f}"


def decimal(values: Sequence[float | None], places: int) -> str:
    """Return a median as text."""
    known = [value for value in values if value is not None]
    return f"{statistics.median(known):.{places}f}" if known else NONE


def aligned(rows: Rows) -> str:
    """Return rows of equal length as lines with aligned columns."""
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    return "\n".join(
        "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows
    )


def piped(rows: Rows) -> str:
    """Return rows of equal length as a Markdown table."""
    head, *body = ["| " + " | ".join(cell.replace("|", "\\|") for cell in row) + " |" for row in rows]
    return "\n".join([head, "| " + " | ".join("---" for _ in rows[0]) + " |", *body])
