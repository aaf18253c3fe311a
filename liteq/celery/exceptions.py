"""Celery's names for what is raised; each is the class that liteq raises.

What Celery has and liteq never raises is not here, and importing it says why.
"""

from __future__ import annotations

from typing import NoReturn

from liteq.celery.absent import refuse_name
from liteq.errors import (
    ConfigurationError,
    DecodingError,
    DuplicateTaskError,
    EncodingError,
    Ignore,
    LiteqError,
    LiteqWarning,
    MaxRetriesExceededError,
    NotSupportedError,
    Reject,
    ResultTimeoutError,
    Retry,
    SecurityError,
    SoftTimeLimitExceeded,
    StoreError,
    TaskError,
    TaskRevokedError,
    TaskSignal,
    TimeLimitExceeded,
    UnknownTaskError,
    WorkerLostError,
)

CeleryError = LiteqError
CeleryWarning = LiteqWarning
TaskPredicate = TaskSignal
ImproperlyConfigured = ConfigurationError
AlreadyRegistered = DuplicateTaskError
TimeoutError = ResultTimeoutError  # noqa: A001 (Celery's name)
OperationalError = BackendError = StoreError
EncodeError = EncodingError
DecodeError = ContentDisallowed = DecodingError


class NotRegistered(UnknownTaskError, KeyError):
    """No task of this name is registered with the application."""

    __str__ = Exception.__str__


__all__ = [
    "AlreadyRegistered",
    "BackendError",
    "CeleryError",
    "CeleryWarning",
    "ContentDisallowed",
    "DecodeError",
    "EncodeError",
    "Ignore",
    "ImproperlyConfigured",
    "MaxRetriesExceededError",
    "NotRegistered",
    "NotSupportedError",
    "OperationalError",
    "Reject",
    "Retry",
    "SecurityError",
    "SoftTimeLimitExceeded",
    "TaskError",
    "TaskPredicate",
    "TaskRevokedError",
    "TimeLimitExceeded",
    "TimeoutError",
    "WorkerLostError",
]

_NEVER = "liteq never raises it."
ABSENT = {
    "ChordError": "workflows are not built yet.",
    "IncompleteStream": _NEVER,
    "InvalidTaskError": _NEVER,
    "QueueNotFound": "every queue name is one, and needs no declaration.",
    "Terminated": "a running job cannot be ended from outside yet.",
    "WorkerShutdown": _NEVER,
    "WorkerTerminate": _NEVER,
    "NotConfigured": _NEVER,
    "AlwaysEagerIgnored": _NEVER,
    "DuplicateNodenameWarning": _NEVER,
    "FixupWarning": _NEVER,
}
"""What Celery has here, each with why it is not."""


def __getattr__(name: str) -> NoReturn:
    refuse_name(__name__, name, ABSENT)
