"""Workers and producers whose Redis server ends under them, and comes back."""

from __future__ import annotations

import signal
import sys
import threading
import time
from collections.abc import Callable
from types import ModuleType

import pytest
from programs import Program, is_alive, processor_seconds, wait_until
from redis_server import RedisServer

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="POSIX signals")

TASKS = """
    import os
    import time
    from pathlib import Path
    from liteq import Queue

    HERE = Path(__file__).parent
    q = Queue({url!r}, visibility_timeout=30)

    @q.task
    def work(number: int) -> int:
        (HERE / f"began {{number}} {{os.getpid()}}").touch()
        while not (HERE / f"go {{number}}").exists():
            time.sleep(0.005)
        return number
"""


@pytest.fixture
def server(start_redis: Callable[..., RedisServer]) -> RedisServer:
    return start_redis("--appendonly", "yes", "--appendfsync", "always")


@pytest.fixture
def app(program: Program, server: RedisServer) -> ModuleType:
    return program.module("outage", TASKS.format(url=server.url()))


def began(program: Program, number: int) -> int:
    """Wait until a job has begun, once, and return the process id of its worker."""
    wait_until(lambda: list(program.folder.glob(f"began {number} *")), 20)
    [found] = program.folder.glob(f"began {number} *")
    return int(found.name.split()[2])


def let_end(program: Program, number: int) -> None:
    (program.folder / f"go {number}").touch()


def test_what_ends_while_the_server_is_away_is_stored_when_it_is_back(
    program: Program, app: ModuleType, server: RedisServer
) -> None:
    worker = program.start("-m", "liteq", "worker", "outage:q", "-c", "1")
    first, second = app.work.delay(1), app.work.delay(2)
    pid = began(program, 1)
    server.kill()
    let_end(program, 1)
    let_end(program, 2)
    later: list[object] = []
    calling = threading.Thread(target=lambda: later.append(app.work.delay(3)))
    calling.start()
    before = processor_seconds(pid, worker.pid)
    time.sleep(1.0)
    spent = processor_seconds(pid, worker.pid) - before
    server.start()

    assert first.get(timeout=10) == 1
    assert second.get(timeout=10) == 2
    calling.join(10)
    let_end(program, 3)
    assert later[0].get(timeout=10) == 3  # type: ignore[attr-defined]
    assert began(program, 1) == began(program, 2) == pid
    assert spent < 0.5


def test_a_worker_that_starts_before_its_server_waits_for_it(
    program: Program, app: ModuleType, server: RedisServer
) -> None:
    server.stop()
    worker = program.start("-m", "liteq", "worker", "outage:q", "-c", "1")
    assert worker.stdout is not None
    line = worker.stdout.readline()
    assert "cannot be reached" in line
    server.start()
    let_end(program, 1)

    assert app.work.delay(1).get(timeout=20) == 1


def test_workers_can_be_stopped_while_the_server_is_away(
    program: Program, app: ModuleType, server: RedisServer
) -> None:
    worker = program.start("-m", "liteq", "worker", "outage:q", "-c", "1")
    job = app.work.delay(1)
    pid = began(program, 1)
    server.stop()
    worker.send_signal(signal.SIGTERM)
    assert worker.stdout is not None
    while "once more to stop at once" not in worker.stdout.readline():
        assert worker.poll() is None
    worker.send_signal(signal.SIGTERM)

    worker.communicate(timeout=20)
    wait_until(lambda: not is_alive(pid))
    server.start()
    let_end(program, 1)
    program.start("-m", "liteq", "worker", "outage:q", "-c", "1")
    assert job.get(timeout=30) == 1
