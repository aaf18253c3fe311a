"""The server of the peers that need Redis: as durable as asked, for the length of a block."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from redis_server import RedisServer

__all__ = ["redis_running"]

SNAPSHOTS = ["--save", "3600 1 300 100 60 10000"]
"""What a server keeps that is started with no settings."""
SETTINGS = {
    "default": SNAPSHOTS,
    "everysec": [*SNAPSHOTS, "--appendonly", "yes", "--appendfsync", "everysec"],
    "always": [*SNAPSHOTS, "--appendonly", "yes", "--appendfsync", "always"],
}


@contextmanager
def redis_running(binary: str, store: Path, durability: str) -> Iterator[tuple[Path, int]]:
    """Run a server, and lend its socket and its process id.

    Args:
        binary: the server's program.
        store: the folder for its files.
        durability: a key of `SETTINGS`.
    """
    log = store.parent / "redis.log"
    with RedisServer(*SETTINGS[durability], binary=binary, folder=store, log=log) as server:
        yield server.socket, server.pid
