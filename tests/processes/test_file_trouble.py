"""What is done to the file and its side folder under running programs: each ends with one sentence."""

from __future__ import annotations

import shutil
import subprocess
import sys
import time

import pytest
from overwriting import become_another_database, empty
from programs import Program, processor_seconds, wait_until

from liteq.errors import LiteqError, StoreReplacedError
from liteq.states import STARTED

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="open files cannot be removed there")

TASKS = """
    import time
    from pathlib import Path
    from liteq import Queue

    HERE = Path(__file__).parent
    q = Queue(HERE / "queue.db", durability="normal", visibility_timeout=1)

    @q.task
    def quick(number):
        with open(HERE / "effects", "a") as effects:
            effects.write(f"{number}\\n")
        return number

    @q.task
    def hold(number):
        (HERE / "running").touch()
        while not (HERE / "gate").exists():
            time.sleep(0.005)
        return quick.fn(number)
"""


def worker(program: Program, *options: str) -> subprocess.Popen[str]:
    """Start a worker and wait until it is ready."""
    process = program.start("-m", "liteq", "worker", "queue.db", "-A", "troubled", "-c", "1", *options)
    assert process.stdout is not None
    for line in process.stdout:
        if line == "ready\n":
            return process
    raise AssertionError(f"the worker ended with {process.wait()}")


def ending(process: subprocess.Popen[str]) -> tuple[int, list[str]]:
    """Wait for the end of a worker; return its status and what `liteq` itself said."""
    said, _ = process.communicate(timeout=30)
    return process.returncode, [line for line in said.splitlines() if line.startswith("liteq: ")]


def test_a_side_folder_that_goes_away_ends_its_programs_and_loses_no_job(program: Program) -> None:
    app = program.module("troubled", TASKS)
    held, waiting = app.hold.delay(1), app.quick.delay(2)
    process = worker(program)
    wait_until((program.folder / "running").exists)
    shutil.rmtree(program.folder / "queue.db.liteq")

    def is_told() -> bool:
        try:
            held.ready()
        except StoreReplacedError as error:
            return "queue.db.liteq: this folder was" in str(error)
        return False

    wait_until(is_told)
    with pytest.raises(StoreReplacedError):
        app.quick.delay(3)
    app.q.close()

    # Somebody who comes now must not take the worker for dead, though its life cannot be seen any more:
    # it renews its lease, several times here, until the job is done.
    newcomer = worker(program, "-n", "newcomer")
    assert waiting.get(timeout=10) == 2
    spent = processor_seconds(process.pid)
    time.sleep(2.5)
    assert processor_seconds(process.pid) - spent < 0.5
    assert held.status == STARTED
    (program.folder / "gate").touch()
    status, said = ending(process)
    assert status == 2
    [sentence] = said
    assert "this folder was deleted or replaced while in use" in sentence
    assert held.get(timeout=10) == 1
    newcomer.terminate()
    assert ending(newcomer)[0] == 0
    assert (program.folder / "effects").read_text().split() == ["2", "1"]
    assert app.q.transport.workers() == []


def test_a_part_of_the_file_that_goes_away_ends_its_programs(program: Program) -> None:
    part = "queue.db-wal"
    app = program.module("troubled", TASKS)
    app.quick.delay(1)
    process = worker(program)
    (program.folder / part).rename(program.folder / "gone")
    status, said = ending(process)
    assert status == 2
    [sentence] = said
    assert part in sentence

    def refused() -> bool:
        try:
            app.quick.delay(2)
        except StoreReplacedError:
            return True
        return False

    wait_until(refused)
    (program.folder / "gone").rename(program.folder / part)


@pytest.mark.parametrize(
    ("do", "told"),
    [
        (empty, "was emptied while in use"),
        (become_another_database, "written over"),
    ],
)
def test_a_file_that_something_writes_over_ends_its_programs_with_a_sentence(
    program: Program, do, told: str
) -> None:
    app = program.module("troubled", TASKS)
    app.q.enqueue_many(app.quick.s(number) for number in range(500))[-1].revoke()
    process = worker(program)
    wait_until(lambda: not any(lane.waiting != "finished" for lane in app.q.transport.count()))
    # In the file and no longer in the WAL, where SQLite would still find it.
    app.q.transport._database.checkpoint()
    do(program.folder / "queue.db")
    if do is empty:
        with pytest.raises(StoreReplacedError, match=told):
            app.quick.delay(1)
    else:
        with pytest.raises(LiteqError):  # noqa: PT012 (until then, it is in SQLite's cache)
            for number in range(500):
                app.quick.delay(number)
                app.q.transport.count()
    status, said = ending(process)
    assert status == 2
    [sentence] = said
    assert told in sentence or "the database is damaged" in sentence
