"""`liteq bench` prints figures of work that was really done, beside a floor that does the same writes."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from liteq.bench import floor
from liteq.bench.measuring import Spread, compare, percentile
from liteq.bench.report import aligned
from liteq.transports.sqlite.schema import SCHEMA

WORKLOADS = [
    "enqueue one by one",
    "enqueue from 16 threads",
    "enqueue in bulk",
    "drain with results",
    "drain without results",
    "end to end",
]
SMALL = ("--jobs", "300", "--rounds", "1", "--idle", "0.1", "--durability", "normal")
SECONDS = 120


def run_bench(folder: Path, *options: str) -> subprocess.CompletedProcess[str]:
    # A process of its own, as users run it: the floor starts processes that import its main module.
    command = [sys.executable, "-c", "from liteq.bench.command import bench; bench()", *SMALL, *options]
    return subprocess.run(
        command, cwd=folder, capture_output=True, encoding="utf-8", timeout=SECONDS, check=False
    )


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("bench")


@pytest.fixture(scope="module")
def table(folder: Path) -> str:
    finished = run_bench(folder)
    assert finished.returncode == 0, finished.stderr
    return finished.stdout


@pytest.mark.parametrize("name", WORKLOADS)
def test_the_table_has_a_throughput_with_its_range_floor_and_ratio(table: str, name: str):
    figure, spread = r"\d[\d,]*", r"\d[\d,]* - \d[\d,]*"

    assert re.search(rf"^{name} +{figure} +{figure} +{spread} +{figure} +{spread} +\d+\.\d\d$", table, re.M)


@pytest.mark.parametrize("name", ["call to start", "call to result"])
def test_the_table_has_the_latency_of_calls(table: str, name: str):
    assert re.search(rf"^{name} +300 +\d+\.\d\d +\d+\.\d\d$", table, re.M)


def test_the_table_says_what_idle_workers_use(table: str):
    assert re.search(r"^supervisor's process +\d+\.\d\d %$", table, re.M)
    assert re.search(r"^worker processes +(\d+\.\d\d %|not known on this system)$", table, re.M)
    assert re.search(r"^writes to the file +none$", table, re.M)


def test_nothing_is_left_in_the_folder(table: str, folder: Path):
    assert list(folder.iterdir()) == []


def test_the_figures_are_there_as_json_too(tmp_path: Path):
    finished = run_bench(tmp_path, "--json", "--workers", "1", "--folder", str(tmp_path))
    assert finished.returncode == 0, finished.stderr
    report = json.loads(finished.stdout)

    assert [each["name"] for each in report["throughput"]] == WORKLOADS
    assert [each["jobs"] for each in report["throughput"]] == [30, 30, 300, 300, 300, 300]
    for each in report["throughput"]:
        assert each["ratio"] == pytest.approx(each["liteq"]["median"] / each["floor"]["median"])
        assert 0 < each["floor"]["low"] <= each["floor"]["median"] <= each["floor"]["high"]
    assert report["plan"] == {
        "durability": "normal",
        "jobs": 300,
        "workers": 1,
        "rounds": 1,
        "idle": 0.1,
        "folder": str(tmp_path),
    }
    assert report["latency"]["calls"] == 300
    assert 0 < report["latency"]["start"]["p50"] <= report["latency"]["start"]["p99"]
    assert report["latency"]["start"]["p50"] <= report["latency"]["result"]["p50"]
    assert report["idle"]["seconds"] == 0.1
    assert report["idle"]["written"] is False
    assert list(tmp_path.iterdir()) == []


def without_prefix(statement: str) -> str:
    return " ".join(statement.replace("liteq_", "").split()).replace("( ", "(").replace(" )", ")")


def test_the_floor_has_the_table_and_the_indexes_of_a_queue_file():
    jobs = [without_prefix(each) for each in SCHEMA if re.search(r"(TABLE|ON) liteq_jobs ?\(", each)]

    assert [without_prefix(each) for each in floor.SCHEMA] == jobs


def test_the_first_round_is_not_counted_and_both_sides_take_turns():
    turns: list[str] = []
    seconds = iter([100.0, 100.0, 1.0, 0.5, 2.0, 1.0, 4.0, 2.0])

    def side(name: str) -> float:
        turns.append(name)
        return next(seconds)

    found = compare("work", 8, lambda: side("liteq"), lambda: side("floor"), rounds=3)

    assert turns == ["liteq", "floor"] * 4
    assert found.liteq == Spread(median=4.0, low=2.0, high=8.0)
    assert found.floor == Spread(median=8.0, low=4.0, high=16.0)
    assert found.ratio == 0.5


@given(st.lists(st.floats(0, 1e6), min_size=1), st.floats(0, 100))
def test_a_percentile_is_the_least_value_that_so_many_do_not_exceed(values: list[float], percent: float):
    found = percentile(values, percent)
    enough = percent / 100 * len(values)

    assert found in values
    assert sum(value <= found for value in values) >= enough - 1e-6
    assert sum(value < found for value in values) < max(enough, 1e-6) + 1e-6


@given(st.lists(st.lists(st.text("ab 1,", max_size=5), min_size=3, max_size=3), min_size=1, max_size=5))
def test_the_columns_of_a_table_are_aligned(rows: list[list[str]]):
    lines = aligned(rows).split("\n")

    assert len({len(line) for line in lines}) == 1
    for row, line in zip(rows, lines, strict=True):
        assert line.startswith(row[0])
        assert line.endswith(row[-1])
