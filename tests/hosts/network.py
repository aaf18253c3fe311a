"""Hosts that are network namespaces on one machine, joined by a switch; Linux only, and root's.

No namespace has a name: each lasts as long as a process in it, and each of those ends with the process that
has made it, however that ends. So nothing is left behind.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from functools import cache
from pathlib import Path
from types import TracebackType
from typing import Self

__all__ = ["Host", "Network", "NetworkError", "why_not"]

SUBNET = "10.203.0"
TOOLS = ("ip", "nsenter", "unshare")
PATIENCE = 10.0


class NetworkError(Exception):
    """A namespace, a link or an address could not be made."""


@cache
def why_not() -> str:
    """Say why there can be no hosts on this machine; "" if there can."""
    if sys.platform != "linux":
        return "network namespaces are Linux's"
    missing = [tool for tool in TOOLS if shutil.which(tool) is None]
    if missing:
        return f"network namespaces need the programs {', '.join(missing)} (iproute2, util-linux)"
    if os.geteuid() != 0:
        return "network namespaces need root"
    try:
        with Network("probe"):
            return ""
    except NetworkError as error:
        return f"network namespaces are not allowed here: {error}"


class Network:
    """A switch, and hosts with a link to it; a context manager.

    Args:
        names: the hosts.
    """

    def __init__(self, *names: str) -> None:
        self._folder = tempfile.TemporaryDirectory(prefix="lq-hosts-", ignore_cleanup_errors=True)
        self._keepers: list[subprocess.Popen[bytes]] = []
        self.hosts: dict[str, Host] = {}
        try:
            switch = self._keep()
            self._in(switch, "link add switch type bridge forward_delay 0", "link set switch up")
            for number, name in enumerate(names, 1):
                self.hosts[name] = self._add(switch, number, name)
        except BaseException:
            self.close()
            raise

    def __getitem__(self, name: str) -> Host:
        return self.hosts[name]

    def _add(self, switch: int, number: int, name: str) -> Host:
        keeper = self._keep()
        port = f"port{number}"
        self._in(
            switch,
            f"link add {port} type veth peer name eth0 netns {keeper}",
            f"link set {port} master switch up",
        )
        address = f"{SUBNET}.{number}"
        self._in(keeper, "link set lo up", f"addr add {address}/24 dev eth0", "link set eth0 up")
        folder = Path(self._folder.name, name)
        folder.mkdir(mode=0o700)
        return Host(name, address, keeper, folder, switch, port)

    def _keep(self) -> int:
        """Start a process in a namespace of its own, which ends when this one does; return its id."""
        process = subprocess.Popen(
            ["unshare", "--net", "sh", "-c", "echo; exec cat"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
        )
        self._keepers.append(process)
        assert process.stdout is not None
        assert process.stderr is not None
        if process.stdout.readline() != b"\n":
            raise NetworkError(process.stderr.read().decode(errors="replace").strip())
        return process.pid

    def _in(self, keeper: int, *commands: str) -> None:
        configure(keeper, *commands)

    def close(self) -> None:
        """End the namespaces, and with them every link; idempotent.

        Processes that still run in one keep it until they end.
        """
        for process in self._keepers:
            for pipe in (process.stdin, process.stdout, process.stderr):
                assert pipe is not None
                pipe.close()
            try:
                process.wait(PATIENCE)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
        self._keepers.clear()
        self._folder.cleanup()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()


class Host:
    """One of the hosts of a network.

    Attributes:
        address: its address on the network.
        folder: a folder for temporary files and sockets of its own.
    """

    def __init__(self, name: str, address: str, keeper: int, folder: Path, switch: int, port: str) -> None:
        self.name = name
        self.address = address
        self.folder = folder
        self._keeper = keeper
        self._switch = switch
        self._port = port

    @property
    def within(self) -> Sequence[str]:
        """What runs the command that follows it on this host."""
        return ("nsenter", "--target", str(self._keeper), "--net")

    @property
    def environment(self) -> dict[str, str]:
        """What keeps the processes of this host from the files of the others."""
        return {"TMPDIR": str(self.folder), "XDG_RUNTIME_DIR": str(self.folder)}

    def program(self, binary: str) -> str:
        """Make a program that runs another one on this host, and return its path."""
        path = self.folder / Path(binary).name
        path.write_text(f'#!/bin/sh\nexec {" ".join(self.within)} {binary} "$@"\n')
        path.chmod(0o700)
        return str(path)

    def cut(self) -> None:
        """Pull its cable out of the switch: what is sent from now on is lost without a word."""
        # Its own end stays up. Bringing that down would tell the host, and coming up takes up to a second.
        configure(self._switch, f"link set {self._port} nomaster")

    def heal(self) -> None:
        """Put the cable back."""
        configure(self._switch, f"link set {self._port} master switch")


def configure(keeper: int, *commands: str) -> None:
    """Run commands of `ip` in a namespace.

    Raises:
        NetworkError: one of them does not work.
    """
    done = subprocess.run(
        ["nsenter", "--target", str(keeper), "--net", "ip", "-batch", "-"],
        input="\n".join(commands),
        capture_output=True,
        text=True,
        check=False,
        timeout=PATIENCE,
    )
    if done.returncode:
        raise NetworkError(f"{'; '.join(commands)}: {done.stderr.strip()}")
