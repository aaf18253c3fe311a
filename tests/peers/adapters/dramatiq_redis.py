"""dramatiq with Redis as broker and result store."""

from __future__ import annotations

import sys
from typing import Any

import dramatiq
from dramatiq.brokers.redis import RedisBroker
from dramatiq.results import Results
from dramatiq.results.backends import RedisBackend

from peers.adapter import PATIENCE, Adapter, option, redis_socket
from peers.board import Board

board = Board.of_this_run()
URL = f"unix://{redis_socket()}"
THREADS = option("threads", 8)
results = RedisBackend(url=URL)
broker = RedisBroker(url=URL)
broker.add_middleware(Results(backend=results))
dramatiq.set_broker(broker)


@dramatiq.actor(store_results=True)
def work(job: int) -> int:
    board.mark(job)
    return job


@dramatiq.actor
def work_quietly(job: int) -> None:
    board.mark(job)


@dramatiq.actor
def hold(place: int) -> None:
    board.hold(place)


class DramatiqRedis(Adapter):
    slots = 2 * THREADS
    # Each process fetches two messages ahead for each of its threads.
    in_flight = 3 * slots
    packages = ("dramatiq", "redis")

    def worker_commands(self) -> list[list[str]]:
        return [[sys.executable, "-m", "dramatiq", __name__, "--processes", "2", "--threads", str(THREADS)]]

    def delay(self, job: int, keep: bool) -> Any:
        return (work if keep else work_quietly).send(job)

    def delay_hold(self, place: int) -> None:
        hold.send(place)

    def outstanding(self) -> int:
        return broker.do_qsize(work.queue_name)

    def value(self, handle: Any) -> int:
        return handle.get_result(backend=results, block=True, timeout=int(PATIENCE * 1000))

    def close(self) -> None:
        broker.close()


adapter = DramatiqRedis
