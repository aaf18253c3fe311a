"""One file, many programs: opening it, writing to it, and what they leave behind."""

from __future__ import annotations

import json
import os
import sqlite3
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from programs import Program

from liteq import Queue

OPEN = """
    import sys, time
    from liteq import Queue

    q = Queue(sys.argv[1], durability="normal")

    @q.task(name="tasks.noop")
    def noop(number):
        pass

    if __name__ == "__main__":
        # All wait for the same moment, so that they open the file together.
        time.sleep(max(0.0, float(sys.argv[2]) - time.time()))
        noop.delay(1)
        q.close()
"""
WRITE = """
    import json, sys, time
    from liteq import Queue

    q = Queue(sys.argv[1], durability="normal")

    @q.task(name="tasks.noop")
    def noop(number):
        pass

    if __name__ == "__main__":
        time.sleep(max(0.0, float(sys.argv[2]) - time.time()))
        end = time.monotonic() + float(sys.argv[3])
        calls = longest = 0
        while (began := time.monotonic()) < end:
            noop.delay(calls)
            calls += 1
            longest = max(longest, time.monotonic() - began)
        print(json.dumps([calls, longest]))
"""


def test_32_processes_open_one_new_file_at_the_same_moment(
    program: Program, tmp_path: Path, rounds: Callable[[int, int], int]
) -> None:
    script = program.write("opening", OPEN)
    for number in range(rounds(1, 20)):
        path = tmp_path / f"queue-{number}.db"
        # Three seconds for 32 interpreters to start on a small machine.
        together = time.time() + 3
        processes = [program.start(script, path, together) for _ in range(32)]
        said = [process.communicate(timeout=60)[0] for process in processes]
        assert [process.returncode for process in processes] == [0] * 32, said
        with Queue(path) as q:
            assert sum(lane.jobs for lane in q.transport.count()) == 32


def test_8_writing_processes_each_get_their_turn(
    program: Program, tmp_path: Path, rounds: Callable[[int, int], int]
) -> None:
    script = program.write("writing", WRITE)
    seconds = rounds(1, 5)
    together = time.time() + 1.5
    processes = [program.start(script, tmp_path / "queue.db", together, seconds) for _ in range(8)]
    figures = [json.loads(process.communicate(timeout=60)[0]) for process in processes]
    print(f"calls {[calls for calls, _ in figures]}, longest wait {max(wait for _, wait in figures):.3f} s")
    with Queue(tmp_path / "queue.db") as q:
        stored = sum(lane.jobs for lane in q.transport.count())
    assert stored == sum(calls for calls, _ in figures)
    assert all(calls for calls, _ in figures)


def test_the_wal_stays_small_without_any_worker(tmp_path: Path, rounds: Callable[[int, int], int]) -> None:
    q = Queue(tmp_path / "queue.db", durability="normal")

    @q.task(name="tasks.noop")
    def noop(number: int) -> None: ...

    wal = tmp_path / "queue.db-wal"
    largest = 0
    with q:
        for number in range(rounds(10_000, 200_000)):
            noop.delay(number)
            if number % 100 == 0:
                largest = max(largest, wal.stat().st_size)
    print(f"largest WAL {largest / 1e6:.1f} MB")
    assert largest < 32 * 1024 * 1024


@pytest.mark.parametrize(
    "name",
    ["a queue.db", "größe 队列.db", "x" * 120 + ".db", "long/" * 40 + "queue.db"],
    ids=lambda name: name[:12],
)
def test_workers_run_on_any_path(program: Program, name: str) -> None:
    path = program.folder / name
    path.parent.mkdir(parents=True, exist_ok=True)
    app = program.module(
        "anywhere",
        f"""
        from liteq import Queue
        q = Queue({str(path)!r}, durability="normal")

        @q.task
        def double(number):
            return 2 * number
        """,
    )
    with app.q.start_workers(1):
        assert app.double.delay(21).get(timeout=10) == 42


@pytest.mark.skipif(sys.platform == "win32", reason="symbolic links need a privilege there")
def test_a_symbolic_link_leads_to_the_same_queue(program: Program) -> None:
    app = program.module(
        "linked",
        """
        from pathlib import Path
        from liteq import Queue
        q = Queue(Path(__file__).parent / "queue.db", durability="normal")

        @q.task
        def double(number):
            return 2 * number
        """,
    )
    app.q.transport.count()
    link = program.folder / "link.db"
    link.symlink_to(program.folder / "queue.db")
    other = Queue(link)
    with other, app.q.start_workers(1):
        result = other.AsyncResult(app.double.delay(4).id)
        assert result.get(timeout=10) == 8
    assert not (program.folder / "link.db.liteq").exists()


def test_a_relative_path_means_the_producers_folder_also_in_its_workers(program: Program) -> None:
    script = program.write(
        "relative",
        """
        from liteq import Queue
        q = Queue("queue.db", durability="normal")

        @q.task
        def follow_up():
            return "followed"

        @q.task
        def first():
            return follow_up.delay().id

        if __name__ == "__main__":
            with q.start_workers(1):
                print(q.AsyncResult(first.delay().get(timeout=10)).get(timeout=10))
        """,
    )
    elsewhere = program.folder / "elsewhere"
    elsewhere.mkdir()
    done = program.run(script, cwd=elsewhere)
    assert done.stdout == "followed\n", done.stderr
    assert (elsewhere / "queue.db").exists()
    assert not (program.folder / "queue.db").exists()


def test_a_script_without_a_guard_is_told_so_at_start_workers(program: Program) -> None:
    script = program.write(
        "unguarded",
        """
        from liteq import Queue
        q = Queue("queue.db", durability="normal")

        @q.task
        def noop():
            pass

        with q.start_workers(1):
            print(noop.delay().get(timeout=50))
        """,
    )
    done = program.run(script)
    assert done.returncode == 1
    assert done.stdout == ""
    assert 'if __name__ == "__main__":' in done.stderr.splitlines()[-1]


@pytest.mark.skipif(sys.platform == "win32", reason="mode bits")
def test_the_file_and_its_folder_are_private_whatever_the_umask(tmp_path: Path) -> None:
    before = os.umask(0)
    try:
        with Queue(tmp_path / "queue.db") as q:
            q.transport.count()
            modes = {
                path.name: path.stat().st_mode & 0o777
                for path in (tmp_path / "queue.db", tmp_path / "queue.db-wal", tmp_path / "queue.db.liteq")
            }
    finally:
        os.umask(before)
    assert modes == {"queue.db": 0o600, "queue.db-wal": 0o600, "queue.db.liteq": 0o700}


def test_an_applications_own_database_can_be_the_queue(tmp_path: Path) -> None:
    path = tmp_path / "shop.db"
    own = sqlite3.connect(path)
    own.executescript("CREATE TABLE orders (id INTEGER PRIMARY KEY); PRAGMA user_version = 7;")
    with Queue(path) as q:
        q.transport.count()
    assert own.execute("PRAGMA user_version").fetchone() == (7,)
    assert own.execute("SELECT count(*) FROM orders").fetchone() == (0,)
    own.close()
