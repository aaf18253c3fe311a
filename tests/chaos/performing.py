"""One verb, done in a child that may die of it, and what is checked afterwards; for `points` and `calls`."""

from __future__ import annotations

import shutil
import sqlite3
from collections.abc import Iterator, Sequence
from contextlib import closing
from pathlib import Path
from typing import Protocol

from chaos import sabotage
from chaos.filecheck import ABSENT, broken_rules, differences, dump, finish_all
from chaos.nursery import Ended, Nursery, Report
from chaos.verbs import VERBS, Scene, make_stock

__all__ = [
    "Job",
    "Rehearsal",
    "Watcher",
    "after_death",
    "connect",
    "fresh_copy",
    "perform",
    "say",
    "stock_in",
]

connect = sqlite3.connect
"""The real one, for those who look; a child may have put another in its place."""


class Watcher(Protocol):
    """Counts what a verb does, from when it is prepared until it has ended, and may interfere."""

    def arm(self) -> None:
        """Begin to count."""

    def disarm(self) -> None:
        """Stop counting, and leave everything alone."""


class Job:
    """A verb to be done in a child.

    Args:
        verb: its name.
        path: the queue's file.
        seed: what makes the same jobs again.
        fault: the name of a seeded fault; "" for none.
    """

    def __init__(self, verb: str, path: str, seed: int, fault: str = "") -> None:
        self.scene = Scene(Path(path), seed)
        self._verb = VERBS[verb]
        self._fault = fault

    def steps(self, watcher: Watcher) -> Iterator[None]:
        """Do it, with a stop when it is prepared, and one after each step."""
        verb = self._verb(self.scene)
        next(verb)
        yield
        if self._fault:
            sabotage.FAULTS[self._fault]()
        watcher.arm()
        try:
            for _ in verb:
                watcher.disarm()
                yield
                watcher.arm()
        finally:
            watcher.disarm()


def perform(job: Job, watcher: Watcher, report: Report) -> None:
    """Do a verb; report when it is prepared, and each step that has returned."""
    for _ in job.steps(watcher):
        report("returned")


class _Nobody:
    def arm(self) -> None: ...

    def disarm(self) -> None: ...


def rehearse(report: Report, path: str, verb: str, seed: int) -> None:
    """In a child: do a verb undisturbed, and report the file's state before it and after each step."""
    job = Job(verb, path, seed)
    for _ in job.steps(_Nobody()):
        report(say(job.scene.path))
    job.scene.close()


def say(path: Path) -> list[str]:
    """Dump a file."""
    if not path.exists():
        # SQLite would make one.
        return [ABSENT]
    with closing(connect(path)) as connection:
        return dump(connection)


class Rehearsal:
    """What a run without any fault shows: the states that there can be."""

    def __init__(self, nursery: Nursery, path: Path, verb: str, seed: int) -> None:
        ended = nursery.run("chaos.performing:rehearse", str(path), verb, seed)
        if ended.trouble:
            raise RuntimeError(f"{verb} does not even work undisturbed:\n{ended.trouble}")
        self._states: list[list[str]] = ended.reports

    def misfit(self, found: Sequence[str], ended: Ended) -> str:
        """Say how a state differs from what it may be, by the steps that had returned; "" if it does not."""
        returned = ended.reports.count("returned") - 1
        if returned < 0:
            return "it ended before it was prepared"
        allowed = self._states[returned : returned + 2]
        if list(found) in allowed:
            return ""
        return (
            f"{returned} of its {len(self._states) - 1} steps had returned, and the file is neither as after "
            f"those nor as after one more: {differences(found, allowed[0])}"
        )


def stock_in(folder: Path, seed: int) -> Path:
    """Make the file that verbs begin with, and return its path."""
    path = folder / f"stock-{seed}" / "queue.db"
    path.parent.mkdir()
    make_stock(path, seed)
    return path


def fresh_copy(stock: Path, folder: Path) -> Path:
    """Put a copy of the file into an empty folder of its own."""
    place = folder / "run"
    if place.exists():
        shutil.rmtree(place)
    place.mkdir()
    return Path(shutil.copy(stock, place / "queue.db"))


def after_death(path: Path, ended: Ended, rehearsal: Rehearsal) -> list[str]:
    """Check what a child has left behind that died; return what is wrong with it."""
    if not ended.killed:
        return [ended.trouble or "it did not die"]
    try:
        found = say(path)
        # While this one is open, what the dead have left in the WAL stays there for liteq to find.
        with closing(connect(path)) as connection:
            problems = broken_rules(connection)
            problems += finish_all(path)
    except Exception as error:
        return [f"the file cannot be worked with any more: {type(error).__name__}: {error}"]
    misfit = rehearsal.misfit(found, ended)
    return [*problems, misfit] if misfit else problems
