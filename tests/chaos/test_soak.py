"""What the soak would notice, and that it measures; half an hour of it belongs to `nox -s chaos`."""

from __future__ import annotations

import sys
from collections.abc import Callable
from dataclasses import replace

import pytest

from chaos.soak import MB, Sample, judge, measure

FLAT = Sample(
    wal=8 * MB,
    file=4 * MB,
    memory={"supervisor": 20 * MB, "worker 1": 25 * MB},
    descriptors={"supervisor": 20, "worker 1": 15},
    rate=50.0,
    waiting=3,
)


def changing(change: Callable[[int], dict[str, object]]) -> list[Sample]:
    """Return half an hour of samples, of which each differs from the one before."""
    return [replace(FLAT, **change(number)) for number in range(1800)]


def test_what_stays_as_it_is_is_no_problem() -> None:
    assert judge(changing(lambda number: {"rate": 50.0 + number % 5, "wal": (7 + number % 2) * MB})) == []


def test_what_is_learned_in_the_first_third_is_no_problem() -> None:
    grown = changing(lambda number: {"file": min(number, 500) * 10_000 + MB, "rate": min(number, 50)})
    assert judge(grown) == []


@pytest.mark.parametrize(
    ("change", "problem"),
    [
        (lambda n: {"wal": 13 * MB if n == 700 else MB}, "the WAL reached"),
        (lambda n: {"file": MB * (4 + n // 300)}, "the file grew"),
        (lambda n: {"memory": {"supervisor": 20 * MB, "worker 1": 25 * MB + n * 4096}}, "worker 1's private"),
        (lambda n: {"descriptors": {"supervisor": 20 + n // 300, "worker 1": 15}}, "supervisor's open"),
        (lambda n: {"rate": 100.0 - n / 20}, "the rate fell"),
        (lambda n: {"rate": 0.0}, "the rate fell"),
        (lambda n: {"waiting": n}, "the jobs that wait"),
    ],
    ids=["WAL", "file", "memory", "descriptors", "slower", "nothing done", "waiting"],
)
def test_what_grows_or_slows_down_is_noticed(
    change: Callable[[int], dict[str, object]], problem: str
) -> None:
    [found] = judge(changing(change))
    assert problem in found


@pytest.mark.skipif(sys.platform != "linux", reason="/proc")
def test_a_soak_measures_every_process_and_the_work_that_is_done(seed: int) -> None:
    samples = measure(3.0, seed)
    assert len(samples) >= 2
    for sample in samples:
        assert sample.memory.keys() == {"producer", "supervisor", "worker 1", "worker 2"}
        assert min(sample.memory.values()) > MB
        assert min(sample.descriptors.values()) > 3
        assert sample.file > 0
        assert sample.wal > 0
    assert sum(sample.rate for sample in samples) > 0
