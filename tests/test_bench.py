"""`liteq bench` prints figures of work that was really done, beside a floor that does the same writes."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from liteq.bench import floor
from liteq.bench.measuring import Spread, compare, percentile
from liteq.bench.report import aligned
from liteq.bench.sharing import DURATIONS, WORKERS, Cell, Scaling
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
TINY = (
    "--jobs",
    "40",
    "--rounds",
    "1",
    "--idle",
    "0.1",
    "--seconds",
    "1",
    "--backlog",
    "1200",
    "--durability",
    "normal",
)
SECONDS = 120


def run_bench(folder: Path, *options: str, size: tuple[str, ...] = SMALL) -> subprocess.CompletedProcess[str]:
    # A process of its own, as users run it: the floor starts processes that import its main module.
    command = [sys.executable, "-c", "from liteq.bench.command import bench; bench()", *size, *options]
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
    unknown = "not known on this system"
    memory = rf"(\d+\.\d MiB|{unknown})"
    assert re.search(rf"^supervisor's process +\d+\.\d\d\d % +{memory}$", table, re.M)
    assert re.search(rf"^worker processes +(\d+\.\d\d\d %|{unknown}) +{memory}$", table, re.M)
    assert re.search(r"^writes to the file +none *$", table, re.M)


@pytest.mark.parametrize("name", ["liteq worker to first job done", "import liteq", "Python itself"])
def test_the_table_has_what_starting_takes(table: str, name: str):
    assert re.search(rf"^{name} +\d+ +\d+ - \d+$", table, re.M)


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
        "seconds": 20.0,
        "backlog": 1_000_000,
        "folder": str(tmp_path),
    }
    assert report["latency"]["calls"] == 300
    assert 0 < report["latency"]["start"]["p50"] <= report["latency"]["start"]["p99"]
    assert report["latency"]["start"]["p50"] <= report["latency"]["result"]["p50"]
    assert report["idle"]["seconds"] == 0.1
    assert report["idle"]["written"] is False
    assert report["startup"]["first_job"]["median"] > 0
    assert list(tmp_path.iterdir()) == []


@pytest.fixture(scope="module")
def thorough(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    folder = tmp_path_factory.mktemp("thorough")
    names = ("delays", "schedules", "backlog", "growth", "long-job", "producers", "asyncio", "naps")
    chosen = [part for name in names for part in ("--only", name)]
    finished = run_bench(folder, "--json", *chosen, size=TINY)
    assert finished.returncode == 0, finished.stderr
    assert list(folder.iterdir()) == []
    report: dict[str, Any] = json.loads(finished.stdout)
    return report


def test_only_what_was_asked_for_is_measured(thorough: dict[str, Any]):
    measured = {"delays", "schedules", "backlog", "growth", "long_job", "producers", "asyncio", "naps"}
    assert set(thorough) == {"system", "plan", "throughput", *measured}
    assert thorough["throughput"] == []


def test_delayed_jobs_do_not_begin_before_their_time(thorough: dict[str, Any]):
    delays = thorough["delays"]
    assert delays["jobs"] == 40
    assert 0 <= delays["p50"] <= delays["p95"] <= delays["p99"]


def test_many_schedules_are_compared_with_few(thorough: dict[str, Any]):
    schedules = thorough["schedules"]
    assert (schedules["few"]["schedules"], schedules["many"]["schedules"]) == (10, 10_000)
    assert schedules["tick_ratio"] == pytest.approx(schedules["many"]["tick"] / schedules["few"]["tick"])


def test_a_large_file_is_compared_with_a_small_one(thorough: dict[str, Any]):
    backlog = thorough["backlog"]
    assert (backlog["small"]["jobs"], backlog["large"]["jobs"]) == (1000, 1200)
    assert backlog["turn_ratio"] == pytest.approx(backlog["large"]["turn"] / backlog["small"]["turn"])
    assert backlog["drain_ratio"] == pytest.approx(backlog["large"]["drain"] / backlog["small"]["drain"])


def test_a_file_that_is_filled_and_drained_again_and_again_levels_off(thorough: dict[str, Any]):
    sizes = thorough["growth"]["sizes"]
    assert len(sizes) == 5
    assert sizes[-1] <= 1.5 * sizes[1]


def test_short_jobs_do_not_wait_for_a_long_one(thorough: dict[str, Any]):
    assert thorough["long_job"]["jobs"] == 40
    assert thorough["long_job"]["still_running"] is True


def test_every_producer_gets_its_turn(thorough: dict[str, Any]):
    calls = thorough["producers"]["calls"]
    assert len(calls) == 8
    assert min(calls) > 0


def test_an_event_loop_is_measured_alone_and_at_work(thorough: dict[str, Any]):
    measured = thorough["asyncio"]
    assert measured["calls"] == 4
    for late in (measured["idle"], measured["loaded"]):
        assert late["ticks"] > 0
        assert 0 <= late["p50"] <= late["p99"] <= late["longest"]


def test_jobs_that_wait_do_so_at_once(thorough: dict[str, Any]):
    naps = thorough["naps"]
    assert naps["jobs"] == 40
    assert 0 < naps["begun"] < naps["done"] < 40 * naps["seconds"]


def test_the_table_of_workers_has_a_cell_for_each_kind_of_task():
    cells = [
        Cell(workers, kind, seconds, 10.0, 20.0 if seconds else None)
        for workers in WORKERS
        for kind in ("sleep", "compute")
        for seconds in DURATIONS
    ]
    heading, *rows = Scaling(cells).rows()

    assert len(rows) == 2 * len(DURATIONS)
    assert {len(row) for row in (heading, *rows)} == {1 + 2 * len(WORKERS)}
    assert rows[1] == ["sleep 1 ms", *["10", "0.50"] * len(WORKERS)]


def test_an_unknown_workload_is_refused(tmp_path: Path):
    finished = run_bench(tmp_path, "--only", "nonsense")
    assert finished.returncode == 2
    assert "nonsense" in finished.stderr


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
