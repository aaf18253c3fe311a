"""tinyjobs on SQLite."""

from __future__ import annotations

import sys
from typing import Any

from tinyjobs import TinyJobs

from peers.adapter import PATIENCE, Adapter, folder
from peers.board import Board

board = Board.of_this_run()
app = TinyJobs(f"sqlite:///{folder() / 'jobs.db'}")
THREADS = 8


# It runs these on the event loop, which is cheaper for it than a thread.
@app.task(store_result=True)
async def work(job: int) -> int:
    board.mark(job)
    return job


@app.task
async def work_quietly(job: int) -> None:
    board.mark(job)


@app.task
def hold(place: int) -> None:
    board.hold(place)


class Tinyjobs(Adapter):
    slots = in_flight = 2 * THREADS
    packages = ("tinyjobs",)

    def worker_commands(self) -> list[list[str]]:
        worker = [sys.executable, "-m", "tinyjobs", "worker", "--app", f"{__name__}:app"]
        options = ["--concurrency", str(THREADS), "--poll-min", "0.001", "--no-scheduler"]
        return [[*worker, *options, "--log-level", "ERROR"] for _ in range(2)]

    def delay(self, job: int, keep: bool) -> Any:
        return (work if keep else work_quietly).enqueue(job)

    def delay_hold(self, place: int) -> None:
        hold.enqueue(place)

    def outstanding(self) -> int:
        counts = app.counts()
        return counts.get("queued", 0) + counts.get("running", 0)

    def value(self, handle: Any) -> int:
        # It asks every millisecond; the default begins with 20.
        return handle.wait(PATIENCE, poll_minimum=0.001, poll_maximum=0.001).result()

    def close(self) -> None:
        app.close()


adapter = Tinyjobs
