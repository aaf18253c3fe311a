"""Celery with Redis as broker and result store."""

from __future__ import annotations

import sys
from typing import Any

import redis
from celery import Celery

from peers.adapter import PATIENCE, Adapter, redis_socket
from peers.board import Board

board = Board.of_this_run()
PREFETCH = 64
"""Jobs fetched ahead for each process: what its guide suggests to try for many short tasks."""
URL = f"redis+socket://{redis_socket()}"
app = Celery("peers", broker=URL, backend=URL)
app.conf.update(
    worker_prefetch_multiplier=PREFETCH,
    worker_enable_remote_control=False,
    worker_disable_rate_limits=True,
    broker_connection_retry_on_startup=True,
)


@app.task
def work(job: int) -> int:
    board.mark(job)
    return job


@app.task(ignore_result=True)
def work_quietly(job: int) -> None:
    board.mark(job)


@app.task(ignore_result=True)
def hold(place: int) -> None:
    board.hold(place)


class CeleryRedis(Adapter):
    in_flight = 2 * PREFETCH + 2
    packages = ("celery", "kombu", "redis")

    def __init__(self) -> None:
        self._redis = redis.Redis(unix_socket_path=redis_socket())

    def worker_commands(self) -> list[list[str]]:
        worker = [
            sys.executable,
            "-m",
            "celery",
            "-A",
            f"{__name__}:app",
            "worker",
            "-P",
            "prefork",
            "-c",
            "2",
        ]
        return [[*worker, "--without-gossip", "--without-mingle", "--without-heartbeat", "-l", "ERROR"]]

    def delay(self, job: int, keep: bool) -> Any:
        return (work if keep else work_quietly).delay(job)

    def delay_hold(self, place: int) -> None:
        hold.delay(place)

    def outstanding(self) -> int:
        return self._redis.llen("celery") + self._redis.hlen("unacked")

    def value(self, handle: Any) -> int:
        # One by one: where a result is still to come, `join_native` of many takes half a second longer.
        return handle.get(timeout=PATIENCE)

    def close(self) -> None:
        app.close()
        self._redis.close()


adapter = CeleryRedis
