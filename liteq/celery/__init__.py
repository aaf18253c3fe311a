"""Celery programs on liteq, by changing one import: `from liteq.celery import Celery`.

A translation and nothing more: an application is a `liteq.Queue`, its tasks are the queue's tasks, and its
settings are the queue's settings. `docs/migrating-from-celery.md` says what is the same, what differs, and
what is absent.
"""

from __future__ import annotations

from typing import NoReturn

from liteq.celery import canvas
from liteq.celery.absent import refuse_name
from liteq.celery.app.base import Celery
from liteq.celery.app.sharing import shared_task
from liteq.celery.app.task import Task
from liteq.celery.canvas import Signature, maybe_signature, signature, subtask
from liteq.celery.state import current_app, current_task
from liteq.celery.utils import uuid

__all__ = [
    "Celery",
    "Signature",
    "Task",
    "current_app",
    "current_task",
    "maybe_signature",
    "shared_task",
    "signature",
    "subtask",
    "uuid",
]

_WORKER = "parts of Celery's worker, which is not liteq's."
ABSENT = {
    **canvas.ABSENT,
    "bugreport": "see `liteq doctor`.",
    "task": "write @app.task, or @shared_task.",
    "beat": "the scheduler is liteq's own: `liteq beat`, app.queue.start_scheduler(), app.queue.schedules.",
    "bin": "the commands are liteq's: `liteq worker`, `liteq beat` and others; see `liteq --help`.",
    "contrib": "what is in it is for Celery's own worker, brokers and tests; liteq.testing is for tests.",
    "apps": _WORKER,
    "backends": "the queue's file keeps the results.",
    "bootsteps": _WORKER,
    "concurrency": _WORKER,
    "events": "there are no events yet.",
    "loaders": "modules are imported as Python does it.",
    "platforms": _WORKER,
    "security": "a queue signs its jobs with conf.queue_options = {'signing_key': ...}.",
    "worker": _WORKER,
}
"""What Celery has here, each with why it is not."""


def __getattr__(name: str) -> NoReturn:
    refuse_name(__name__, name, ABSENT)
