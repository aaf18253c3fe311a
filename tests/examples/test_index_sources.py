"""The example does its work in worker processes, and loses nothing of it, however it is stopped."""

from __future__ import annotations

import importlib.util
import os
import shutil
import signal
import subprocess
import sys
import sysconfig
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from types import ModuleType
from typing import NamedTuple

import pytest

from liteq import Queue

SCRIPT = Path(__file__).parents[2] / "examples" / "index_sources.py"
PATIENCE = 60.0
"""Seconds after which something that has not happened is not going to."""
LOST_WORK = 0.5
"""CPU seconds of finished work that a killed worker may lose: 0.05, and what a busy machine adds to that."""


class Attempt(NamedTuple):
    """One line of the trace."""

    pid: int
    cpu: float
    """The CPU seconds that its process had used when it began."""
    path: str


def read_trace(trace: Path) -> list[Attempt]:
    if not trace.exists():
        return []
    # A line that is being written at this moment has no end yet.
    lines = [
        line.split("\t") for line in trace.read_text("utf-8").splitlines(keepends=True) if line[-1] == "\n"
    ]
    return [Attempt(int(pid), float(cpu), path.rstrip("\n")) for pid, cpu, path in lines]


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    """Make a folder of real sources: 60 modules of the standard library, in two folders."""
    folder = tmp_path / "sources"
    library = Path(sysconfig.get_paths()["stdlib"])
    middling = (path for path in sorted(library.glob("*.py")) if 5_000 < path.stat().st_size < 30_000)
    for number, path in zip(range(60), middling, strict=False):
        target = folder / ("deep/er" if number % 2 else ".") / path.name
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(path, target)
    return folder


class Program:
    """The example, run in a folder and with a process group of its own."""

    def __init__(self, folder: Path, tree: Path) -> None:
        self.folder = folder
        self.queue = folder / "index_sources.db"
        self.trace = folder / "trace"
        self._tree = tree

    @contextmanager
    def started(self, *options: str) -> Iterator[subprocess.Popen[str]]:
        """Run it in the background; whatever is left of it at the end of the block is killed."""
        with subprocess.Popen(
            [sys.executable, SCRIPT, "--root", self._tree, "--trace", self.trace, *options],
            cwd=self.folder,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            encoding="utf-8",
            start_new_session=True,
        ) as process:
            try:
                yield process
            finally:
                if process.poll() is None:
                    kill_all(process)

    def run(self, *options: str) -> tuple[int, str]:
        """Run it to its end; return its exit status and what it printed."""
        with self.started(*options) as process:
            out, err = process.communicate(timeout=PATIENCE)
            return process.returncode, out + err

    def attempts(self) -> list[Attempt]:
        return read_trace(self.trace)


@pytest.fixture
def program(tmp_path: Path, tree: Path) -> Program:
    return Program(tmp_path, tree)


def kill_all(process: subprocess.Popen[str]) -> None:
    """Kill a program and its workers at one moment."""
    if sys.platform == "win32":
        process.kill()
    else:
        os.killpg(process.pid, signal.SIGKILL)


def until(holds: Callable[[], bool]) -> None:
    give_up = time.monotonic() + PATIENCE
    while not holds():
        assert time.monotonic() < give_up, "it never came to hold"
        time.sleep(0.002)


@cache
def load_example() -> ModuleType:
    """Import the script as its workers do."""
    spec = importlib.util.spec_from_file_location("index_sources", SCRIPT)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    try:
        spec.loader.exec_module(module)
    finally:
        del sys.modules[spec.name]
    return module


def finished_files(queue: Path, tree: Path) -> set[str]:
    """Return the files whose results are in the queue's file."""
    example = load_example()
    with Queue(queue) as q:
        sources = example.find_sources(tree)
        return {str(path) for path in sources if q.AsyncResult(example.job_id(path)).successful()}


def lost_work(attempts: list[Attempt], finished: set[str]) -> list[float]:
    """Return for each worker the CPU seconds of work on finished jobs whose results were not stored."""
    by_worker: dict[int, list[Attempt]] = {}
    for attempt in attempts:
        by_worker.setdefault(attempt.pid, []).append(attempt)
    lost = []
    for mine in by_worker.values():
        stored = [attempt.path in finished for attempt in mine]
        first_lost = stored.index(False) if False in stored else len(mine)
        assert not any(stored[first_lost:]), "a result was stored before one that was finished earlier"
        # A job is finished when the next one begins; the last one was running.
        lost.append(mine[-1].cpu - mine[first_lost + 1].cpu if first_lost + 1 < len(mine) else 0.0)
    return lost


def test_the_totals_are_those_of_a_plain_loop(program: Program, tree: Path):
    status, output = program.run("--check")

    assert status == 0, output
    assert "The check holds" in output
    assert f"{len(list(tree.rglob('*.py')))} files, " in output
    assert len(program.attempts()) == 60


@pytest.mark.parametrize(
    "options",
    [
        ["--pool", "threads"],
        ["--pool", "asyncio"],
        ["--pool", "gevent"],
        ["--pool", "eventlet"],
        ["--pool", "solo"],
        ["--queue", "memory://"],
        ["--queue", "memory://", "--pool", "asyncio"],
    ],
    ids=" ".join,
)
def test_it_runs_on_every_pool_and_store_by_changing_one_argument(program: Program, options: list[str]):
    if {"gevent", "eventlet"} & set(options):
        pytest.importorskip(options[-1])
    status, output = program.run("--check", *options)

    assert status == 0, output
    assert "The check holds" in output


@pytest.mark.parametrize("pool", ["processes", "asyncio"])
def test_it_runs_on_a_redis_server_by_changing_one_argument(program: Program, redis_url: str, pool: str):
    status, output = program.run("--check", "--pool", pool, "--queue", redis_url)

    assert status == 0, output
    assert "The check holds" in output


def test_what_is_done_is_not_done_again_unless_it_is_asked_for(program: Program):
    first = program.run()
    again = program.run()
    assert again[0] == 0
    assert again[1].splitlines()[-2:] == first[1].splitlines()[-2:]
    assert len(program.attempts()) == 60

    fresh = program.run("--fresh", "--workers", "1")
    assert fresh[0] == 0
    assert fresh[1].splitlines()[-2:] == first[1].splitlines()[-2:]
    assert len(program.attempts()) == 120


def test_a_file_that_has_changed_is_indexed_again(program: Program, tree: Path):
    program.run()
    changed = next(tree.glob("*.py"))
    changed.write_text("changed = 1\n")
    status, output = program.run("--check")

    assert status == 0, output
    assert [attempt.path for attempt in program.attempts()[60:]] == [str(changed)]


@pytest.mark.skipif(sys.platform == "win32", reason="there is no kill -9 for a whole group of processes")
def test_killed_half_way_it_goes_on_and_repeats_no_finished_file(program: Program, tree: Path):
    with program.started() as process:
        until(lambda: len(program.attempts()) >= 30)
        kill_all(process)
        process.wait(PATIENCE)
    before = program.attempts()
    finished = finished_files(program.queue, tree)
    attempted = {attempt.path for attempt in before}
    assert 0 < len(finished) < 60

    status, output = program.run("--check")

    assert status == 0, output
    assert "The check holds" in output
    after = [attempt.path for attempt in program.attempts()[len(before) :]]
    assert not finished.intersection(after)
    assert len(after) == len(set(after)) == 60 - len(finished)
    assert finished <= attempted
    assert max(lost_work(before, finished)) <= LOST_WORK


@pytest.mark.skipif(sys.platform == "win32", reason="Ctrl-C reaches a console's programs, not one of them")
def test_interrupted_it_stops_its_workers_and_says_how_to_go_on(program: Program, tree: Path):
    # One that takes a while, so that not everything is done before the signal comes.
    (tree / "a_long_one.py").write_text("x = 1\n" * 100_000, encoding="utf-8")
    with program.started() as process:
        until(lambda: len(program.attempts()) >= 10)
        os.killpg(process.pid, signal.SIGINT)
        _, err = process.communicate(timeout=PATIENCE)
        assert process.returncode == 1
        assert err.strip() == "Stopped. What is done is kept; the same command goes on from there."
        attempts = program.attempts()
        assert not any(is_alive(attempt.pid) for attempt in attempts)
    # Every worker finished the file that it was at.
    assert finished_files(program.queue, tree) == {attempt.path for attempt in attempts}

    assert program.run("--check")[0] == 0
    assert len(program.attempts()) == 61


def is_alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True


def test_files_that_are_not_python_count_up_to_the_error(program: Program, tree: Path):
    (tree / "broken.py").write_bytes(b"# coding: no-such-thing\nx = 1\n")
    (tree / "open.py").write_text("x = (\n")
    (tree / "empty.py").write_text("")
    status, output = program.run("--check")

    assert status == 0, output
    assert "63 files, " in output


def test_files_that_fail_are_named_and_tried_again(program: Program, tree: Path):
    program.trace = program.folder / "missing" / "trace"
    status, output = program.run()
    assert status == 1
    assert f"{next(tree.glob('*.py'))} failed: FileNotFoundError" in output
    assert "60 files could not be indexed" in output

    program.trace.parent.mkdir()
    assert program.run()[0] == 0
    assert len(program.attempts()) == 60


def test_without_files_it_says_so(tmp_path: Path):
    status, output = Program(tmp_path, tmp_path / "nowhere").run()

    assert status == 1
    assert output.startswith("There is no Python file under ")
    assert not (tmp_path / "index_sources.db").exists()


def test_packages_that_were_installed_are_left_out(tmp_path: Path):
    for name in ("here.py", "site-packages/other.py", "sub/dist-packages/third.py", "sub/there.py"):
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()

    assert load_example().find_sources(tmp_path) == [tmp_path / "here.py", tmp_path / "sub" / "there.py"]
