"""One worker process as its supervisor sees it: started, spoken to, watched, ended."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
import threading
import time
import weakref
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

from liteq.job import Running
from liteq.worker.config import BOOT, WorkerConfig

__all__ = ["Exited", "Said", "WorkerProcess"]


_LONGEST_LINE = 64 * 1024 * 1024
"""Bytes; a line of a message that is longer is none."""
_MESSAGES: Mapping[str, Mapping[str, type | tuple[type, ...]]] = {
    "hello": {"holder": int, "tasks": dict, "visibility_timeout": (int, float)},
    "limit": {},
    "idle": {},
    "failed": {"error": str},
    "end": {},
}
"""The kinds of messages, and what they must hold."""


@dataclass(frozen=True, slots=True)
class Said:
    """A worker process sent a message; see `liteq.child` for the kinds."""

    process: WorkerProcess
    message: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Exited:
    """A worker process ended; all that it said has been delivered before."""

    process: WorkerProcess
    status: int
    """As in `subprocess.Popen.returncode`: negative for a signal."""


class WorkerProcess:
    """A spawned interpreter that runs `liteq.child`.

    Two threads serve each: one reads its messages, one waits for its end; blocking calls that every
    system has, where a selector would not do on Windows.
    """

    def __init__(
        self, config: WorkerConfig, report: Callable[[Said | Exited], None], first: str | None = None
    ) -> None:
        """Start the process. Call it from a thread that outlives it: on Linux it dies with that thread.

        Args:
            config: what the process is told.
            report: called from other threads with what it says, and that it ended.
            first: what it calls before it imports anything else, as `module:function`.
        """
        self.name = config.name
        self.started = time.monotonic()
        self.holder: int | None = None
        """The number under which it has registered; None before."""
        self.tasks: Mapping[str, Mapping[str, Any]] = {}
        """The tasks that it announced, each with its retry options."""
        self.ended_at: float | None = None
        """When it said that it had settled everything and would end, on the monotonic clock."""
        self.limited_at = 0.0
        """When it was last seen with a time-limited job, on the monotonic clock."""
        self.over_limit: Running | None = None
        """The job for whose time limit it was killed, at `limited_at`."""
        self._report = report
        reading, writing = os.pipe()
        try:
            self._popen, messages = _spawn(writing)
        except BaseException:
            os.close(reading)
            raise
        finally:
            os.close(writing)
        self._tell(json.dumps(_first_line(config, messages, first)).encode())
        _processes.add(self)
        reader = threading.Thread(target=self._read, args=(reading,), name=f"liteq-{self.name}-messages")
        waiter = threading.Thread(target=self._wait, args=(reader,), name=f"liteq-{self.name}-end")
        for thread in (reader, waiter):
            thread.daemon = True
            thread.start()

    @property
    def pid(self) -> int:
        """Its process id."""
        return self._popen.pid

    def ask_to_stop(self) -> None:
        """Ask it to finish the running job, hand back the rest and end."""
        self._tell(b"stop")

    def ask_to_recall(self) -> None:
        """Ask it to interrupt what it runs, and to hand that back too."""
        self._tell(b"recall")

    def kill(self) -> None:
        """End it now, whatever it does."""
        self._popen.kill()

    def is_suspended(self) -> bool:
        """Tell whether a signal has stopped it; False where the system cannot say."""
        if sys.platform == "win32" or not hasattr(os, "waitid"):
            return False
        try:
            # WNOWAIT leaves the news in place for whoever else asks.
            news = os.waitid(os.P_PID, self.pid, os.WSTOPPED | os.WNOHANG | os.WNOWAIT)
        except ChildProcessError:
            return False
        return news is not None and news.si_code == os.CLD_STOPPED

    def suspend(self) -> bool:
        """Stop it where it stands, so that its slot cannot change; False where that is not possible."""
        if sys.platform == "win32":
            return False
        self._popen.send_signal(signal.SIGSTOP)
        deadline = time.monotonic() + 0.05
        while not self.is_suspended() and self._popen.returncode is None and time.monotonic() < deadline:
            time.sleep(0.0005)
        return True

    def resume(self) -> None:
        """Let it go on."""
        if sys.platform != "win32":
            self._popen.send_signal(signal.SIGCONT)

    def _tell(self, line: bytes) -> None:
        assert self._popen.stdin is not None
        # A process that has ended meanwhile is reported by its waiter.
        with contextlib.suppress(OSError, ValueError):
            self._popen.stdin.write(line + b"\n")
            self._popen.stdin.flush()

    def _read(self, reading: int) -> None:
        with open(reading, "rb") as pipe:
            while line := pipe.readline(_LONGEST_LINE):
                message = _understood(line)
                if message is not None:
                    self._report(Said(self, message))

    def _wait(self, reader: threading.Thread) -> None:
        status = self._popen.wait()
        # What a task forked may hold the pipe open for as long as it likes.
        reader.join(timeout=0.2)
        self._report(Exited(self, status))
        self.close_pipe()

    def close_pipe(self) -> None:
        """Close the control pipe; idempotent."""
        with contextlib.suppress(OSError):
            if self._popen.stdin is not None:
                self._popen.stdin.close()


def _understood(line: bytes) -> Mapping[str, Any] | None:
    """Return a worker's message; None if it is none, for a task can write into the pipe as well."""
    try:
        message = json.loads(line)
    except (ValueError, RecursionError):
        return None
    kind = message.get("type") if isinstance(message, dict) else None
    needed = _MESSAGES.get(kind) if isinstance(kind, str) else None
    if needed is None or not all(isinstance(message.get(name), type_) for name, type_ in needed.items()):
        return None
    return cast(Mapping[str, Any], message)


def _first_line(config: WorkerConfig, messages: int, first: str | None) -> dict[str, Any]:
    path = [str(Path(entry).absolute()) for entry in sys.path]
    return {"path": path, "first": first, "config": config.to_json(), "messages": messages}


if sys.platform == "win32":
    import msvcrt

    def _spawn(writing: int) -> tuple[subprocess.Popen[bytes], int]:
        """Start the interpreter; return it and what it has to call its end of the message pipe."""
        handle = msvcrt.get_osfhandle(writing)
        os.set_handle_inheritable(handle, True)
        startup = subprocess.STARTUPINFO(lpAttributeList={"handle_list": [handle]})
        command = [sys.executable, "-c", BOOT]
        return subprocess.Popen(command, stdin=subprocess.PIPE, startupinfo=startup), handle

else:

    def _spawn(writing: int) -> tuple[subprocess.Popen[bytes], int]:
        """Start the interpreter; return it and what it has to call its end of the message pipe."""
        command = [sys.executable, "-c", BOOT]
        # Ctrl-C reaches the terminal's whole group. The child inherits this mask and unblocks the signal
        # once it has a handler, so that it is not killed by one while it starts.
        before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
        try:
            return subprocess.Popen(command, stdin=subprocess.PIPE, pass_fds=(writing,)), writing
        finally:
            signal.pthread_sigmask(signal.SIG_SETMASK, before)


_processes: weakref.WeakSet[WorkerProcess] = weakref.WeakSet()


def _close_inherited_pipes() -> None:
    """Close control pipes in a forked child of this program, or their end would never reach the workers."""
    for process in list(_processes):
        process.close_pipe()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_close_inherited_pipes)
