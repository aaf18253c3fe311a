"""persist-queue, which has neither tasks nor results, with the worker loop that one would write for it."""

from __future__ import annotations

import fcntl
import sys
import time
from typing import Any

from persistqueue import Empty, SQLiteAckQueue

from peers.adapter import Adapter, folder
from peers.board import Board

board = Board.of_this_run()
PAUSE = 0.001
"""Seconds between two looks at an empty queue; a `put` wakes only threads of its own process."""
CLEAR_AFTER = 1000
"""Finished jobs stay in the table, and each `get` reads over them, until they are cleared."""


def open_queue() -> SQLiteAckQueue:
    # With `auto_resume` each process that opens the queue would take back what the other one has in hand.
    return SQLiteAckQueue(str(folder() / "queue"), auto_resume=False)


class PersistQueue(Adapter):
    keeps_results = False
    packages = ("persist-queue",)

    def __init__(self) -> None:
        self._queue = open_queue()

    def worker_commands(self) -> list[list[str]]:
        return [[sys.executable, "-m", __name__] for _ in range(2)]

    def delay(self, job: int, keep: bool) -> Any:
        return self._queue.put(("work", job))

    def delay_hold(self, place: int) -> None:
        self._queue.put(("hold", place))

    def outstanding(self) -> int:
        # Another process's view: the count that `size` has was taken when the queue was opened.
        seen = open_queue()
        try:
            return seen.size + seen.unack_count()
        finally:
            seen.close()

    def close(self) -> None:
        self._queue.close()


def work_on() -> None:
    """Run jobs for ever.

    `get` reads a row and marks it in a transaction of its own, so that two processes could take the same one;
    a lock between them prevents that.
    """
    queue = open_queue()
    actions = {"work": board.mark, "hold": board.hold}
    done = 0
    with (folder() / "turn").open("a") as turn:
        while True:
            fcntl.flock(turn, fcntl.LOCK_EX)
            try:
                item = queue.get(block=False, raw=True)
            except Empty:
                item = None
            finally:
                fcntl.flock(turn, fcntl.LOCK_UN)
            if item is None:
                time.sleep(PAUSE)
                continue
            action, number = item["data"]
            actions[action](number)
            queue.ack(id=item["pqid"])
            done += 1
            if done % CLEAR_AFTER == 0:
                queue.clear_acked_data(max_delete=CLEAR_AFTER, keep_latest=0)


adapter = PersistQueue

if __name__ == "__main__":
    work_on()
