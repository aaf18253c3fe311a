"""RQ."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from typing import Any

import redis
from rq import Queue

from peers.adapter import PATIENCE, Adapter, redis_socket
from peers.board import Board

board = Board.of_this_run()
connection = redis.Redis(unix_socket_path=redis_socket())
queue = Queue("default", connection=connection)
KEPT = 500
"""Seconds for which RQ keeps results unless told otherwise."""


def work(job: int) -> int:
    board.mark(job)
    return job


def hold(place: int) -> None:
    board.hold(place)


def ttl(keep: bool) -> int:
    # A job whose result lives for 0 seconds is removed at once.
    return KEPT if keep else 0


class Rq(Adapter):
    has_bulk = True
    packages = ("rq", "redis")

    def worker_commands(self) -> list[list[str]]:
        pool = [sys.executable, "-m", "rq.cli", "worker-pool", "default", "-n", "2", "-w", "rq.SimpleWorker"]
        return [[*pool, "-u", f"unix://{redis_socket()}", "-q"]]

    def delay(self, job: int, keep: bool) -> Any:
        return queue.enqueue(work, job, result_ttl=ttl(keep))

    def delay_many(self, jobs: Sequence[int], keep: bool) -> list[Any]:
        with connection.pipeline() as pipeline:
            data = [Queue.prepare_data(work, (job,), result_ttl=ttl(keep)) for job in jobs]
            stored = queue.enqueue_many(data, pipeline=pipeline)
            pipeline.execute()
        return stored

    def delay_hold(self, place: int) -> None:
        queue.enqueue(hold, place, result_ttl=0)

    def outstanding(self) -> int:
        return queue.count + queue.started_job_registry.count

    def value(self, handle: Any) -> int:
        return handle.latest_result(timeout=int(PATIENCE)).return_value

    def close(self) -> None:
        connection.close()


adapter = Rq
