"""Crash at every statement: the process dies before each SQL statement of each verb, and after the last.

Statements are seen through the trace callback of liteq's own connections. After each death the file is
opened again: it has to be as it was before the step or after it, whole by every rule, and all that is in it
can be brought to its end.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence
from pathlib import Path

from chaos.nursery import Nursery, Report, can_fork, die, workplace
from chaos.performing import Job, Rehearsal, after_death, connect, fresh_copy, perform, stock_in
from chaos.proof import Proof
from chaos.verbs import VERBS

__all__ = ["cover", "prove"]


def prove(size: int, seed: int) -> Proof:
    """Die at each statement of each verb, `size` times over with other jobs each time."""
    return cover(list(VERBS), rounds=size, seed=seed)


def cover(verbs: Sequence[str], rounds: int, seed: int, fault: str = "") -> Proof:
    """Die at each statement of these verbs, with a seeded fault if one is named."""
    if not can_fork():
        return Proof("statements", seed, {"skipped": "this system has no fork"})
    found = visited = 0
    problems: list[str] = []
    with workplace() as folder, Nursery("chaos.points") as nursery:
        for stock_seed in range(seed, seed + rounds):
            stock = stock_in(folder, stock_seed)
            for verb in verbs:
                deaths = _Deaths(nursery, stock, folder, (verb, stock_seed, fault))
                found += deaths.points
                for point in range(1, deaths.points + 1):
                    killed, told = deaths.die_at(point)
                    visited += killed
                    where = f"{verb}, {deaths.where(point)} (stock {stock_seed})"
                    problems += [f"{where}: {what}" for what in told]
    if visited != found:
        problems.append(f"{found - visited} of {found} points were not reached")
    figures = {"verbs": len(verbs), "points": found, "visited": visited, "rounds": rounds}
    return Proof("statements", seed, figures, problems)


class _Deaths:
    """All the deaths of one verb."""

    def __init__(self, nursery: Nursery, stock: Path, folder: Path, work: tuple[str, int, str]) -> None:
        self._nursery = nursery
        self._stock = stock
        self._folder = folder
        self._work = work
        verb, seed, _ = work
        self._rehearsal = Rehearsal(nursery, fresh_copy(stock, folder), verb, seed)
        ended = nursery.run("chaos.points:do", str(fresh_copy(stock, folder)), *work, 0)
        if ended.trouble:
            raise RuntimeError(f"{verb} does not even work undisturbed:\n{ended.trouble}")
        self._statements: list[str] = ended.reports[-1]
        self.points = len(self._statements) + 1

    def die_at(self, point: int) -> tuple[bool, list[str]]:
        """Let it die once; return whether it did, and what is wrong afterwards."""
        path = fresh_copy(self._stock, self._folder)
        ended = self._nursery.run("chaos.points:do", str(path), *self._work, point)
        return ended.killed, after_death(path, ended, self._rehearsal)

    def where(self, point: int) -> str:
        """Say where a point lies."""
        if point > len(self._statements):
            return "after its last statement"
        statement = " ".join(self._statements[point - 1].split())
        return f"before statement {point} ({statement[:60]})"


# ---- in the child ------------------------------------------------------------------------------------


class _Tracer:
    """Counts the statements of all connections that are opened from now on, and dies at one of them."""

    def __init__(self, point: int) -> None:
        self.statements: list[str] = []
        self._point = point
        self._armed = False
        sqlite3.connect = self._connect

    def _connect(self, *arguments: object, **options: object) -> sqlite3.Connection:
        connection = connect(*arguments, **options)
        connection.set_trace_callback(self._see)
        return connection

    def _see(self, statement: str) -> None:
        if self._armed:
            self.statements.append(statement)
            self.die_if_here(len(self.statements))

    def die_if_here(self, point: int) -> None:
        if point == self._point:
            die()

    def arm(self) -> None:
        self._armed = True

    def disarm(self) -> None:
        self._armed = False


def do(report: Report, path: str, verb: str, seed: int, fault: str, point: int) -> None:
    """Do a verb, and die at a point; at point 0 live, and report all statements."""
    tracer = _Tracer(point)
    perform(Job(verb, path, seed, fault), tracer, report)
    tracer.die_if_here(len(tracer.statements) + 1)
    report(tracer.statements)
