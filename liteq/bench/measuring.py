"""Figures from measurements: medians, ranges, percentiles, and a workload beside its floor."""

from __future__ import annotations

import math
import statistics
from collections.abc import Callable, Sequence
from dataclasses import dataclass

__all__ = ["Comparison", "Spread", "compare", "percentile"]


@dataclass(frozen=True, slots=True)
class Spread:
    """What several measurements of one thing gave."""

    median: float
    low: float
    high: float

    @classmethod
    def of(cls, values: Sequence[float]) -> Spread:
        """Sum up at least one measurement."""
        return cls(statistics.median(values), min(values), max(values))


@dataclass(frozen=True, slots=True)
class Comparison:
    """A workload in jobs per second, by liteq and by bare sqlite3 in the same run.

    Attributes:
        name: what was done.
        jobs: how many jobs in each round.
        liteq: jobs per second.
        floor: the same for bare sqlite3.
        ratio: the median of liteq as a share of the floor's.
    """

    name: str
    jobs: int
    liteq: Spread
    floor: Spread
    ratio: float


def compare(
    name: str, jobs: int, liteq: Callable[[], float], floor: Callable[[], float], rounds: int
) -> Comparison:
    """Measure a workload and its floor by turns, so that both meet the same weather.

    Args:
        name: what is measured.
        jobs: how many jobs one call does.
        liteq: does the work once and returns the seconds that it took.
        floor: does the same with bare sqlite3.
        rounds: how often, after one round that is not counted.
    """
    seconds = [(liteq(), floor()) for _ in range(rounds + 1)][1:]
    ours = Spread.of([jobs / each for each, _ in seconds])
    bare = Spread.of([jobs / each for _, each in seconds])
    return Comparison(name, jobs, ours, bare, ours.median / bare.median)


def percentile(values: Sequence[float], percent: float) -> float:
    """Return the smallest of the values that at least this percentage of them do not exceed."""
    ordered = sorted(values)
    return ordered[max(0, math.ceil(len(ordered) * percent / 100) - 1)]
