"""liteq, from this checkout: on a file, or on a Redis server."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from typing import Any

from liteq import Queue
from peers.adapter import PATIENCE, Adapter, folder, option, redis_socket
from peers.board import Board

board = Board.of_this_run()
ON_REDIS = option("redis", False)
q = (
    Queue(f"unix://{redis_socket()}", durability="normal")
    if ON_REDIS
    else Queue(folder() / "queue.db", durability=option("durability", "full"))
)
BARE = """
local seq = redis.call("INCR", KEYS[1] .. ":seq")
redis.call("HSET", KEYS[1] .. ":job:" .. ARGV[1], "seq", seq, "task", ARGV[2], "payload", ARGV[3])
redis.call("ZADD", KEYS[1] .. ":ready", 0, seq)
return 1
"""
"""The least that a call has to do which stores a job in Redis: its number, its record, its place."""


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
    has_floor = ON_REDIS
    packages = ("liteq-queue", "redis") if ON_REDIS else ("liteq-queue",)

    def worker_commands(self) -> list[list[str]]:
        return [[sys.executable, "-m", "liteq", "worker", f"{__name__}:q", "-c", "2"]]

    def delay(self, job: int, keep: bool) -> Any:
        return (work if keep else work_quietly).delay(job)

    def delay_many(self, jobs: Sequence[int], keep: bool) -> list[Any]:
        task = work if keep else work_quietly
        return q.enqueue_many(task.s(job) for job in jobs)

    def bare_calls(self, count: int) -> None:
        import redis

        client = redis.Redis(unix_socket_path=redis_socket())
        store = client.register_script(BARE)
        for number in range(count):
            store(keys=["{bare}"], args=[f"{number:032}", work.name, b"\x92\x91\xcd\x10\x00\x80"])
        client.close()

    def delay_hold(self, place: int) -> None:
        hold.delay(place)

    def outstanding(self) -> int:
        return sum(lane.jobs for lane in q.transport.count() if lane.waiting != "finished")

    def value(self, handle: Any) -> int:
        return handle.get(timeout=PATIENCE)

    def close(self) -> None:
        q.close()


adapter = Liteq
