"""What happened, written down by those who did it, outside of the queue's file.

Each process of a proof has a file of its own, to which it only appends: one event a line, in one write, on
the disk when `Recorder.write` returns. A process that is killed leaves at most its last line torn; that one
is ignored when the history is read, and anything else that cannot be read is an error of the tool itself.
"""

from __future__ import annotations

import json
import os
import secrets
import time
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

__all__ = [
    "Began",
    "Born",
    "Called",
    "Effect",
    "Ended",
    "Event",
    "Expelled",
    "HistoryError",
    "JobSpec",
    "Read",
    "Recorder",
    "Refused",
    "Registered",
    "Returned",
    "Revoked",
    "RolledBack",
    "Sent",
    "evidence",
    "read_history",
]

SUFFIX = ".history"
FLAGS = os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_EXCL | getattr(os, "O_DSYNC", 0)


class HistoryError(Exception):
    """The history itself cannot be trusted."""


@dataclass(frozen=True, slots=True, kw_only=True)
class JobSpec:
    """A job as its caller asked for it.

    Attributes:
        tag: its first argument, unique to this call; by it the job is known in the history and in the file.
        task: the task's name.
        id: the job's id, if the caller chose it.
        fails: how many of its attempts raise.
        max_retries: how many failed attempts are tried again.
        max_crashes: how many deaths of its worker it may cause; 0: it may run at most once.
        ignored: it leaves no record when it succeeds.
        completes: it settles itself, in a transaction of its own.
        expires: it may end REVOKED because it did not begin in time.
    """

    tag: str
    task: str = "quick"
    id: str | None = None
    fails: int = 0
    max_retries: int = 3
    max_crashes: int = 3
    ignored: bool = False
    completes: bool = False
    expires: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Event:
    """Something that a process did.

    Attributes:
        at: when, in UTC seconds since the epoch.
        mono: when, on the monotonic clock, which all processes of a machine share.
        who: the process, by the name of its file.
    """

    at: float = 0.0
    mono: float = 0.0
    who: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Born(Event):
    """A process came to life."""

    pid: int
    parent: int
    role: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Registered(Event):
    """A worker was given its holder number."""

    holder: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Called(Event):
    """A call that enqueues is about to be made.

    Attributes:
        call: its name, unique in its process.
        jobs: the jobs that it is to store.
        order: the key of the caller's own row that is written in the same transaction, if any.
    """

    call: str
    jobs: tuple[JobSpec, ...]
    order: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Returned(Event):
    """A call returned: what it stored is the queue's responsibility now."""

    call: str
    ids: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class RolledBack(Event):
    """The caller undid the transaction in which it had made a call."""

    call: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Refused(Event):
    """A call raised."""

    call: str
    error: str
    waited: float
    """Seconds that it took."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Began(Event):
    """An attempt begins: the next thing that happens is the task's function.

    Attributes:
        asked: when its worker was about to ask for jobs and was given this one; 0.0: the token is the time.
        given: when it had been given it.
    """

    tag: str
    id: str
    token: int
    holder: int
    attempt: int = 1
    retries: int = 0
    crashes: int = 0
    asked: float = 0.0
    given: float = 0.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Effect(Event):
    """The task has done what cannot be undone."""

    tag: str
    token: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Ended(Event):
    """An attempt is over, and the worker has decided this about the job; whether it was stored is open."""

    tag: str
    token: int
    state: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Read(Event):
    """A caller read a finished job; `value` is its evidence, or the name of the exception's type."""

    id: str
    state: str
    value: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Revoked(Event):
    """A caller is about to ask for a job to be revoked (`done` is None), or was told whether it was."""

    id: str
    done: bool | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Expelled(Event):
    """A worker was about to be unregistered from outside, or (`done` is not None) the store has answered.

    Attributes:
        holder: the worker.
        seen: the expiry of its leases that was seen twice; None for one that is provably dead.
        done: the store's answer; None before it was asked.
    """

    holder: int
    seen: float | None = None
    done: bool | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Sent(Event):
    """A signal was sent, at `at` or a moment later."""

    pid: int
    signal: str
    role: str = ""


KINDS: Mapping[str, type[Event]] = {
    kind.__name__: kind
    for kind in (
        *(Born, Registered, Called, Returned, RolledBack, Refused, Began, Effect, Ended, Read, Revoked),
        *(Expelled, Sent),
    )
}


def evidence(tag: str, attempt: int, pid: int, token: int) -> str:
    """Return what an attempt leaves as its result, or as the message of its exception."""
    return f"{tag} {attempt} {pid} {token}"


@dataclass(slots=True)
class Recorder:
    """Writes the events of this process.

    Args:
        folder: where the histories are kept.
        role: what this process is; part of the file's name.
    """

    folder: Path
    role: str
    who: str = field(init=False, default="")
    _fd: int = field(init=False, default=-1)
    _pid: int = field(init=False, default=0)

    def write(self, event: Event) -> None:
        """Write an event down; it is on the disk when this returns.

        The moment is now, unless the event says it already.
        """
        if self._pid != os.getpid():
            self._open()
        at, mono = (event.at, event.mono) if event.mono else (time.time(), time.monotonic())
        event = replace(event, at=at, mono=mono, who=self.who)
        line = json.dumps([type(event).__name__, asdict(event)], separators=(",", ":")).encode() + b"\n"
        if os.write(self._fd, line) != len(line):
            raise HistoryError(f"{self.folder}: only part of an event could be written; is the disk full?")
        if not hasattr(os, "O_DSYNC"):
            os.fsync(self._fd)

    def start(self, role: str) -> None:
        """Begin the history of this process, under a role of its own."""
        self.role = role
        self._open()

    def _open(self) -> None:
        self._pid = os.getpid()
        self.who = f"{self.role}-{self._pid}-{secrets.token_hex(3)}"
        self._fd = os.open(self.folder / (self.who + SUFFIX), FLAGS, 0o600)
        self.write(Born(pid=self._pid, parent=os.getppid(), role=self.role))


def read_history(folder: Path) -> list[Event]:
    """Return what all processes wrote, in the order in which it happened.

    Raises:
        HistoryError: a line other than a file's last one is torn, or is no event.
    """
    found: list[Event] = []
    for path in sorted(folder.glob("*" + SUFFIX)):
        *lines, torn = path.read_bytes().split(b"\n")
        del torn  # Empty, unless its writer was killed in the middle of it.
        for number, line in enumerate(lines, 1):
            try:
                kind, values = json.loads(line)
                found.append(_event(kind, values))
            except (ValueError, TypeError, KeyError) as error:
                raise HistoryError(f"{path}, line {number}: {error!r}: {line!r}") from error
    return sorted(found, key=lambda event: event.mono)


def _event(kind: str, values: dict[str, Any]) -> Event:
    if "jobs" in values:
        values["jobs"] = tuple(JobSpec(**spec) for spec in values["jobs"])
    if "ids" in values:
        values["ids"] = tuple(values["ids"])
    return KINDS[kind](**values)
