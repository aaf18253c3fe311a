"""What tasks print, as lines of the worker's log."""

from __future__ import annotations

import io
import logging
import os
import sys
import threading
from codecs import getincrementaldecoder
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import TextIO

from liteq.calls.request import current
from liteq.errors import SoftTimeLimitExceeded
from liteq.log import JobFilter

__all__ = ["REDIRECTED", "LoggedStream", "redirect_stdouts"]

REDIRECTED = logging.getLogger("liteq.redirected")
REDIRECTED.addFilter(JobFilter())

_LONGEST_LINE = 64 * 1024
"""Characters after which a line without an end is taken for one."""


_lock = threading.Lock()
"""Held while the lines of a job are taken apart, for its threads may write at once."""


def _begin_anew() -> None:
    """Be free, in a forked child, of what a thread of the parent holds."""
    global _lock
    _lock = threading.Lock()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_begin_anew)


class _Thread(threading.local):
    """Whether this thread is writing a log line."""

    is_logging = False


_thread = _Thread()


class LoggedStream(io.TextIOBase):
    """A text stream whose lines become log records, under the job in which they are written.

    The last line of a job needs no end. What is written while a line is logged, by a handler for example,
    goes to the original stream.

    Args:
        original: the stream that it stands for.
        level: the level of the records.
        logger: where they go.
    """

    def __init__(self, original: TextIO, level: int, logger: logging.Logger = REDIRECTED) -> None:
        self._original = original
        self._level = level
        self._logger = logger
        self._outside = _Outputs()
        self._bytes: _Bytes | None = None

    # ---- what a standard stream has --------------------------------------------------------------

    @property
    def name(self) -> str:
        """The name of the original stream."""
        return str(getattr(self._original, "name", ""))

    @property
    def encoding(self) -> str:  # type: ignore[override]
        """The encoding of the original stream."""
        return getattr(self._original, "encoding", None) or "utf-8"

    @property
    def errors(self) -> str | None:  # type: ignore[override]
        """What the original stream does with what it cannot encode."""
        return getattr(self._original, "errors", None)

    @property
    def line_buffering(self) -> bool:
        """True: each line is logged when it ends."""
        return True

    @property
    def buffer(self) -> io.RawIOBase:
        """A stream of bytes, which are decoded and logged alike."""
        if self._bytes is None:
            self._bytes = _Bytes(self)
        return self._bytes

    def fileno(self) -> int:
        """Return the descriptor of the original stream, for processes that a task starts."""
        return self._original.fileno()

    def isatty(self) -> bool:
        """Return False: nobody sits before a log."""
        return False

    def writable(self) -> bool:
        """Return True."""
        return True

    def reconfigure(self, **_options: object) -> None:
        """Change nothing: how lines are encoded is the log's affair."""

    def flush(self) -> None:
        """Flush the original stream; a line that has not ended waits for its end, or its job's."""
        # At the end of the interpreter it may be gone.
        with suppress(ValueError, OSError, AttributeError):
            self._original.flush()

    def close(self) -> None:
        """Change nothing: the next job needs it."""

    # ---- writing ---------------------------------------------------------------------------------

    def write(self, text: str) -> int:
        """Log the lines that end in a text, and keep the rest for the next."""
        if not isinstance(text, str):
            raise TypeError(f"write() argument must be str, not {type(text).__name__}")
        if _thread.is_logging:
            with suppress(ValueError, OSError):
                self._original.write(text)
            return len(text)
        output = self._output()
        with _lock:
            lines = (output.unfinished.get(self, "") + text).split("\n")
            rest = lines.pop()
            if output.is_closed or len(rest) > _LONGEST_LINE:
                lines.append(rest)
                rest = ""
            output.unfinished[self] = rest
        for line in lines:
            self.log(line)
        return len(text)

    def log(self, line: str) -> None:
        """Log a line, unless it is empty; of one that was written over, as progress bars are, the last."""
        line = line.rstrip().rpartition("\r")[2]
        if not line:
            return
        _thread.is_logging = True
        try:
            self._logger.log(self._level, "%s", line)
        except SoftTimeLimitExceeded:
            raise
        except Exception:
            # A handler of the user's that fails must not fail a job that prints.
            with suppress(ValueError, OSError):
                self._original.write(f"{line}\n")
        finally:
            _thread.is_logging = False

    def _output(self) -> JobOutput:
        """Return what is unfinished where this is called: in a job, or in a thread outside of any."""
        running = current()
        if running is None:
            return self._outside.output
        if not isinstance(running.output, JobOutput):
            running.output = JobOutput()
        return running.output


class JobOutput:
    """The lines that one job has begun.

    Attributes:
        unfinished: what has no end yet, by stream.
        is_closed: the job has ended, so that nothing of a thread that it has left may wait for an end.
    """

    __slots__ = ("is_closed", "unfinished")

    def __init__(self) -> None:
        self.unfinished: dict[LoggedStream, str] = {}
        self.is_closed = False

    def close(self) -> None:
        """Log what has no end."""
        with _lock:
            self.is_closed = True
            unfinished, self.unfinished = self.unfinished, {}
        for stream, text in unfinished.items():
            stream.log(text)


class _ThreadOutput(JobOutput):
    """The lines that a thread has begun outside of any job; their end is the thread's."""

    __slots__ = ()

    def __del__(self) -> None:
        # Nobody else has it any more; at the interpreter's end, what logs may be gone too.
        for stream, text in self.unfinished.items():
            with suppress(Exception):
                stream.log(text)


class _Outputs(threading.local):
    """The lines that each thread has begun outside of any job."""

    def __init__(self) -> None:
        self.output: JobOutput = _ThreadOutput()


class _Bytes(io.RawIOBase):
    """The bytes below a `LoggedStream`."""

    def __init__(self, stream: LoggedStream) -> None:
        self._stream = stream
        self._decoder = getincrementaldecoder(stream.encoding)("backslashreplace")

    def writable(self) -> bool:
        return True

    def fileno(self) -> int:
        return self._stream.fileno()

    def write(self, data: object) -> int:
        """Log what was written."""
        view = memoryview(data)  # type: ignore[arg-type]
        self._stream.write(self._decoder.decode(view.tobytes()))
        return view.nbytes

    def flush(self) -> None:
        self._stream.flush()

    def close(self) -> None:
        """Change nothing."""


@contextmanager
def redirect_stdouts(level: str | None) -> Iterator[None]:
    """Let what is printed go to the log until the block ends.

    Args:
        level: the level of the records, by name; None to change nothing.
    """
    before = sys.stdout, sys.stderr
    if level is not None:
        number: int = logging.getLevelNamesMapping()[level.upper()]
        for name in ("stdout", "stderr"):
            stream = getattr(sys, name)
            # A process may have been given none.
            if stream is not None:
                setattr(sys, name, LoggedStream(stream, number))
    try:
        yield
    finally:
        if level is not None:
            sys.stdout, sys.stderr = before
