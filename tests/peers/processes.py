"""Processes: starting workers, what they use, and that none is left behind."""

from __future__ import annotations

import contextlib
import ctypes
import os
import signal
import subprocess
import sys
import time
from collections.abc import Collection, Iterator, Sequence
from pathlib import Path

__all__ = [
    "adopt_orphans",
    "cpu_seconds",
    "descendants",
    "end_in_order",
    "end_with_parent",
    "kill_descendants",
    "private_mib",
    "running",
    "stop",
]

PARENT_DEATH_SIGNAL = 1
CHILD_SUBREAPER = 36
GRACE = 5.0
"""Seconds that a process has to stop by itself."""
LINUX = sys.platform == "linux"


def end_in_order() -> None:
    """Have Ctrl-C and SIGTERM end this process in the ordinary way, once, so that nothing is left behind."""

    def end(number: int, _: object) -> None:
        # Another one must not cut short what is put in order now.
        for each in (signal.SIGINT, signal.SIGTERM):
            signal.signal(each, signal.SIG_IGN)
        raise SystemExit(f"interrupted by {signal.Signals(number).name}")

    for each in (signal.SIGINT, signal.SIGTERM):
        signal.signal(each, end)


def adopt_orphans() -> None:
    """Become the parent of every process below this one whose own parent ends, so that it can be found."""
    if LINUX:
        ctypes.CDLL(None).prctl(CHILD_SUBREAPER, 1, 0, 0, 0)


def end_with_parent(parent: int) -> None:
    """Have this process asked to end when its parent does, however that may happen."""
    if LINUX:
        ctypes.CDLL(None).prctl(PARENT_DEATH_SIGNAL, signal.SIGTERM, 0, 0, 0)
        if os.getppid() != parent:
            raise SystemExit("The process that started this one has gone.")


def descendants(root: int) -> list[int]:
    """Return the processes below this one; none where the system has no /proc."""
    children: dict[int, list[int]] = {}
    for entry in Path("/proc").glob("[0-9]*/stat") if LINUX else ():
        with contextlib.suppress(OSError):
            # The name in parentheses may hold anything; the parent is the second field behind it.
            parent = int(entry.read_text().rpartition(")")[2].split()[1])
            children.setdefault(parent, []).append(int(entry.parent.name))
    found: list[int] = []
    ahead = [root]
    while ahead:
        below = children.get(ahead.pop(), [])
        found += below
        ahead += below
    return found


def kill_descendants(but: Collection[int] = ()) -> None:
    """Kill what is left below this process."""
    spared = {*but, *(below for pid in but for below in descendants(pid))}
    for pid in descendants(os.getpid()):
        if pid not in spared:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
            # Only those that were adopted are children; the others are reaped by whoever is their parent.
            with contextlib.suppress(ChildProcessError):
                os.waitpid(pid, 0)


def stop(processes: Sequence[subprocess.Popen[bytes]], grace: float = GRACE) -> None:
    """Ask processes to stop, and kill those that have not after some seconds."""
    for process in processes:
        if process.poll() is None:
            process.terminate()
    deadline = time.monotonic() + grace
    for process in processes:
        try:
            process.wait(max(0.0, deadline - time.monotonic()))
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


@contextlib.contextmanager
def running(
    commands: Sequence[Sequence[str]], log: Path, but: Collection[int] = ()
) -> Iterator[list[subprocess.Popen[bytes]]]:
    """Have commands running for the length of the block; at its end nothing that they started is left.

    Args:
        commands: what to start.
        log: where their output goes.
        but: processes that are none of them.
    """
    processes: list[subprocess.Popen[bytes]] = []
    with log.open("ab") as output:
        try:
            for command in commands:
                processes.append(
                    subprocess.Popen(
                        command, stdin=subprocess.DEVNULL, stdout=output, stderr=subprocess.STDOUT
                    )
                )
            yield processes
        finally:
            stop(processes)
            kill_descendants(but)


def cpu_seconds(pids: Sequence[int]) -> float | None:
    """Return the CPU seconds that processes have used; None where the system does not tell exactly."""
    if not LINUX:
        return None
    nanoseconds = 0
    for pid in pids:
        for statistics in Path(f"/proc/{pid}/task").glob("*/schedstat"):
            # `stat` counts in steps of 10 ms, which is more than some use in a minute.
            with contextlib.suppress(OSError):
                nanoseconds += int(statistics.read_text().split()[0])
    return nanoseconds / 1e9


def private_mib(pids: Sequence[int]) -> float | None:
    """Return the memory that processes share with nobody, in MiB; None where the system does not tell."""
    if not LINUX:
        return None
    kib = 0
    for pid in pids:
        with contextlib.suppress(OSError):
            for line in Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines():
                if line.startswith(("Private_Clean:", "Private_Dirty:")):
                    kib += int(line.split()[1])
    return kib / 1024
