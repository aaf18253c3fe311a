"""A real cluster of two nodes, while the keys of a queue go from one to the other."""

from __future__ import annotations

import contextlib
import socket
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import redis
from redis_server import RedisServer

from liteq.job import ClaimRequest, NewJob, Transition, WorkerInfo
from liteq.states import SUCCESS
from liteq.transports.redis.transport import RedisTransport

Start = Callable[..., RedisServer]

PATIENCE = 10.0
KEY = "{liteq}:liteq"
WORK = ClaimRequest({"f": 1}, limit=1)


def _free_port() -> int:
    """Return a free port, of which the one 10,000 above is one too: that of the bus between the nodes."""
    with contextlib.ExitStack() as held:
        while True:
            found = held.enter_context(socket.create_server(("127.0.0.1", 0))).getsockname()[1]
            if found <= 55535:
                return int(found)


class Node:
    """A node, and where it listens."""

    def __init__(self, start: Start) -> None:
        self.port = _free_port()
        self.server = start(
            *("--port", str(self.port), "--bind", "127.0.0.1", "--cluster-enabled", "yes"),
            *("--cluster-require-full-coverage", "no"),
        )
        self.name = self.say("CLUSTER", "MYID").split()[1]

    def say(self, *words: str) -> str:
        return self.server.ask(*words).decode()

    def wait_for(self, what: str, *words: str) -> None:
        give_up = time.monotonic() + PATIENCE
        while what not in self.say(*words):
            assert time.monotonic() < give_up, f"{words} did not say {what}"
            time.sleep(0.01)


class Cluster:
    """Two nodes, of which the first has the slot of the queue."""

    def __init__(self, start: Start) -> None:
        self.nodes = Node(start), Node(start)
        self.slot = self.nodes[0].say("CLUSTER", "KEYSLOT", KEY).strip().removeprefix(":")
        self.nodes[0].say("CLUSTER", "ADDSLOTS", self.slot)
        self.nodes[0].say("CLUSTER", "MEET", "127.0.0.1", str(self.nodes[1].port))
        for node, other in (self.nodes, self.nodes[::-1]):
            node.wait_for(f"{other.name} 127.0.0.1:{other.port}", "CLUSTER", "NODES")
            node.wait_for("cluster_state:ok", "CLUSTER", "INFO")
        self.url = "redis+cluster://" + ",".join(f"127.0.0.1:{node.port}" for node in self.nodes)

    def begin_to_move(self) -> None:
        source, target = self.nodes
        assert target.say("CLUSTER", "SETSLOT", self.slot, "IMPORTING", source.name) == "+OK\r\n"
        assert source.say("CLUSTER", "SETSLOT", self.slot, "MIGRATING", target.name) == "+OK\r\n"

    def move(self, *keys: bytes) -> None:
        with redis.Redis(unix_socket_path=str(self.nodes[0].server.socket)) as source:
            source.migrate("127.0.0.1", self.nodes[1].port, keys, 0, 5000)

    def move_all(self) -> None:
        with redis.Redis(unix_socket_path=str(self.nodes[0].server.socket)) as source:
            while keys := source.keys():
                self.move(*keys)

    def end_to_move(self) -> None:
        for node in self.nodes[::-1]:
            node.say("CLUSTER", "SETSLOT", self.slot, "NODE", self.nodes[1].name)


def test_a_queue_whose_keys_are_on_their_way_rests_until_all_have_come(start_redis: Start) -> None:
    """No half of a script runs on the one node, and none on the other while it has a part of the keys."""
    cluster = Cluster(start_redis)
    one_node = f"redis://127.0.0.1:{cluster.nodes[1].port}"
    with (
        RedisTransport(cluster.url, durability="normal") as worker,
        RedisTransport(one_node, durability="normal") as producer,
    ):
        holder = worker.register(WorkerInfo("w", "host", 1, 1), 60.0, 0.0)
        producer.enqueue([NewJob("before", "f", b"\x90")], 0.0)
        (claim,) = worker.turn(holder, 0.0, request=WORK).claimed
        done = [Transition(claim.seq, claim.token, SUCCESS, 1.0)]

        cluster.begin_to_move()
        cluster.move(b"{liteq}:jobs", b"{liteq}:seq")
        with ThreadPoolExecutor(2) as threads:
            stored = threads.submit(producer.enqueue, [NewJob("new", "f", b"\x90")], 1.0)
            settled = threads.submit(worker.turn, holder, 1.0, done)
            cluster.move_all()
            cluster.end_to_move()

        assert stored.result() == [True]
        assert settled.result().refused == []
        assert [job and str(job.state) for job in worker.get(["before", "new"])] == ["SUCCESS", "PENDING"]
        assert [one.id for one in worker.turn(holder, 1.0, request=WORK).claimed] == ["new"]
