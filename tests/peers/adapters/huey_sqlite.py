"""huey on SQLite."""

from __future__ import annotations

import sys
from typing import Any

from huey import SqliteHuey

from peers.adapter import PATIENCE, Adapter, folder, option
from peers.board import Board

board = Board.of_this_run()
huey = SqliteHuey("peers", filename=str(folder() / "huey.db"), **option("storage", {}))


@huey.task()
def work(job: int) -> int:
    board.mark(job)
    return job


@huey.task()
def work_quietly(job: int) -> None:
    # huey stores no result of a task that returns None.
    board.mark(job)


@huey.task()
def hold(place: int) -> None:
    board.hold(place)


class HueySqlite(Adapter):
    packages = ("huey",)

    def worker_commands(self) -> list[list[str]]:
        consumer = [sys.executable, "-m", "huey.bin.huey_consumer", f"{__name__}.huey"]
        return [[*consumer, "-k", "process", "-w", "2", "-d", "0.001", "-n", "-q"]]

    def delay(self, job: int, keep: bool) -> Any:
        return (work if keep else work_quietly)(job)

    def delay_hold(self, place: int) -> None:
        hold(place)

    def outstanding(self) -> int:
        return huey.pending_count()

    def value(self, handle: Any) -> int:
        # It asks every millisecond; the default begins with 50.
        return handle.get(blocking=True, timeout=PATIENCE, max_delay=0.001, preserve=True)


adapter = HueySqlite
