"""A program with threads forks, and its child uses the same queue."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Iterator

import pytest

from liteq import Queue
from liteq.transports.sqlite import forking

pytestmark = [
    pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork here"),
    pytest.mark.filterwarnings("ignore:.*fork:DeprecationWarning"),
]


@pytest.fixture
def queue(tmp_path) -> Iterator[Queue]:
    with Queue(tmp_path / "queue.db", durability="normal", busy_timeout=1) as queue:
        queue.task(name="t")(lambda: None)
        queue.send_task("t")
        yield queue


def child_enqueues(queue: Queue) -> bool:
    """Fork; tell whether the child could enqueue."""
    child = os.fork()
    if child == 0:
        try:
            queue.send_task("t")
            os._exit(0)
        finally:
            os._exit(1)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0


def test_a_child_forked_while_a_thread_writes_can_write_too(queue: Queue):
    inside = threading.Event()

    def write() -> None:
        with queue.transaction():
            inside.set()
            time.sleep(0.02)

    thread = threading.Thread(target=write)
    thread.start()
    inside.wait()
    try:
        assert child_enqueues(queue)
    finally:
        thread.join()
    queue.send_task("t")
    assert sum(lane.jobs for lane in queue.transport.count()) == 3


def test_a_fork_does_not_wait_for_ever_nor_for_its_own_thread(queue: Queue, monkeypatch):
    monkeypatch.setattr(forking, "LONGEST", 0.01)
    inside, may_end = threading.Event(), threading.Event()

    def write() -> None:
        with queue.transaction():
            inside.set()
            assert may_end.wait(30)

    def fork() -> int:
        child = os.fork()
        if child == 0:
            os._exit(7)
        return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])

    thread = threading.Thread(target=write)
    thread.start()
    inside.wait()
    try:
        assert fork() == 7
    finally:
        may_end.set()
        thread.join()
    monkeypatch.setattr(forking, "LONGEST", 30)
    with queue.transaction():
        assert fork() == 7
    queue.send_task("t")
