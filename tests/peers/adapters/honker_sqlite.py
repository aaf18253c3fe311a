"""honker, with its batch API, and a worker loop on it."""

from __future__ import annotations

import asyncio
import os
import sys
from collections.abc import Sequence
from typing import Any

import honker

from peers.adapter import PATIENCE, Adapter, folder
from peers.board import Board

board = Board.of_this_run()
BATCH = 32
KEPT = 3600
"""Seconds for which its own task layer keeps results."""
db = honker.open(str(folder() / "honker.db"))
queue = db.queue("default")


class Honker(Adapter):
    in_flight = 2 * BATCH
    has_bulk = True
    packages = ("honker",)

    def worker_commands(self) -> list[list[str]]:
        return [[sys.executable, "-m", __name__] for _ in range(2)]

    def delay(self, job: int, keep: bool) -> Any:
        return queue.enqueue({"action": "work", "number": job, "keep": keep})

    def delay_many(self, jobs: Sequence[int], keep: bool) -> list[Any]:
        with db.transaction() as tx:
            return [queue.enqueue({"action": "work", "number": job, "keep": keep}, tx=tx) for job in jobs]

    def delay_hold(self, place: int) -> None:
        queue.enqueue({"action": "hold", "number": place, "keep": False})

    def outstanding(self) -> int:
        return db.query("SELECT count(*) AS jobs FROM _honker_live")[0]["jobs"]

    def value(self, handle: Any) -> int:
        return asyncio.run(queue.wait_result(handle, timeout=PATIENCE))


def run_batch(jobs: Sequence[Any], worker: str) -> None:
    """Run claimed jobs, store their results in one transaction, and acknowledge them in another."""
    actions = {"work": board.mark, "hold": board.hold}
    kept = []
    for job in jobs:
        actions[job.payload["action"]](job.payload["number"])
        if job.payload["keep"]:
            kept.append(job)
    if kept:
        with db.transaction() as tx:
            for job in kept:
                queue.save_result(job.id, job.payload["number"], ttl=KEPT, tx=tx)
    queue.ack_batch([job.id for job in jobs], worker)


async def work_on() -> None:
    """Run jobs for ever; sleep until the file changes when there are none."""
    worker = f"worker-{os.getpid()}"
    updates = db.update_events()
    while True:
        if jobs := queue.claim_batch(worker, BATCH):
            run_batch(jobs, worker)
            continue
        try:
            await asyncio.wait_for(updates.__anext__(), timeout=5)
        except TimeoutError:
            pass


adapter = Honker

if __name__ == "__main__":
    asyncio.run(work_on())
