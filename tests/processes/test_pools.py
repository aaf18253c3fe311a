"""Every pool does what the table in the guide says of it, tried with real processes."""

from __future__ import annotations

import importlib.util
import os
import re
import signal
import sys
from collections.abc import Mapping
from pathlib import Path

import pytest
from pool_trials import GREEN, POOLS, column
from programs import Program, wait_until

from liteq.errors import ExtraRequiredError, TimeLimitExceeded, WorkerError
from liteq.states import FAILURE, SUCCESS

GUIDE = Path(__file__).parents[2] / "docs" / "guides" / "pools.md"
TABLE = re.compile(r"(?<=<!-- table: pools -->\n).*?(?=\n\n)", re.DOTALL)
WRITE = "LITEQ_WRITE_TABLES"
"""Set in the environment, it lets these tests write the table instead of comparing it."""


def read_table() -> dict[str, dict[str, str]]:
    """Return the guide's table: by pool, then by row."""
    found = TABLE.search(GUIDE.read_text(encoding="utf-8"))
    assert found is not None, "the guide has no table"
    lines = [[cell.strip() for cell in line.strip("|").split("|")] for line in found[0].splitlines()]
    head, _, *rows = lines
    return {pool.strip("`"): {row[0]: row[place] for row in rows} for place, pool in enumerate(head) if place}


def write_column(pool: str, rows: Mapping[str, str]) -> None:
    table = {**{each: {} for each in POOLS}, **read_table(), pool: rows}
    lines = ["| | " + " | ".join(f"`{each}`" for each in POOLS) + " |", "| --- " * (len(POOLS) + 1) + "|"]
    lines += [f"| {row} | " + " | ".join(table[each].get(row, "?") for each in POOLS) + " |" for row in rows]
    text = GUIDE.read_text(encoding="utf-8")
    GUIDE.write_text(TABLE.sub("\n".join(lines), text), encoding="utf-8")


@pytest.mark.parametrize("pool", POOLS)
def test_a_pool_does_what_the_guide_says(program: Program, pool: str) -> None:
    if pool in GREEN and importlib.util.find_spec(pool) is None:
        pytest.skip(f"{pool} is not installed")
    found = column(program, pool)
    if os.environ.get(WRITE):
        write_column(pool, found)
    assert found == read_table()[pool]


TASKS = """
    import asyncio
    import os
    import time
    from pathlib import Path
    from liteq import Queue

    HERE = Path(__file__).parent
    q = Queue(HERE / "queue.db", durability="normal")

    def trace(line: str) -> None:
        with open(HERE / "trace", "a") as file:
            file.write(f"{line} {os.getpid()}\\n")

    @q.task(max_crashes=2)
    async def hold(name: str) -> int:
        trace(name)
        while not (HERE / "go").exists():
            await asyncio.sleep(0.005)
        return os.getpid()

    @q.task(max_crashes=0)
    def once(name: str) -> None:
        trace(name)
        while not (HERE / "go").exists():
            time.sleep(0.005)

    @q.task(time_limit=0.3, autoretry_for=(TimeoutError,), max_retries=0)
    def late(name: str) -> None:
        trace(name)
        time.sleep(20)

    @q.task(time_limit=0.1)
    async def never_yields() -> None:
        while True:
            pass
"""


@pytest.fixture
def app(program: Program):
    return program.module("pooling", TASKS)


def begun(program: Program) -> dict[str, int]:
    """Return which jobs have begun, each with the process id of the last time."""
    path = program.folder / "trace"
    lines = path.read_text().splitlines() if path.exists() else []
    return {name: int(pid) for name, pid in (line.split() for line in lines)}


def jobs(app, *results):
    return app.q.transport.get([result.id for result in results])


@pytest.mark.skipif(sys.platform == "win32", reason="POSIX signals")
def test_a_killed_process_costs_a_crash_each_of_what_ran_and_nothing_of_what_did_not(program, app) -> None:
    with app.q.start_workers(3, pool="asyncio"):
        running = [app.hold.delay("a"), app.hold.delay("b"), app.once.delay("c")]
        wait_until(lambda: len(begun(program)) == 3)
        waiting = app.hold.delay("d")
        os.kill(begun(program)["a"], signal.SIGKILL)
        wait_until(lambda: "d" in begun(program))
        (program.folder / "go").touch()
        assert running[0].get(timeout=20) == running[1].get(timeout=20) == waiting.get(timeout=20)
        first, second, only, last = jobs(app, *running, waiting)
    assert [each.crashes for each in (first, second, last)] == [1, 1, 0]
    assert (only.state, only.attempts) == (FAILURE, 1)
    assert "beside 2 others" in only.reason


def test_all_that_are_late_fail_and_those_beside_them_lose_no_attempt(program, app) -> None:
    with app.q.start_workers(4, pool="threads"):
        beside = [app.hold.delay("a"), app.once.delay("b")]
        wait_until(lambda: len(begun(program)) == 2)
        late = app.q.enqueue_many(app.late.s(name) for name in ("x", "y"))
        for result in late:
            with pytest.raises(TimeLimitExceeded, match=r"time limit of 0\.3 s"):
                result.get(timeout=20)
        (program.folder / "go").touch()
        beside[0].get(timeout=20)
        held, only, *_ = jobs(app, *beside, *late)
    assert (held.state, held.attempts, held.crashes) == (SUCCESS, 1, 0)
    assert only.state == FAILURE
    assert "interrupted by the time limit of a job beside it" in only.reason


def test_a_coroutine_that_never_yields_is_ended_with_its_process(app) -> None:
    with app.q.start_workers(4, pool="asyncio"), pytest.raises(TimeLimitExceeded, match=r"of 0\.1 s"):
        app.never_yields.delay().get(timeout=20)


def test_several_processes_run_several_jobs_each(program: Program, app) -> None:
    with app.q.start_workers(2, pool="threads", processes=2) as workers:
        results = app.q.enqueue_many(app.hold.s(name) for name in "abcd")
        wait_until(lambda: len(begun(program)) == 4)
        assert set(begun(program).values()) == set(workers.pids)
        (program.folder / "go").touch()
        assert sorted(result.get(timeout=20) for result in results) == sorted(2 * workers.pids)


def test_a_pool_of_another_package_is_found_by_its_entry_point(program: Program, app, monkeypatch) -> None:
    program.write(
        "other",
        """
        from liteq.worker.pools.threads import ThreadPool

        class Mine(ThreadPool):
            name = "mine"
            first = "os:getpid"

            def refusal(self, task):
                return f"not {task.name}" if task.name == "pooling.once" else None

        class Broken:
            def __init__(self):
                raise RuntimeError("so it is")
        """,
    )
    metadata = program.folder / "other-1.0.dist-info"
    metadata.mkdir()
    (metadata / "METADATA").write_text("Metadata-Version: 2.1\nName: other\nVersion: 1.0\n")
    (metadata / "entry_points.txt").write_text("[liteq.pools]\nmine = other:Mine\nbroken = other:Broken\n")
    monkeypatch.syspath_prepend(str(program.folder))
    with pytest.raises(WorkerError, match=r"not pooling\.once"):
        app.q.start_workers(2, pool="mine")
    with pytest.raises(ValueError, match=r"broken.*so it is"):
        app.q.start_workers(2, pool="broken")
    with pytest.raises(ValueError, match="broken, mine"):
        app.q.start_workers(2, pool="nine")


def test_what_a_green_pool_lacks_is_said_in_a_sentence(app, monkeypatch) -> None:
    monkeypatch.setattr("liteq.worker.pools.green.find_spec", lambda _name: None)
    with pytest.raises(ExtraRequiredError, match=r"pip install 'liteq-queue\[gevent\]'"):
        app.q.start_workers(2, pool="gevent")


def test_a_library_that_cannot_run_here_is_told_of(program: Program, monkeypatch) -> None:
    app = program.module(
        "alone", "from liteq import Queue\nq = Queue(__file__ + '.db')\nq.task(name='p')(lambda: None)\n"
    )
    program.write("gevent", "raise RuntimeError('this Python is too new')")
    monkeypatch.syspath_prepend(str(program.folder))
    with pytest.raises(WorkerError, match=r"pool gevent cannot run here.*too new"):
        app.q.start_workers(2, pool="gevent")
