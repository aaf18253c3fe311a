"""A Redis server with a replica, and Sentinels that put the replica in its place when it is gone."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager

from redis_server import WITH_ITS_PARENT, RedisServer, find_server

from hosts.network import Host
from hosts.servers import AOF, PORT, serve

__all__ = ["NAME", "SENTINEL_PORT", "Pair", "pair"]

NAME = "store"
"""What the Sentinels call the server."""
SENTINEL_PORT = 26379
GONE_AFTER = 500
"""Milliseconds of silence after which a Sentinel takes the server for gone."""
PATIENCE = 20.0


class Pair:
    """A server, its replica, and who is which."""

    def __init__(self, first: RedisServer, second: RedisServer) -> None:
        self.first = first
        self.second = second

    def wait_until_replicated(self) -> None:
        """Wait until the replica has all that the server has, and follows it."""
        _until(lambda: b"master_link_status:up" in self.second.ask("INFO", "replication"), "no replication")

    def wait_until_promoted(self) -> float:
        """Wait until the replica is the one that takes writes; return when that was seen."""
        _until(self._was_promoted, "nothing was promoted")
        return time.monotonic()

    def wait_until_demoted(self) -> float:
        """Wait until the first server is the other one's replica; return when that was seen."""
        _until(lambda: b"role:slave" in self.first.ask("INFO", "replication"), "nothing was demoted")
        return time.monotonic()

    def _was_promoted(self) -> bool:
        try:
            return b"role:master" in self.second.ask("INFO", "replication")
        except ConnectionError:
            # The Sentinels end all connections of one that they promote.
            return False


def _until(holds: Callable[[], object], otherwise: str) -> None:
    deadline = time.monotonic() + PATIENCE
    while not holds():
        if time.monotonic() > deadline:
            raise RuntimeError(f"{otherwise} within {PATIENCE:g} s")
        time.sleep(0.01)


@contextmanager
def pair(first: Host, second: Host, watchers: Sequence[Host], *options: str) -> Iterator[Pair]:
    """Run a server and a replica with `appendfsync always`, and a Sentinel on each of the watchers.

    Args:
        first: where the server is.
        second: where its replica is.
        watchers: where the Sentinels are.
        options: more for the command line of the server.
    """
    with ExitStack() as stack:
        server = stack.enter_context(serve(first, *AOF["always"], *options))
        replica = stack.enter_context(
            serve(
                second,
                *AOF["always"],
                "--replicaof",
                first.address,
                str(PORT),
                "--repl-diskless-sync-delay",
                "0",
            )
        )
        both = Pair(server, replica)
        both.wait_until_replicated()
        for host in watchers:
            stack.enter_context(_watching(host, first, len(watchers) // 2 + 1))
        yield both


@contextmanager
def _watching(host: Host, watched: Host, quorum: int) -> Iterator[None]:
    settings = host.folder / "sentinel.conf"
    settings.write_text(
        f"port {SENTINEL_PORT}\n"
        f"bind {host.address}\n"
        f"protected-mode no\n"
        f"dir {host.folder}\n"
        f"sentinel monitor {NAME} {watched.address} {PORT} {quorum}\n"
        f"sentinel down-after-milliseconds {NAME} {GONE_AFTER}\n"
        f"sentinel failover-timeout {NAME} 10000\n"
    )
    command = [sys.executable, "-I", "-S", "-c", WITH_ITS_PARENT, str(os.getpid())]
    command += [host.program(find_server()), str(settings), "--sentinel"]
    with (host.folder / "sentinel.log").open("ab") as log:
        process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=log, stderr=log)
    try:
        yield
    finally:
        process.kill()
        process.wait()
