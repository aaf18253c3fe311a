"""Celery's signals: so far `setup_logging`, and two of an application's own, which it has itself."""

from __future__ import annotations

from typing import NoReturn

from liteq.celery.absent import refuse_name
from liteq.signals import Signal, setup_logging

__all__ = ["Signal", "setup_logging"]

_NOT_YET = "liteq's workers do not send it yet; put what it does into the task, or into a module they import."
ABSENT = dict.fromkeys(
    (
        "before_task_publish",
        "after_task_publish",
        "task_prerun",
        "task_postrun",
        "task_success",
        "task_retry",
        "task_failure",
        "task_internal_error",
        "task_revoked",
        "task_received",
        "task_rejected",
        "task_unknown",
        "celeryd_init",
        "celeryd_after_setup",
        "worker_init",
        "worker_before_create_process",
        "worker_process_init",
        "worker_process_shutdown",
        "worker_ready",
        "worker_shutting_down",
        "worker_shutdown",
        "heartbeat_sent",
        "beat_init",
        "beat_embedded_init",
        "import_modules",
        "user_preload_options",
        "eventlet_pool_started",
    ),
    _NOT_YET,
) | dict.fromkeys(
    ("after_setup_logger", "after_setup_task_logger"),
    "connect to setup_logging, and configure all of it there; or give liteq worker --log-config FILE.",
)
"""What Celery has here, each with why it is not."""


def __getattr__(name: str) -> NoReturn:
    refuse_name(__name__, name, ABSENT)
