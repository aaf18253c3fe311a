"""The processes of a storm as the one who kills them sees them; Linux only, because it needs pidfds.

A process id may be another process's by the time a signal is sent. A pidfd is not: it is opened first, then
the process is looked at, and the signal goes to that one or to none.
"""

from __future__ import annotations

import contextlib
import json
import os
import select
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import count
from pathlib import Path
from types import TracebackType
from typing import NamedTuple, Self

from chaos.history import Recorder, Sent
from chaos.stores import ProofStore

__all__ = ["PATIENCE", "Crew", "CrewError", "Member", "Target"]

TESTS = Path(__file__).parents[1]
PATIENCE = 20.0
"""Seconds in which whatever is asked of the crew happens, on a machine that has other things to do."""


class CrewError(Exception):
    """A process of the storm could not start, ended by itself, or would not end."""


class Target(NamedTuple):
    """A process that signals are sent to."""

    pid: int
    parent: int
    role: str


@dataclass(slots=True)
class Member:
    """A process that the zygote has started."""

    role: str
    target: Target
    started: float = field(default_factory=time.monotonic)
    condemned: bool = False
    """It was killed or asked to stop."""
    bereaved: bool = False
    """A worker of its own was killed before it was ready; where that happens again and again, it gives up."""
    status: int | None = None
    """How it ended, negative for a signal; None while it runs."""


class Crew:
    """Starts processes, sends them signals, and leaves none behind; a context manager.

    Args:
        folder: where the histories are.
        store: the queue that all of them use.
        environment: what `chaos.shop` is to know beside it.
        within: a command that runs another one somewhere, with its arguments; default here.
    """

    def __init__(
        self,
        folder: Path,
        store: ProofStore,
        environment: Mapping[str, str],
        within: Sequence[str] = (),
    ) -> None:
        if sys.platform != "linux":
            raise CrewError("a storm needs pidfds, which only Linux has")
        self.folder = folder
        self.store = store
        self.recorder = Recorder(folder, "killer")
        self.members: list[Member] = []
        self._numbers = count(1)
        self._asked: dict[int, str] = {}
        self._born: dict[int, Member] = {}
        self._pending = b""
        self._stopped: dict[Target, float] = {}
        with (folder / "log").open("ab") as log:
            self._zygote = subprocess.Popen(
                [*within, sys.executable, "-m", "chaos.zygote"],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=log,
                env={
                    **os.environ,
                    "CHAOS_FOLDER": str(folder),
                    "CHAOS_URL": store.url,
                    "CHAOS_JOINS": "yes" if store.joins else "",
                    "PYTHONPATH": str(TESTS),
                    **environment,
                },
                start_new_session=True,
            )

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.end()

    # ---- starting --------------------------------------------------------------------------------

    def start(self, role: str, argument: object = 0) -> Member:
        """Start a process of this role; what the argument means is the role's business."""
        number = next(self._numbers)
        self._asked[number] = role
        assert self._zygote.stdin is not None
        self._zygote.stdin.write(json.dumps([number, role, argument]).encode() + b"\n")
        self._zygote.stdin.flush()
        self.wait_until(lambda: number in self._born, f"no {role} could be started")
        return self._born.pop(number)

    def wait_until(self, holds: Callable[[], object], otherwise: str, seconds: float = PATIENCE) -> None:
        """Listen until something holds.

        Raises:
            CrewError: it did not within so many seconds, or a process ended that nobody had told to.
        """
        deadline = time.monotonic() + seconds
        while not holds():
            self.listen(0.02)
            self.resume_due()
            if time.monotonic() > deadline or self._zygote.poll() is not None:
                raise CrewError(f"{otherwise}: {self.log()}")

    def listen(self, seconds: float = 0.0) -> None:
        """Hear what the zygote says, waiting for at most so many seconds until it says something.

        Raises:
            CrewError: a process ended that nobody had told to.
        """
        assert self._zygote.stdout is not None
        output = self._zygote.stdout.fileno()
        ready, _, _ = select.select([output], [], [], max(0.0, seconds))
        if not ready:
            return
        *lines, self._pending = (self._pending + os.read(output, 65536)).split(b"\n")
        for line in lines:
            what, first, second = json.loads(line)
            if what == "born":
                role = self._asked.pop(first)
                member = self._born[first] = Member(role, Target(second, self._zygote.pid, role))
                self.members.append(member)
            else:
                self._bury(first, second)

    def _bury(self, pid: int, status: int) -> None:
        for member in self.members:
            if member.target.pid == pid:
                member.status = status
                self.members.remove(member)
                # Whoever killed it has to answer to the checker; a task may kill its own worker.
                expected = member.condemned or member.bereaved
                if status not in (0, -signal.SIGKILL) and not expected:
                    raise CrewError(f"a {member.role} ended by itself with status {status}: {self.log()}")
                return

    def workers(self, member: Member) -> list[Target]:
        """Return the worker processes of a supervisor."""
        parent = member.target.pid
        found = [
            int(entry.name) for entry in Path("/proc").glob("[0-9]*") if _parent(int(entry.name)) == parent
        ]
        return [Target(pid, parent, "worker") for pid in found]

    def has_recorded(self, worker: Target) -> bool:
        """Tell whether a worker is ready: it writes its history once it has registered."""
        return any(self.folder.glob(f"worker-{worker.pid}-*"))

    def written(self) -> int:
        """Return how many bytes of history the workers have written in all."""
        return sum(path.stat().st_size for path in self.folder.glob("*worker-*"))

    def is_busy(self, target: Target) -> bool:
        """Tell whether a process is in the middle of a job or a call, as far as its history goes."""
        for path in self.folder.glob(f"*-{target.pid}-*"):
            last = path.read_bytes().rpartition(b"\n")[0].rpartition(b"\n")[2]
            return last.startswith((b'["Began"', b'["Effect"', b'["Called"'))
        return False

    # ---- signals ---------------------------------------------------------------------------------

    def kill(self, target: Target) -> bool:
        """Kill a process, and write it down; False if it is gone already."""
        for member in self.members:
            if member.target == target:
                member.condemned = True
            elif member.target.pid == target.parent and not self.has_recorded(target):
                member.bereaved = True
        return self._send(target, signal.SIGKILL, "KILL")

    def stop(self, target: Target, seconds: float) -> bool:
        """Suspend a process for so many seconds; False if it is gone or suspended already."""
        if target in self._stopped or not self._send(target, signal.SIGSTOP, "STOP"):
            return False
        self._stopped[target] = time.monotonic() + seconds
        return True

    def has_stopped(self, member: Member) -> bool:
        """Tell whether a member, or a worker of it, is suspended now."""
        return any(member.target.pid in (target.pid, target.parent) for target in self._stopped)

    @property
    def stopped(self) -> int:
        """How many processes are suspended now."""
        return len(self._stopped)

    def resume_due(self, everybody: bool = False) -> None:
        """Resume those whose time has come."""
        now = time.monotonic()
        for target, until in list(self._stopped.items()):
            if everybody or until <= now:
                del self._stopped[target]
                self._send(target, signal.SIGCONT, "CONT")

    def dismiss(self, member: Member, seconds: float = PATIENCE) -> None:
        """Ask a member to stop, and wait until it has, for at most so many seconds."""
        member.condemned = True
        self._send(member.target, signal.SIGTERM, "TERM")
        self.wait_until(
            lambda: member.status is not None, f"a {member.role} does not stop when asked to", seconds
        )
        # One that was so young that it had no handler yet ends by the signal; it had no workers either.
        # One that was killed has its killer to answer for it, to the checker; a task may kill its own worker.
        if member.status not in (0, -signal.SIGTERM, -signal.SIGKILL):
            raise CrewError(f"a {member.role} was asked to stop, and ended with status {member.status}")

    def _send(self, target: Target, number: signal.Signals, name: str) -> bool:
        try:
            fd = os.pidfd_open(target.pid)
        except ProcessLookupError:
            return False
        try:
            if _parent(target.pid) != target.parent:
                return False
            at, mono = time.time(), time.monotonic()
            signal.pidfd_send_signal(fd, number)
        except ProcessLookupError:
            return False
        finally:
            os.close(fd)
        self.recorder.write(Sent(at=at, mono=mono, pid=target.pid, signal=name, role=target.role))
        return True

    # ---- the end ---------------------------------------------------------------------------------

    def end(self) -> None:
        """Kill whatever still runs; idempotent.

        Raises:
            CrewError: something would not die.
        """
        zygote = self._zygote
        for pipe in (zygote.stdin, zygote.stdout):
            if pipe is not None:
                pipe.close()
        with contextlib.suppress(subprocess.TimeoutExpired):
            zygote.wait(PATIENCE)
        with contextlib.suppress(ProcessLookupError):
            os.killpg(zygote.pid, signal.SIGKILL)
        zygote.wait(PATIENCE)
        deadline = time.monotonic() + PATIENCE
        while left := _group(zygote.pid):
            if time.monotonic() > deadline:
                raise CrewError(f"these processes of the storm still run: {left}")
            time.sleep(0.01)

    def spent(self) -> float:
        """Return how many seconds of processor time its processes have taken, and those that have ended."""
        zygote = self._zygote.pid
        ticks = sum(int(spent) for pid in _group(zygote) for spent in _stat(pid)[11:13])
        ticks += sum(int(spent) for spent in _stat(zygote)[13:15])
        return ticks / os.sysconf("SC_CLK_TCK")

    def log(self) -> str:
        """Return the last of what the processes have said on standard error."""
        return (self.folder / "log").read_text(errors="replace")[-2000:]


def _stat(pid: int) -> list[str]:
    """Return what the system says of a process: its state, parent, group and more; empty if it is gone."""
    try:
        text = Path(f"/proc/{pid}/stat").read_text(errors="replace")
    except OSError:
        return []
    fields = text.rpartition(")")[2].split()
    return [] if fields[0] in "ZX" else fields


def _parent(pid: int) -> int:
    fields = _stat(pid)
    return int(fields[1]) if fields else 0


def _group(group: int) -> list[int]:
    """Return the processes of a group that still run."""
    pids = [int(entry.name) for entry in Path("/proc").glob("[0-9]*")]
    return [pid for pid in pids if (fields := _stat(pid)) and int(fields[2]) == group]
