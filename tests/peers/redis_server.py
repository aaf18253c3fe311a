"""The server of the peers that need Redis: as durable as asked, for the length of a block."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from redis_server import RedisServer

__all__ = ["redis_running"]

SETTINGS = {
    "default": [],
    "everysec": ["--appendonly", "yes", "--appendfsync", "everysec"],
    "always": ["--appendonly", "yes", "--appendfsync", "always"],
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
    options = SETTINGS[durability]
    with RedisServer(*options, snapshots=True, binary=binary, folder=store, log=log) as server:
        yield server.socket, server.pid
