"""The log lines of a worker, in Celery's wording, on the logger `liteq.worker`.

Importing this module configures nothing, but that what is logged of a job stays in one line.
`set_up_logging` is for a worker's own process only; it touches the logger `liteq` and what is below it,
never the root logger.
"""

from __future__ import annotations

import logging
import reprlib
import sys
from collections.abc import Callable, Mapping
from contextlib import suppress
from functools import wraps
from typing import ParamSpec, TextIO

from liteq.errors import Retry, SoftTimeLimitExceeded
from liteq.job import Claim, Transition
from liteq.log import JsonFormatter, TextFormatter

__all__ = ["LOGGER", "LOG_FORMATS", "JobLog", "set_up_logging"]

P = ParamSpec("P")


def _in_one_line(record: logging.LogRecord) -> bool:
    """Write out the control characters in what a line tells of a job, so that no id passes for a line."""
    if isinstance(record.args, tuple):
        record.args = tuple(
            ascii(each)[1:-1] if isinstance(each, str) and not each.isprintable() else each
            for each in record.args
        )
    return True


LOGGER = logging.getLogger("liteq.worker")
LOGGER.addFilter(_in_one_line)


LOG_FORMATS: Mapping[str, Callable[[str], logging.Formatter]] = {"text": TextFormatter, "json": JsonFormatter}
"""How log lines can look; each is made with the worker's name."""


class _Handler(logging.StreamHandler[TextIO]):
    """Writes log lines, and lets a soft time limit through that a task meets while it logs."""

    def handleError(self, record: logging.LogRecord) -> None:  # noqa: N802 (the name in `logging`)
        if isinstance(sys.exc_info()[1], SoftTimeLimitExceeded):
            raise
        super().handleError(record)


def set_up_logging(level: str, name: str, stream: TextIO | None = None, log_format: str = "text") -> None:
    """Send liteq's log lines to standard error, as `[2026-01-01 12:00:00,000: INFO/name] message`.

    Args:
        level: the lowest level to show, by name, in any case.
        name: the worker's name.
        stream: where to write instead of standard error.
        log_format: one of `LOG_FORMATS`.
    """
    handler = _Handler(sys.stderr if stream is None else stream)
    handler.setFormatter(LOG_FORMATS[log_format](name))
    logger = logging.getLogger("liteq")
    logger.handlers[:] = [handler]
    logger.propagate = False
    logger.setLevel(level.upper())


def _harmless(write: Callable[P, None]) -> Callable[P, None]:
    """Let nothing that goes wrong in a log line, such as a value's own `__repr__`, touch the job."""

    @wraps(write)
    def guarded(*args: P.args, **kwargs: P.kwargs) -> None:
        # Even SystemExit, which an exception of the task's may raise when it is printed.
        with suppress(BaseException):
            write(*args, **kwargs)

    return guarded


def _of(job: Claim) -> dict[str, object]:
    """Return what a record tells of its job."""
    return {"task_name": job.task, "task_id": job.id, "attempt": job.attempts}


class JobLog:
    """Writes what happens to each job.

    Attributes:
        wordy: whether lines of level INFO are wanted; callers look before they call the methods that
            write them, because even asking the logger costs a worker several percent of its speed.
    """

    def __init__(self, logger: logging.Logger = LOGGER) -> None:
        self._logger = logger
        self._short = reprlib.Repr()
        self._short.maxstring = self._short.maxother = 200
        self.wordy = False
        self.refresh()

    def refresh(self) -> None:
        """Ask the logger for its level again; once per batch."""
        self.wordy = self._logger.isEnabledFor(logging.INFO)

    @_harmless
    def received(self, job: Claim) -> None:
        """Say that a job was claimed."""
        self._logger.info("Task %s[%s] received", job.task, job.id, extra=_of(job))

    @_harmless
    def succeeded(self, job: Claim, seconds: float, value: object) -> None:
        """Say that a job returned, how long it took and what it gave, abbreviated."""
        self._logger.info(
            "Task %s[%s] succeeded in %.3fs: %s",
            job.task,
            job.id,
            seconds,
            self._short.repr(value),
            extra=_of(job),
        )

    @_harmless
    def retried(self, job: Claim, decided: Transition, error: BaseException | None) -> None:
        """Say that a job will be tried again, when, and because of which error, if any."""
        wait = 0.0 if decided.due is None else max(0.0, decided.due - decided.at)
        cause = error.exc if isinstance(error, Retry) else error
        why = "" if cause is None else f": {self._short.repr(cause)}"
        text = "Task %s[%s] retry: Retry in %gs%s"
        self._logger.info(text, job.task, job.id, round(wait, 3), why, extra=_of(job))

    @_harmless
    def ignored(self, job: Claim) -> None:
        """Say that a job asked for its outcome to be ignored."""
        self._logger.info("Task %s[%s] ignored", job.task, job.id, extra=_of(job))

    @_harmless
    def rejected(self, job: Claim, decided: Transition) -> None:
        """Say that a job refused itself."""
        back = " and requeued" if decided.due is not None else ""
        text = "Task %s[%s] rejected%s: %s"
        self._logger.warning(text, job.task, job.id, back, decided.reason, extra=_of(job))

    @_harmless
    def failed(self, job: Claim, error: BaseException) -> None:
        """Say that a job failed for good, with the traceback."""
        shown = (type(error), error, error.__traceback__)
        self._logger.error(
            "Task %s[%s] raised unexpected: %s",
            job.task,
            job.id,
            self._short.repr(error),
            exc_info=shown,
            extra=_of(job),
        )

    @_harmless
    def raised_too_late(self, job: Claim, error: BaseException) -> None:
        """Say that a task raised after its job had completed in a transaction of its own."""
        self._logger.warning(
            "Task %s[%s] raised after it had completed, and stays completed: %s",
            job.task,
            job.id,
            self._short.repr(error),
            exc_info=(type(error), error, error.__traceback__),
            extra=_of(job),
        )

    @_harmless
    def unreported(self, job: Claim, state: str, error: BaseException) -> None:
        """Say that a state which the task reported is not stored; once for each job."""
        self._logger.warning(
            "Task %s[%s] goes on, but its state %s cannot be seen: %s",
            job.task,
            job.id,
            state,
            error,
            extra=_of(job),
        )

    @_harmless
    def superseded(self, job: Claim) -> None:
        """Say that an outcome came too late: somebody else holds the job, or has finished it."""
        self._logger.warning(
            "Task %s[%s] ended here, but its lease had passed to another worker: this outcome is discarded",
            job.task,
            job.id,
            extra=_of(job),
        )
