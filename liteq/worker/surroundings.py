"""What a task can change of the process that it runs in, and what is put back after it.

A worker's process is there for its jobs alone, so it can be kept as it was when they began: the working
directory and the umask, signal handlers, blocked signals and timers, the standard streams, limits of the
interpreter, and the log of liteq. Everything else that a task leaves behind stays, as in any other program.
"""

from __future__ import annotations

import gc
import io
import logging
import math
import os
import signal
import sys
import threading
import time
from collections.abc import Callable, Collection
from contextlib import suppress
from typing import NoReturn, Protocol, TextIO

from liteq.errors import DescriptorsLostError
from liteq.transport import Transport
from liteq.worker.config import LOST_DESCRIPTORS
from liteq.worker.log import LOGGER

__all__ = ["OwnSurroundings", "Surroundings"]

RESTORE_EVERY = 0.005
"""Seconds between looks at all this while short jobs follow each other; a job as long gets one."""

_SIGNALS = ("SIGTERM", "SIGINT", "SIGBREAK", "SIGHUP", "SIGUSR1", "SIGUSR2", "SIGALRM", "SIGCHLD", "SIGPIPE")
_TIMERS = ("ITIMER_REAL", "ITIMER_VIRTUAL", "ITIMER_PROF")
_SAFE_NUMBER = 200
"""From here on, copies of the standard streams get descriptors: out of the way of what is closed in a row."""


class _Part(Protocol):
    """One thing that is as it was when this object was made, or is made so again."""

    def restore(self) -> None:
        """Put it back if it has changed."""


class Surroundings:
    """What jobs find around them, as far as their worker cares for it: not at all, here.

    For a worker that shares its process with others, who may have changed all this themselves.

    Attributes:
        probe: asked after every job; raises OSError if it has closed the process's descriptors in a row.
        due: when `restore` is due, on the monotonic clock.
    """

    probe: Callable[[], object] = bool
    due = math.inf

    def remember(self, transport: Transport) -> None:
        """Take what is there now for what is to be kept; `transport` is what the worker works on."""

    def restore(self) -> None:
        """Put back whatever was changed.

        Raises:
            DescriptorsLostError: a descriptor that the process cannot do without is gone.
        """

    def end(self, error: DescriptorsLostError) -> None:
        """End the process, if it is there for its jobs alone: nothing that it has open may be used."""


class OwnSurroundings(Surroundings):
    """Keeps a process as its jobs found it; for one that runs nothing else.

    Used by the thread that runs the jobs.

    Args:
        descriptors: descriptors that the process cannot do without, besides those of the store.
    """

    def __init__(self, descriptors: Collection[int] = ()) -> None:
        self._descriptors = {number: _identity(number) for number in descriptors}
        self._parts: list[_Part] = []
        self._error_goes_to = _identity(2)

    def remember(self, transport: Transport) -> None:
        """Take what is there now for what is to be kept."""
        kinds: list[Callable[[], _Part]] = [_Folder, _Streams, _Interpreter, _Log]
        if threading.current_thread() is threading.main_thread():
            # No other thread may set a handler.
            kinds.append(_Signals)
        self._parts = [kind() for kind in kinds]
        self.probe = transport.guard() or bool
        self.due = time.monotonic()

    def restore(self) -> None:
        """Put back whatever was changed; takes about 10 µs if nothing was."""
        for part in self._parts:
            try:
                part.restore()
            except Exception as error:
                LOGGER.warning("What a task has changed in its process cannot be put back: %s", error)
        for number, identity in self._descriptors.items():
            if _identity(number) != identity:
                raise DescriptorsLostError(
                    f"Descriptor {number}, by which worker and supervisor speak, was closed or replaced."
                )
        self.due = time.monotonic() + RESTORE_EVERY

    def end(self, error: DescriptorsLostError) -> NoReturn:
        """End the process at once, and say so if standard error is still there."""
        with suppress(BaseException):
            if _identity(2) == self._error_goes_to:
                LOGGER.critical("%s This worker process ends.", error)
        os._exit(LOST_DESCRIPTORS)


class _Folder:
    """The working directory, and the umask."""

    def __init__(self) -> None:
        self._folder = _here()
        self._umask = os.umask(0o077)
        os.umask(self._umask)

    def restore(self) -> None:
        os.umask(self._umask)
        if self._folder is not None and _here() != self._folder:
            os.chdir(self._folder)


def _here() -> str | None:
    try:
        return os.getcwd()  # noqa: PTH109  # a Path would cost five times as much
    except OSError:
        # It was removed.
        return None


class _Signals:
    """What happens on signals, which ones are blocked, and the timers that send some."""

    def __init__(self) -> None:
        numbers = [getattr(signal, name) for name in _SIGNALS if hasattr(signal, name)]
        self._handlers = [(number, signal.getsignal(number)) for number in numbers]
        self._timers = [
            timer
            for timer in (getattr(signal, name) for name in _TIMERS if hasattr(signal, name))
            if not signal.getitimer(timer)[0]
        ]
        self._wakes = signal.set_wakeup_fd(-1)
        self._blocked: Collection[int] = ()
        if sys.platform != "win32":
            self._blocked = signal.pthread_sigmask(signal.SIG_BLOCK, ())
        self.restore()

    def restore(self) -> None:
        # Timers first: their signals end the process once nobody handles them.
        for timer in self._timers:
            if signal.getitimer(timer)[0]:
                signal.setitimer(timer, 0)
        for number, handler in self._handlers:
            # None: set by code that is not Python, which could not be put back.
            if signal.getsignal(number) is not handler and handler is not None:
                signal.signal(number, handler)
        signal.set_wakeup_fd(self._wakes)
        if sys.platform != "win32":
            signal.pthread_sigmask(signal.SIG_SETMASK, self._blocked)


class _Streams:
    """Standard output and error: the Python objects, and the descriptors below them."""

    def __init__(self) -> None:
        self._streams = [stream for stream in (_Stream("stdout", 1), _Stream("stderr", 2)) if stream.is_there]

    def restore(self) -> None:
        for stream in self._streams:
            stream.restore()


class _Stream:
    """One standard stream."""

    def __init__(self, name: str, number: int) -> None:
        self._name = name
        self._number = number
        self._stream: TextIO = getattr(sys, name)
        self._identity = _identity(number)
        self._copy = _copy(number)

    @property
    def is_there(self) -> bool:
        """Whether the process was given such a stream."""
        return self._stream is not None and self._copy is not None

    def restore(self) -> None:
        if _identity(self._number) != self._identity and self._copy is not None:
            os.dup2(self._copy, self._number)
        if self._stream.closed:
            self._reopen()
        if getattr(sys, self._name) is not self._stream:
            setattr(sys, self._name, self._stream)

    def _reopen(self) -> None:
        closed = self._stream
        encoding, errors = (
            (closed.encoding, closed.errors) if isinstance(closed, io.TextIOWrapper) else (None, None)
        )
        self._stream = open(  # noqa: SIM115
            self._number, "w", buffering=1, encoding=encoding, errors=errors, closefd=False
        )
        setattr(sys, f"__{self._name}__", self._stream)
        for handler in logging.getLogger("liteq").handlers:
            if isinstance(handler, logging.StreamHandler) and handler.stream is closed:
                handler.stream = self._stream


class _Interpreter:
    """Limits of the interpreter, and whether it collects garbage."""

    def __init__(self) -> None:
        self._recursion = sys.getrecursionlimit()
        self._switching = sys.getswitchinterval()
        self._collects = gc.isenabled()

    def restore(self) -> None:
        if sys.getrecursionlimit() != self._recursion:
            sys.setrecursionlimit(self._recursion)
        if sys.getswitchinterval() != self._switching:
            sys.setswitchinterval(self._switching)
        if gc.isenabled() != self._collects:
            (gc.enable if self._collects else gc.disable)()


class _Log:
    """The loggers of liteq itself; the root logger and all others are the tasks' own affair."""

    def __init__(self) -> None:
        self._disabled_below = logging.root.manager.disable
        self._loggers = [
            (logger, [*logger.handlers], logger.level, logger.propagate)
            for logger in (logging.getLogger("liteq"), LOGGER)
        ]
        # `logging.config` disables all loggers that it is not told of, when a task module uses it as well.
        self.restore()

    def restore(self) -> None:
        if logging.root.manager.disable != self._disabled_below:
            logging.disable(self._disabled_below)
        for logger, handlers, level, propagate in self._loggers:
            logger.disabled = False
            logger.propagate = propagate
            if logger.handlers != handlers:
                logger.handlers[:] = handlers
            if logger.level != level:
                logger.setLevel(level)


def _identity(number: int) -> tuple[int, int] | None:
    """Return which file a descriptor leads to; None if it is closed."""
    try:
        about = os.fstat(number)
    except OSError:
        return None
    return about.st_dev, about.st_ino


def _copy(number: int) -> int | None:
    """Return another descriptor of the same file; None if this one is closed."""
    try:
        if sys.platform == "win32":
            return os.dup(number)
        import fcntl

        return fcntl.fcntl(number, fcntl.F_DUPFD_CLOEXEC, _SAFE_NUMBER)
    except OSError:
        return None
