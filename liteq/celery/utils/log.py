"""Loggers of tasks."""

from __future__ import annotations

import logging

__all__ = ["get_logger", "get_task_logger"]

_TASKS = logging.getLogger("liteq.task")
"""Its lines go where a worker's own go, at the worker's level."""


def get_logger(name: str) -> logging.Logger:
    """Return the logger of that name, under the one whose lines a worker shows."""
    logger = logging.getLogger(name)
    if logger.parent is logging.root and logger not in (_TASKS, _TASKS.parent):
        logger.parent = _TASKS
    return logger


def get_task_logger(name: str) -> logging.Logger:
    """Return the logger for the tasks of a module: `get_task_logger(__name__)`."""
    return get_logger(name)
