"""Redis servers and slow links on the hosts of a network."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from redis_server import RedisServer, find_server

from hosts.network import Host

__all__ = ["AOF", "PORT", "serve", "slowed"]

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
