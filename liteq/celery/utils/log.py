"""Loggers of tasks."""

from __future__ import annotations

from liteq.calls.task_logger import get_task_logger
from liteq.log import task_logger as get_logger

__all__ = ["get_logger", "get_task_logger"]
