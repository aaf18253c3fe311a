"""What log records tell of the job that wrote them, and how they become lines.

For a logging configuration of your own: `JsonFormatter` and `TextFormatter` are formatters, and
`JobFilter` is a filter that gives the records of any handler the job that they belong to.
"""

from __future__ import annotations

import json
import logging
import reprlib
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

from liteq.calls.request import current

__all__ = ["JobFilter", "JsonFormatter", "TextFormatter", "task_logger"]

TASKS = logging.getLogger("liteq.task")
"""The lines of what is below it go where a worker's own go, at the worker's level."""

_OWN_LINES = "liteq.worker"
"""The logger whose messages name the job already."""
_PLAIN = frozenset(vars(logging.makeLogRecord({}))) | {"message", "asctime", "taskName"}
"""What every record has; the rest was given as `extra`."""
_JOB = {"task_name": "task", "task_id": "id", "attempt": "attempt"}
"""The attributes that tell of a job, and their names in JSON."""
_short = reprlib.Repr()
_short.maxstring = _short.maxother = 500


class JobFilter(logging.Filter):
    """Lets every record pass, and gives it `task_name`, `task_id` and `attempt`: None outside of a job."""

    def filter(self, record: logging.LogRecord) -> bool:
        """Add what the record does not tell yet."""
        if not _JOB.keys() <= vars(record).keys():
            running = current()
            request = None if running is None else running.request
            told = (None,) * 3 if request is None else (request.task, request.id, request.attempt)
            for name, value in zip(_JOB, told, strict=True):
                vars(record).setdefault(name, value)
        return True


_tell_job = JobFilter()


def task_logger(name: str) -> logging.Logger:
    """Return the logger of that name, below the one whose lines a worker shows, with a `JobFilter`."""
    logger = logging.getLogger(name)
    if logger.parent is logging.root and logger not in (TASKS, TASKS.parent):
        logger.parent = TASKS
    logger.addFilter(_tell_job)
    return logger


class TextFormatter(logging.Formatter):
    """Writes a record as `[2026-01-01 12:00:00,000: INFO/worker] task[id]: message`.

    Args:
        worker: the worker's name.
    """

    def __init__(self, worker: str = "worker") -> None:
        shown = worker.replace("%", "%%")
        super().__init__(f"[%(asctime)s: %(levelname)s/{shown}] %(_liteq_job)s%(message)s")

    def format(self, record: logging.LogRecord) -> str:
        """Return the line."""
        _tell_job.filter(record)
        named = record.task_id is None or record.name == _OWN_LINES  # type: ignore[attr-defined]
        job = "" if named else f"{record.task_name}[{record.task_id}]: "  # type: ignore[attr-defined]
        # So that no id passes for a line.
        record._liteq_job = job if job.isprintable() else ascii(job)[1:-1]
        return super().format(record)


class JsonFormatter(logging.Formatter):
    """Writes a record as one line of JSON.

    Its keys are `time` (ISO 8601, in UTC), `level`, `logger`, `message`, `pid`, `worker`, `task`, `id` and
    `attempt` (null outside of a job), `exc_info` and `stack_info` where there are some, and what was given as
    `extra`: as it is if JSON has such a value, else as it prints. Where one of these would hide a key of the
    former, an underscore is added to it.

    Args:
        worker: the worker's name.
    """

    def __init__(self, worker: str = "worker") -> None:
        super().__init__()
        self._worker = worker

    def format(self, record: logging.LogRecord) -> str:
        """Return the line."""
        _tell_job.filter(record)
        told: dict[str, Any] = {
            "time": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname,
            "logger": record.name,
            "message": record.getMessage(),
            "pid": record.process,
            "worker": self._worker,
            **{name: getattr(record, attribute, None) for attribute, name in _JOB.items()},
        }
        if record.exc_info:
            told["exc_info"] = record.exc_text or self.formatException(record.exc_info)
        if record.stack_info:
            told["stack_info"] = record.stack_info
        _add_extra(told, vars(record))
        return json.dumps({key: _as_json(value) for key, value in told.items()})


def _add_extra(told: dict[str, Any], attributes: Mapping[str, Any]) -> None:
    for name, value in attributes.items():
        if name not in _PLAIN and name not in _JOB and name != "_liteq_job":
            while name in told:
                name += "_"
            told[name] = value


def _as_json(value: object) -> object:
    try:
        json.dumps(value, allow_nan=False)
    # What is logged may be anything, and its own code may raise anything.
    except Exception:
        try:
            return _short.repr(value)
        except Exception:
            return f"<a {type(value).__name__} that cannot be printed>"
    return value
