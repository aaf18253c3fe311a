"""Supervisors wait out a write lock that somebody keeps for longer than anybody may wait for it."""

from __future__ import annotations

import logging
import os
import signal
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import ModuleType

import pytest
from programs import Program, wait_until

from liteq.transports.sqlite.transport import SqliteTransport

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="POSIX signals")

TASKS = """
    import os
    import time
    from pathlib import Path
    from liteq import Queue

    HERE = Path(__file__).parent
    q = Queue(HERE / "queue.db", durability="normal", busy_timeout=0.2)

    @q.task(bind=True)
    def work(self) -> int:
        (HERE / f"began {self.request.attempt} {os.getpid()}").touch()
        while not (HERE / "go").exists():
            time.sleep(0.005)
        return self.request.attempt

    if __name__ == "__main__":
        with q.start_workers(1):
            time.sleep(300)
"""


@pytest.fixture
def app(program: Program) -> ModuleType:
    return program.module("busy", TASKS)


def running(program: Program, attempt: int) -> int:
    """Wait until the job's attempt of this number has begun, and return the process id of its worker."""
    wait_until(lambda: list(program.folder.glob(f"began {attempt} *")))
    [found] = program.folder.glob(f"began {attempt} *")
    return int(found.name.split()[2])


@contextmanager
def lock_kept_until_the_supervisor_complains(program: Program) -> Iterator[None]:
    """Keep the write lock until the supervisor of this process has given up waiting for it once."""
    complained, kept = threading.Event(), threading.Event()

    def keep() -> None:
        with SqliteTransport(program.folder / "queue.db") as store, store.transaction():
            kept.set()
            complained.wait(20)

    class Listening(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            if "another process has kept the write lock" in record.getMessage():
                complained.set()

    keeper, listening = threading.Thread(target=keep), Listening()
    logging.getLogger("liteq.worker").addHandler(listening)
    keeper.start()
    try:
        assert kept.wait(20)
        yield
        assert complained.wait(20)
    finally:
        complained.set()
        keeper.join()
        logging.getLogger("liteq.worker").removeHandler(listening)


def test_a_supervisor_that_finds_the_lock_busy_when_it_starts_goes_on_when_it_is_free(
    program: Program, app: ModuleType
) -> None:
    result = app.work.delay()
    process = program.start(app.__file__)
    running(program, 1)
    os.killpg(process.pid, signal.SIGKILL)
    process.wait(10)
    # It has a dead worker's jobs to take over, and cannot.
    with lock_kept_until_the_supervisor_complains(program):
        workers = app.q.start_workers(1)
    with workers:
        (program.folder / "go").touch()
        assert result.get(timeout=20) == 2


def test_a_crash_is_charged_although_the_lock_is_busy_when_the_worker_dies(
    program: Program, app: ModuleType
) -> None:
    result = app.work.delay()
    with app.q.start_workers(1):
        victim = running(program, 1)
        with lock_kept_until_the_supervisor_complains(program):
            os.kill(victim, signal.SIGKILL)
        running(program, 2)
        (program.folder / "go").touch()
        assert result.get(timeout=20) == 2
    [job] = app.q.transport.get([result.id])
    assert job is not None
    assert job.crashes == 1
