"""A Redis server of one's own: on a socket in a temporary folder, with no port, for the length of a block."""

from __future__ import annotations

import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from peers.processes import stop

__all__ = ["redis_running"]

PATIENCE = 10.0
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
    # In a folder of its own: the path of a socket may have 107 bytes, and the store's folder any length.
    with tempfile.TemporaryDirectory(prefix="peers-redis-") as place:
        path = Path(place, "redis.sock")
        command = [binary, "--port", "0", "--unixsocket", str(path), "--unixsocketperm", "700"]
        command += ["--dir", str(store), "--daemonize", "no", *SETTINGS[durability]]
        with (store.parent / "redis.log").open("ab") as log:
            server = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=log, stderr=log)
        try:
            wait_for(path, server)
            yield path, server.pid
        finally:
            stop([server])


def wait_for(path: Path, server: subprocess.Popen[bytes]) -> None:
    """Wait until the server answers.

    Raises:
        RuntimeError: it does not.
    """
    give_up = time.monotonic() + PATIENCE
    while server.poll() is None and time.monotonic() < give_up:
        try:
            with socket.socket(socket.AF_UNIX) as caller:
                caller.settimeout(1)
                caller.connect(str(path))
                caller.sendall(b"PING\r\n")
                if caller.recv(16).startswith(b"+PONG"):
                    return
        except OSError:
            time.sleep(0.01)
    raise RuntimeError("The Redis server did not start.")
