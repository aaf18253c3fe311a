"""liteq: a task queue with no server. One SQLite file is the broker and the result store.

A program decorates functions and enqueues their calls; worker processes on the same file run them::

    from liteq import Queue

    q = Queue("queue.db")

    @q.task
    def add(x: int, y: int) -> int:
        return x + y

    if __name__ == "__main__":
        with q.start_workers(2):
            print(add.delay(1, 2).get(timeout=10))
"""

from __future__ import annotations

from liteq.aio.completed import as_completed
from liteq.aio.transactions import AsyncConnection, AsyncCursor
from liteq.app.moving import move
from liteq.calls.request import Request
from liteq.calls.task_logger import get_task_logger
from liteq.canvas import Signature
from liteq.codec import register_codec, register_type
from liteq.drained import Drained
from liteq.errors import (
    CodecError,
    ConfigurationError,
    ContentDisallowed,
    DecodingError,
    DescriptorsLostError,
    DrainTimeoutError,
    DuplicateScheduleError,
    DuplicateTaskError,
    EncodingError,
    EncryptionKeyError,
    ExtraRequiredError,
    Ignore,
    ImportGuardError,
    LeaseLostError,
    LiteqError,
    LiteqWarning,
    MaxRetriesExceededError,
    MoveRefusedError,
    NewerStoreError,
    NotAQueueError,
    NotSupportedError,
    PayloadTooLargeError,
    Reject,
    ResultExpired,
    ResultTimeoutError,
    Retry,
    ScheduleError,
    ScheduleNotLoadedError,
    SecurityError,
    SignatureError,
    SoftTimeLimitExceeded,
    StoreBusyError,
    StoreError,
    StoreFullError,
    StoreMovedError,
    StoreReplacedError,
    StoreUnavailableError,
    StoreUnreachableError,
    SyncSubtaskError,
    TaskError,
    TaskRevokedError,
    TaskSignal,
    TimeLimitExceeded,
    UnknownScheduleError,
    UnknownTaskError,
    WorkerError,
    WorkerLostError,
)
from liteq.moving import Moved
from liteq.queue import Queue
from liteq.result import AsyncResult
from liteq.schedule import cron, crontab, every, once, solar
from liteq.states import State
from liteq.task import Task

TimeoutError = ResultTimeoutError  # noqa: A001 (Celery's name for what `get(timeout=)` raises)

__version__ = "0.1.0"

__all__ = [
    "AsyncConnection",
    "AsyncCursor",
    "AsyncResult",
    "CodecError",
    "ConfigurationError",
    "ContentDisallowed",
    "DecodingError",
    "DescriptorsLostError",
    "DrainTimeoutError",
    "Drained",
    "DuplicateScheduleError",
    "DuplicateTaskError",
    "EncodingError",
    "EncryptionKeyError",
    "ExtraRequiredError",
    "Ignore",
    "ImportGuardError",
    "LeaseLostError",
    "LiteqError",
    "LiteqWarning",
    "MaxRetriesExceededError",
    "MoveRefusedError",
    "Moved",
    "NewerStoreError",
    "NotAQueueError",
    "NotSupportedError",
    "PayloadTooLargeError",
    "Queue",
    "Reject",
    "Request",
    "ResultExpired",
    "ResultTimeoutError",
    "Retry",
    "ScheduleError",
    "ScheduleNotLoadedError",
    "SecurityError",
    "Signature",
    "SignatureError",
    "SoftTimeLimitExceeded",
    "State",
    "StoreBusyError",
    "StoreError",
    "StoreFullError",
    "StoreMovedError",
    "StoreReplacedError",
    "StoreUnavailableError",
    "StoreUnreachableError",
    "SyncSubtaskError",
    "Task",
    "TaskError",
    "TaskRevokedError",
    "TaskSignal",
    "TimeLimitExceeded",
    "TimeoutError",
    "UnknownScheduleError",
    "UnknownTaskError",
    "WorkerError",
    "WorkerLostError",
    "as_completed",
    "cron",
    "crontab",
    "every",
    "get_task_logger",
    "move",
    "once",
    "register_codec",
    "register_type",
    "solar",
]
