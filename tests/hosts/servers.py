"""Redis servers and slow links on the hosts of a network."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from redis_server import RedisServer, find_server

from hosts.network import Host

__all__ = ["AOF", "PORT", "Tape", "serve", "slowed"]

PORT = 6379
SLOW_PORT = 6380
AOF = {
    "always": ("--appendonly", "yes", "--appendfsync", "always"),
    "everysec": ("--appendonly", "yes", "--appendfsync", "everysec"),
    "off": (),
}
"""What a server writes down, by the name of the setting."""


def serve(host: Host, *options: str) -> RedisServer:
    """Run a server on a host: at its address for the others, and on a socket for those who look on."""
    folder = host.folder / "data"
    folder.mkdir(exist_ok=True)
    return RedisServer(
        *("--port", str(PORT), "--bind", host.address, "--protected-mode", "no"),
        *options,
        binary=host.program(find_server()),
        folder=folder,
    )


class Tape:
    """Takes down how long a server's append-only file was at what time, to play a power cut with it.

    Args:
        server: the server; it has begun to write.
    """

    def __init__(self, server: RedisServer) -> None:
        self._server = server
        self._lengths: list[tuple[float, Path, int]] = []
        self._is_over = threading.Event()
        self._thread = threading.Thread(target=self._run)
        self._thread.start()

    def _run(self) -> None:
        folder = self._server.folder
        while not self._is_over.wait(0.005):
            # In one file up to Redis 6, and in several from 7 on.
            path = max([*folder.glob("appendonlydir/*.incr.aof")], default=folder / "appendonly.aof")
            self._lengths.append((time.monotonic(), path, path.stat().st_size))

    def cut_power(self, unsynced: float) -> int:
        """Kill the server, and take from its file what it wrote in the last seconds; return the bytes.

        That is what a power cut leaves where the last fsync was so long ago, at the worst.
        """
        now = time.monotonic()
        self._server.kill()
        self.close()
        _, path, length = max(entry for entry in self._lengths if entry[0] <= now - unsynced)
        lost = path.stat().st_size - length
        os.truncate(path, length)
        return lost

    def close(self) -> None:
        """Stop; idempotent."""
        self._is_over.set()
        self._thread.join()


@contextmanager
def slowed(host: Host, seconds: float) -> Iterator[int]:
    """Serve what a host's server says at another port of it, which is so far away; lend the port."""
    command = [
        *host.within,
        *(sys.executable, str(Path(__file__).with_name("relay.py"))),
        *(str(SLOW_PORT), f"{host.address}:{PORT}", str(seconds)),
    ]
    process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    try:
        assert process.stdout is not None
        if process.stdout.readline() != b"ready\n":
            raise RuntimeError("The slow link did not start.")
        yield SLOW_PORT
    finally:
        process.kill()
        process.communicate()
