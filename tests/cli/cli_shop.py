"""Queues for the tests of the command line: one in this process, and one of an application in a folder."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from liteq import Queue
from liteq.worker.config import WorkerConfig
from liteq.worker.solo import SoloWorker

PATIENCE = 30.0
"""Seconds after which a test that waits for something is lost."""

APP = """
import socket
from liteq import Queue

q = Queue("queue.db")


@q.task
def add(x, y=1):
    return x + y


@q.task
def fail(message):
    raise ValueError(message)


@q.task
def hold(port):
    with socket.create_connection(("127.0.0.1", port)) as gate:
        gate.recv(1)


if __name__ == "__main__":
    import sys

    for word in sys.argv[1:]:
        print(eval(word).id)
"""


class Shop:
    """A queue file with the tasks `shop.add` and `shop.fail`."""

    def __init__(self, folder: Path) -> None:
        self.file = folder / "queue.db"
        self.queue = Queue(self.file)

        @self.queue.task(name="shop.add")
        def add(x: int, y: int = 1) -> int:
            return x + y

        @self.queue.task(name="shop.fail", max_retries=0)
        def fail(message: str) -> None:
            raise ValueError(message)

        self.add, self.fail = add, fail

    def work(self) -> None:
        """Run all jobs that are ready."""
        config = WorkerConfig(url=self.queue.url, drain=True)
        SoloWorker(self.queue.transport, self.queue.tasks, config).run()


def run_app(folder: Path, *calls: str) -> list[str]:
    """Run `app.py` as a script that makes these calls; return the jobs' ids."""
    command = [sys.executable, "app.py", *calls]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=PATIENCE, check=True)
    return done.stdout.split()
