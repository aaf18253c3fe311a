"""Works on a queue as several users of the system; run as root: `python users.py FOLDER`.

The folder has the sticky group bit and belongs to the group `GROUP`. Each user is a forked child that has
become that user for good; it could not import anything any more, so the parent does everything once before.
"""

from __future__ import annotations

import json
import os
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

from liteq import Queue
from liteq.errors import LiteqError
from liteq.worker.config import WorkerConfig
from liteq.worker.solo import SoloWorker

GROUP = 23_456
FIRST, SECOND, OUTSIDER = (23_001, GROUP), (23_002, GROUP), (23_003, 23_003)


def open_queue(path: Path, file_mode: int) -> tuple[Queue, Any]:
    queue = Queue(path, file_mode=file_mode, busy_timeout=5)
    return queue, queue.task(name="whoami")(lambda: os.geteuid())


def work(queue: Queue) -> None:
    config = WorkerConfig(url=queue.url, drain=True)
    SoloWorker(queue.transport, queue.tasks, config).run()


def modes(path: Path) -> dict[str, str]:
    """Return the mode and the owner's group of everything that belongs to the queue."""
    found = [*path.parent.glob(f"{path.name}*"), *path.parent.glob(f"{path.name}.liteq/*")]
    return {each.name: f"{each.lstat().st_mode & 0o7777:o} {each.lstat().st_gid}" for each in sorted(found)}


def everything(path: Path, file_mode: int) -> tuple[int, dict[str, str]]:
    """Enqueue, work, and read; return who ran the job, and the modes."""
    queue, whoami = open_queue(path, file_mode)
    with queue:
        listener = queue.transport.listen_for_jobs()
        result = whoami.delay()
        work(queue)
        ran = result.get(timeout=10)
        slot = queue.transport.slot(7)
        found = modes(path)
        slot.close()
        listener.close()
    return ran, found


def as_user(user: tuple[int, int], act: Callable[[], Any], umask: int = 0o077) -> Any:
    """Do something as another user, in a child; return what it returned, or the words of our error."""
    reading, writing = os.pipe()
    child = os.fork()
    if child == 0:
        try:
            os.setgroups([user[1]])
            os.setgid(user[1])
            os.setuid(user[0])
            os.umask(umask)
            try:
                said = act()
            except LiteqError as error:
                said = f"{type(error).__name__}: {error}"
            os.write(writing, json.dumps(said).encode())
        finally:
            os._exit(0)
    os.close(writing)
    with open(reading, "rb") as pipe:  # noqa: PTH123 (a descriptor has no path)
        said = pipe.read()
    os.waitpid(child, 0)
    return json.loads(said or '"it died"')


def share(folder: Path) -> dict[str, Any]:
    """Let two users of one group share a queue, and a third one try."""
    path = folder / "queue.db"
    said: dict[str, Any] = {}

    def first() -> Any:
        queue, whoami = open_queue(path, 0o660)
        with queue:
            mine = whoami.delay()
            # While this one has the file open, so that both use the same WAL.
            other = ask_second()
            return [mine.get(timeout=10), other, everything(path, 0o660)]

    def second() -> Any:
        queue, whoami = open_queue(path, 0o600)
        with queue:
            own = whoami.delay()
            work(queue)
            return own.get(timeout=10)

    # Forked by root, who can still make it the second user; the first one cannot.
    reading, writing = os.pipe()
    done_reading, done_writing = os.pipe()
    child = os.fork()
    if child == 0:
        os.read(reading, 1)
        os.write(done_writing, json.dumps(as_user(SECOND, second)).encode())
        os._exit(0)

    def ask_second() -> Any:
        os.write(writing, b"!")
        return json.loads(os.read(done_reading, 65536))

    said["both"] = as_user(FIRST, first)
    os.waitpid(child, 0)
    said["second again"] = as_user(SECOND, lambda: everything(path, 0o600))
    said["outsider"] = as_user(OUTSIDER, second)
    said["outsider, by hand"] = as_user(OUTSIDER, lambda: os.access(path, os.R_OK))
    return said


def main(folder: Path) -> None:
    with tempfile.TemporaryDirectory() as scratch:
        everything(Path(scratch, "queue.db"), 0o600)
    said = {"share": share(folder)}
    for umask in (0, 0o777, 0o277):
        alone = folder / f"alone-{umask:o}.db"
        said[f"{umask:o}"] = as_user(FIRST, lambda alone=alone: everything(alone, 0o600), umask)
        shared = folder / f"shared-{umask:o}.db"
        said[f"{umask:o} shared"] = as_user(FIRST, lambda shared=shared: everything(shared, 0o660), umask)
    print(json.dumps(said))


if __name__ == "__main__":
    main(Path(sys.argv[1]))
