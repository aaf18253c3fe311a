"""liteq, from this checkout."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from typing import Any

from liteq import Queue
from peers.adapter import PATIENCE, Adapter, folder, option
from peers.board import Board

board = Board.of_this_run()
q = Queue(folder() / "queue.db", durability=option("durability", "full"))


@q.task
def work(job: int) -> int:
    board.mark(job)
    return job


@q.task(ignore_result=True)
def work_quietly(job: int) -> None:
    board.mark(job)


@q.task(ignore_result=True)
def hold(place: int) -> None:
    board.hold(place)


class Liteq(Adapter):
    # The most that a worker claims at once is 128.
    in_flight = 2 * 128
    has_bulk = True
    packages = ("liteq-queue",)

    def worker_commands(self) -> list[list[str]]:
        return [[sys.executable, "-m", "liteq", "worker", f"{__name__}:q", "-c", "2"]]

    def delay(self, job: int, keep: bool) -> Any:
        return (work if keep else work_quietly).delay(job)

    def delay_many(self, jobs: Sequence[int], keep: bool) -> list[Any]:
        task = work if keep else work_quietly
        return q.enqueue_many(task.s(job) for job in jobs)

    def delay_hold(self, place: int) -> None:
        hold.delay(place)

    def outstanding(self) -> int:
        return sum(lane.jobs for lane in q.transport.count() if lane.waiting != "finished")

    def value(self, handle: Any) -> int:
        return handle.get(timeout=PATIENCE)

    def close(self) -> None:
        q.close()


adapter = Liteq
