"""Loggers of tasks, whose lines go where a worker's own go, and tell which job wrote them."""

from __future__ import annotations

from liteq.calls import logger as logging_type

__all__ = ["get_task_logger"]


def get_task_logger(name: str) -> logging_type.Logger:
    """Return the logger for the tasks of a module: `get_task_logger(__name__)`.

    What is logged on it goes where the worker's own lines go, at the worker's level, and every record has the
    attributes `task_name`, `task_id` and `attempt`, which are None outside of a job.

    Args:
        name: the logger's name.
    """
    # Imported here because most programs that enqueue have no use for it.
    from liteq.log import task_logger

    return task_logger(name)
