"""The hosts of a network reach each other by their links alone, and leave nothing behind."""

from __future__ import annotations

import os
import subprocess
import sys
import textwrap
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from redis_server import NoServerError, find_server

from hosts.network import Host, Network, why_not
from hosts.servers import PORT, serve, slowed

pytestmark = pytest.mark.skipif(bool(why_not()), reason=why_not() or "never")

TESTS = Path(__file__).parents[1]
ASK = """
import socket, sys
try:
    with socket.create_connection((sys.argv[1], int(sys.argv[2])), 0.3) as caller:
        caller.settimeout(float(sys.argv[3]))
        caller.sendall(b"PING\\r\\n")
        print(caller.recv(64).decode().strip())
except OSError as error:
    print(type(error).__name__)
"""


@pytest.fixture
def network() -> Iterator[Network]:
    try:
        find_server()
    except NoServerError as error:
        pytest.skip(str(error))
    with Network("store", "left") as network:
        yield network


def ask(host: Host, address: str, port: int = PORT, patience: float = 2.0) -> str:
    """Ask a server from a host, in one process of its own."""
    command = [*host.within, sys.executable, "-I", "-S", "-c", ASK, address, str(port), str(patience)]
    return subprocess.run(command, capture_output=True, text=True, check=True, timeout=20).stdout.strip()


def test_a_host_reaches_another_one_while_its_cable_is_in(network: Network) -> None:
    store, left = network["store"], network["left"]
    with serve(store):
        assert ask(left, store.address) == "+PONG"
        left.cut()
        assert ask(left, store.address) == "TimeoutError"
        left.heal()
        assert ask(left, store.address, patience=10) == "+PONG"


def test_nobody_else_reaches_a_host(network: Network) -> None:
    with serve(network["store"]):
        command = [sys.executable, "-I", "-S", "-c", ASK, network["store"].address, str(PORT), "0.3"]
        said = subprocess.run(command, capture_output=True, text=True, check=True, timeout=20).stdout
    assert "PONG" not in said


def test_a_slow_link_delivers_everything_later(network: Network) -> None:
    store, left = network["store"], network["left"]
    with serve(store) as server, slowed(store, 0.15) as port:
        assert server.ask("PING") == b"+PONG\r\n"
        assert ask(left, store.address, port) == "+PONG"
        # Each direction takes its time.
        assert ask(left, store.address, port, patience=0.25) == "TimeoutError"


def test_nothing_is_left_of_a_network_whose_own_process_is_killed(tmp_path: Path) -> None:
    script = tmp_path / "network.py"
    script.write_text(
        textwrap.dedent(
            """
            import subprocess, time
            from hosts.network import Network

            with Network("left") as network:
                host = network["left"]
                words = [*host.within, "readlink", "/proc/self/ns/net"]
                print(subprocess.run(words, capture_output=True, text=True).stdout, flush=True)
                time.sleep(60)
            """
        )
    )
    process = subprocess.Popen(
        [sys.executable, script],
        stdout=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONPATH": str(TESTS), "TMPDIR": str(tmp_path)},
    )
    try:
        assert process.stdout is not None
        namespace = process.stdout.readline().strip()
    finally:
        process.kill()
        process.communicate()
    assert namespace.startswith("net:")
    deadline = time.monotonic() + 10
    while namespace in _namespaces():
        assert time.monotonic() < deadline
        time.sleep(0.01)


def _namespaces() -> set[str]:
    """Return the namespaces that any process is in."""
    found = set()
    for entry in Path("/proc").glob("[0-9]*"):
        try:
            found.add(str((entry / "ns" / "net").readlink()))
        except OSError:
            continue
    return found
