"""Celery's `celery.app`: the application and its tasks."""

from __future__ import annotations

from liteq.celery.app.base import Celery
from liteq.celery.app.sharing import shared_task
from liteq.celery.app.task import Task
from liteq.celery.state import app_or_default

__all__ = ["Celery", "Task", "app_or_default", "shared_task"]
