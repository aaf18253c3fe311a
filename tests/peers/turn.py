"""A turn: one section of the work, with one peer. The driver runs it in the peer's own environment.

The last line that it prints is a record of its figures. A section that fails leaves a sentence in `problems`,
and the figures that were taken before.
"""

from __future__ import annotations

import argparse
import importlib
import json
import os
import platform
import sqlite3
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from importlib.metadata import version
from pathlib import Path
from typing import Any

from peers import loops, processes
from peers.adapter import FOLDER, OPTIONS, REDIS
from peers.board import Board
from peers.redis_server import redis_running

__all__ = ["main"]

SECTIONS = ("store", "work", "idle")
CALM_DOWN = 2.0
"""Seconds after the last job, before idle workers are watched."""


@dataclass
class Turn:
    """What a turn works with, and what it finds."""

    arguments: argparse.Namespace
    folder: Path
    bench: loops.Bench
    server: int | None
    figures: dict[str, Any] = field(default_factory=dict)
    problems: list[str] = field(default_factory=list)

    @property
    def store(self) -> Path:
        """The folder of the store's files."""
        return self.folder / "store"

    @property
    def log(self) -> Path:
        """Where the workers' output goes."""
        return self.folder / "workers.log"

    def take(self, name: str, measure: Callable[[], Any]) -> None:
        """Take a figure."""
        try:
            self.figures[name] = measure()
        except Exception as error:
            raise loops.NotDoneError(f"{name}: {error or type(error).__name__}") from error


def store(turn: Turn) -> None:
    """Take what can be taken with no workers."""
    jobs, singles = turn.arguments.jobs, turn.arguments.singles
    turn.take("one_by_one", lambda: loops.enqueue_one_by_one(turn.bench, singles))
    turn.take("bulk", lambda: loops.enqueue_in_bulk(turn.bench, jobs))
    if turn.bench.adapter.has_floor:
        turn.take("bare", lambda: loops.bare_calls(turn.bench, singles))


def work(turn: Turn) -> None:
    """Take what needs workers."""
    bench, jobs, singles = turn.bench, turn.arguments.jobs, turn.arguments.singles
    with started(turn):
        loops.warm_up(bench)
        if bench.adapter.keeps_results:
            turn.take("drain_kept", lambda: loops.drain(bench, jobs, True))
        turn.take("drain", lambda: loops.drain(bench, jobs, False))
        turn.take("end_to_end", lambda: loops.end_to_end(bench, singles))
        turn.take("end_to_end_bulk", lambda: loops.end_to_end_in_bulk(bench, jobs))
        turn.take("latency", lambda: loops.latency(bench, turn.arguments.calls))


def idle(turn: Turn) -> None:
    """Watch workers that have nothing to do."""
    with started(turn):
        loops.warm_up(turn.bench)
        time.sleep(CALM_DOWN)
        turn.take("idle", lambda: watch(turn))


@contextmanager
def started(turn: Turn) -> Iterator[None]:
    """Have workers running, and take how long it is from their command to their first job."""
    spared = [turn.server] if turn.server else []
    turn.bench.adapter.delay(turn.bench.number(1)[0], False)
    began = time.perf_counter()
    with processes.running(turn.bench.adapter.worker_commands(), turn.log, spared) as workers:
        turn.bench.alive = lambda: all(worker.poll() is None for worker in workers)
        loops.wait_for_first(turn.bench)
        turn.figures["start_up"] = (time.perf_counter() - began) * 1000
        yield


def watch(turn: Turn) -> dict[str, Any]:
    """Return what workers, their supervisor and their server use while there is nothing to do."""
    pids = processes.descendants(os.getpid())
    files, cpu = looks(turn.store), processes.cpu_seconds(pids)
    began = time.monotonic()
    time.sleep(turn.arguments.idle)
    seconds = time.monotonic() - began
    used = processes.cpu_seconds(pids)
    return {
        "cpu": None if cpu is None or used is None else 100 * (used - cpu) / seconds,
        "written": looks(turn.store) != files,
        "mib": processes.private_mib(pids),
        "processes": len(pids) if pids else None,
    }


def looks(folder: Path) -> list[tuple[str, int, int]]:
    """Return what would change if a file of the store were written to."""
    # The index of a write-ahead log is shared memory, which is not written for its own sake.
    files = [file for file in sorted(folder.rglob("*")) if file.is_file() and not file.name.endswith("-shm")]
    return [(file.name, file.stat().st_size, file.stat().st_mtime_ns) for file in files]


def about(turn: Turn) -> dict[str, Any]:
    """Say what was measured."""
    return {
        "versions": {package: version(package) for package in turn.bench.adapter.packages},
        "bulk": turn.bench.adapter.has_bulk,
        "results": turn.bench.adapter.keeps_results,
        "python": platform.python_version(),
        "sqlite": sqlite3.sqlite_version,
    }


def run(arguments: argparse.Namespace, folder: Path, redis: tuple[Path, int] | None) -> dict[str, Any]:
    """Do a section, and return its record."""
    os.environ[FOLDER], os.environ[OPTIONS] = str(folder / "store"), arguments.options
    os.environ[REDIS] = str(redis[0]) if redis else ""
    board = Board.make(folder / "board", 4 * arguments.jobs + arguments.singles + arguments.calls + 1000)
    adapter = importlib.import_module(f"peers.adapters.{arguments.adapter}").adapter()
    turn = Turn(arguments, folder, loops.Bench(adapter, board), redis[1] if redis else None)
    try:
        {"store": store, "work": work, "idle": idle}[arguments.section](turn)
    except Exception as error:
        turn.problems.append(f"{error or type(error).__name__}{said(turn.log)}")
    record = {"figures": turn.figures, "problems": turn.problems, "about": about(turn)}
    try:
        adapter.close()
    except Exception as error:
        turn.problems.append(f"closing: {error or type(error).__name__}")
    return record


def said(log: Path) -> str:
    """Return the last line that the workers printed, for a message."""
    lines = log.read_text(errors="replace").split("\n") if log.exists() else []
    last = next((line.strip() for line in reversed(lines) if line.strip()), "")
    return f" (the workers said: {last[:200]})" if last else ""


def main() -> None:
    """Do what the arguments say, and print the record."""
    parser = argparse.ArgumentParser()
    parser.add_argument("adapter")
    parser.add_argument("section", choices=SECTIONS)
    parser.add_argument("--jobs", type=int, required=True)
    parser.add_argument("--singles", type=int, required=True)
    parser.add_argument("--calls", type=int, default=60)
    parser.add_argument("--idle", type=float, default=10.0)
    parser.add_argument("--folder", type=Path, required=True)
    parser.add_argument("--options", default="{}")
    parser.add_argument("--redis", default="")
    parser.add_argument("--redis-durability", default="default")
    parser.add_argument("--parent", type=int, required=True)
    arguments = parser.parse_args()
    processes.end_in_order()
    processes.end_with_parent(arguments.parent)
    processes.adopt_orphans()
    with tempfile.TemporaryDirectory(prefix="peers-", dir=arguments.folder) as made:
        folder = Path(made)
        (folder / "store").mkdir()
        if arguments.redis:
            with redis_running(arguments.redis, folder / "store", arguments.redis_durability) as redis:
                record = run(arguments, folder, redis)
        else:
            record = run(arguments, folder, None)
    sys.stdout.flush()
    print(json.dumps(record))


if __name__ == "__main__":
    main()
