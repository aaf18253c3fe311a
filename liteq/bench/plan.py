"""What a run of the benchmark is asked to do."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

__all__ = ["Plan", "fresh_folder"]

SINGLE_SHARE = 10
"""Storing jobs one by one takes many times as long as in bulk, so this many times fewer are stored."""
MOST_CALLS = 500


@dataclass(frozen=True, slots=True)
class Plan:
    """A run of the benchmark.

    Attributes:
        durability: of the queue, and of the floor.
        jobs: in each round of the workloads in bulk.
        workers: how many worker processes.
        rounds: how often each throughput is measured, after one round to warm up.
        idle: seconds for which idle workers are watched.
        seconds: for which producers compete, and which the long job takes.
        backlog: jobs of each kind (ready, delayed, finished) in the file of the workload `backlog`.
        folder: where the files lie.
    """

    durability: Literal["full", "normal"]
    jobs: int
    workers: int
    rounds: int
    idle: float
    seconds: float
    backlog: int
    folder: Path

    @property
    def single_jobs(self) -> int:
        """The jobs in each round that are stored one by one."""
        return max(1, self.jobs // SINGLE_SHARE)

    @property
    def calls(self) -> int:
        """The calls whose latency is measured."""
        return min(self.jobs, MOST_CALLS)


@contextmanager
def fresh_folder(plan: Plan) -> Iterator[Path]:
    """Make an empty folder for one measurement, and remove it with all that is in it."""
    with tempfile.TemporaryDirectory(prefix="measure-", dir=plan.folder) as folder:
        yield Path(folder)
