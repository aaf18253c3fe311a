"""Runs experiments in children that die: each is forked off a process that has nothing open.

A fork costs a millisecond where a new interpreter costs a hundred. What is forked must have no thread and
no connection, so a process of its own does it: `python -m chaos.nursery`.
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
import traceback
from collections.abc import Callable, Iterator, Sequence
from importlib import import_module
from pathlib import Path
from tempfile import TemporaryDirectory
from types import TracebackType
from typing import Any, NamedTuple, NoReturn, Self

__all__ = ["Ended", "Nursery", "Report", "can_fork", "die", "workplace"]

PATIENCE = 30.0
"""Seconds that a child may take; the slowest known takes two."""

Report = Callable[[object], None]
"""Sends something of JSON to whoever started the child; it arrives even if the child dies at once."""


class Ended(NamedTuple):
    """How a child ended, and what it had reported until then."""

    killed: bool
    """It died as it was meant to, by `die()`."""
    reports: list[Any]
    trouble: str
    """Why it ended otherwise than by `die()` or by itself; "" if it did not."""


def can_fork() -> bool:
    """Tell whether experiments can be run on this system."""
    return hasattr(os, "fork")


def die() -> NoReturn:
    """End this process at this very point; nothing of it runs any more."""
    os.kill(os.getpid(), signal.SIGKILL)
    raise AssertionError("a process cannot outlive SIGKILL")


@contextlib.contextmanager
def workplace() -> Iterator[Path]:
    """Yield a folder for many small files; in memory where the system has such a place."""
    shared = "/dev/shm"
    with TemporaryDirectory(
        dir=shared if os.access(shared, os.W_OK) else None, prefix="liteq-chaos-"
    ) as folder:
        yield Path(folder)


class Nursery:
    """The process that forks; use it as a context manager.

    Args:
        preload: modules that are imported once, for all children.
    """

    def __init__(self, *preload: str) -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-W", "error", "-m", "chaos.nursery", *preload],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            env={**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))},
        )

    def run(self, target: str, *arguments: object) -> Ended:
        """Run a function in a child of its own and wait for its end.

        Args:
            target: `module:function`; it is called with a `Report` and the arguments.
            arguments: what JSON carries.
        """
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(json.dumps([target, arguments]).encode() + b"\n")
        self._process.stdin.flush()
        answer = self._process.stdout.readline()
        if not answer:
            raise RuntimeError(f"the process that forks has ended ({self._process.wait()})")
        return Ended(*json.loads(answer))

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        with self._process:
            assert self._process.stdin is not None
            with contextlib.suppress(OSError):
                self._process.stdin.close()
            try:
                self._process.wait(PATIENCE + 10)
            except subprocess.TimeoutExpired:
                self._process.kill()


# ---- the process that forks --------------------------------------------------------------------------


def serve(preload: Sequence[str]) -> None:
    """Fork a child for each line of the standard input, and answer with a line on the standard output."""
    answers = os.dup(1)
    # What children print must not be taken for an answer.
    os.dup2(2, 1)
    for module in preload:
        import_module(module)
    for line in sys.stdin.buffer:
        target, arguments = json.loads(line)
        answer = json.dumps(_rear(target, arguments)).encode() + b"\n"
        while answer:
            answer = answer[os.write(answers, answer) :]


def _rear(target: str, arguments: Sequence[object]) -> Ended:
    reading, writing = os.pipe()
    child = os.fork()
    if child == 0:
        os.close(reading)
        _live(target, arguments, writing)
    os.close(writing)
    said, in_time = _listen(reading, time.monotonic() + PATIENCE)
    os.close(reading)
    if not in_time:
        os.kill(child, signal.SIGKILL)
    code = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    reports = [json.loads(line) for line in said.splitlines()]
    if not in_time:
        return Ended(False, reports, f"it hung for {PATIENCE:g} s")
    if code == 1 and reports:
        return Ended(False, reports[:-1], str(reports[-1]))
    killed = code == -signal.SIGKILL
    return Ended(killed, reports, "" if killed or code == 0 else f"it ended with {code}")


def _listen(pipe: int, deadline: float) -> tuple[bytes, bool]:
    """Read until the child has ended; tell whether it did in time."""
    said = b""
    while select.select([pipe], [], [], max(0.0, deadline - time.monotonic()))[0]:
        part = os.read(pipe, 1 << 16)
        if not part:
            return said, True
        said += part
    return said, False


def _live(target: str, arguments: Sequence[object], pipe: int) -> NoReturn:
    def report(what: object) -> None:
        line = json.dumps(what).encode() + b"\n"
        while line:
            line = line[os.write(pipe, line) :]

    code = 1
    try:
        module, _, function = target.partition(":")
        getattr(import_module(module), function)(report, *arguments)
        code = 0
    except BaseException:
        report(traceback.format_exc())
    finally:
        # Nothing of what the parent had prepared may run here.
        os._exit(code)


if __name__ == "__main__":
    serve(sys.argv[1:])
