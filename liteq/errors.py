"""What liteq raises.

Every error descends from `LiteqError`, and from the builtin that a caller would catch anyway::

    LiteqError
    ├── ConfigurationError (ValueError)      an option, name or URL that cannot be used
    │   ├── ExtraRequiredError (ImportError) an optional library is missing; names the extra
    │   ├── DuplicateTaskError               two tasks of one name
    │   ├── DuplicateScheduleError           two schedules of one name
    │   ├── ScheduleError                    a schedule that is impossible, or answers what it must not
    │   └── ImportGuardError (RuntimeError)  a task module starts work while a worker imports it
    ├── ScheduleNotLoadedError (LookupError) a schedule of the user's own, whose module is not imported here
    ├── UnknownTaskError (LookupError)       a task name that nobody registered here
    ├── UnknownScheduleError (KeyError)      a schedule name that the store does not have
    ├── SignatureError (TypeError)           arguments do not fit the task's signature
    ├── CodecError (ValueError)              bytes and values
    │   ├── EncodingError                    a value cannot be encoded; says which argument
    │   ├── DecodingError                    stored bytes are not what they claim to be
    │   │   ├── ContentDisallowed            they are of a codec that is not accepted here
    │   │   └── EncryptionKeyError           they are encrypted, and the key is not here
    │   └── PayloadTooLargeError             over `max_payload` bytes
    ├── StoreError (OSError)                 the queue file or its folder
    │   ├── StoreUnavailableError            missing folder, directory, read-only, network file system
    │   ├── NotAQueueError                   not a database, or another program's
    │   ├── NewerStoreError                  made by a newer liteq
    │   ├── StoreReplacedError               the file, or its folder, was deleted or replaced in use
    │   ├── StoreMovedError                  what it kept is, or is being moved, elsewhere
    │   ├── DescriptorsLostError             other code in this process has closed the file's descriptors
    │   ├── StoreFullError                   the disk is full
    │   └── StoreBusyError (TimeoutError)    the write lock was not free in time
    │       └── StoreUnreachableError (ConnectionError)  the server did not serve in time
    ├── NotSupportedError (RuntimeError)     not built, or not possible on this transport
    ├── MoveRefusedError (RuntimeError)      a store cannot be moved now, or not to that target
    ├── LeaseLostError (RuntimeError)        another worker has the job by now; nothing was written
    ├── SyncSubtaskError (RuntimeError)      `get()` inside a task
    ├── ResultTimeoutError (TimeoutError)    `get(timeout=)` ran out; also `liteq.TimeoutError`
    ├── DrainTimeoutError (TimeoutError)     `q.drain(timeout=)` ran out
    ├── ResultExpired (LookupError)          the result was kept, and is gone
    ├── WorkerError (RuntimeError)           workers could not start or go on
    └── TaskError                            how a job ended, as `get()` raises it
        ├── TaskRevokedError                 revoked, expired or purged before it ran
        ├── SecurityError                    not signed with a key of its queue, so it was not run
        ├── WorkerLostError                  its worker died under it too often
        ├── TimeLimitExceeded (TimeoutError) ended by its `time_limit`
        ├── SoftTimeLimitExceeded            raised inside the task after its `soft_time_limit`
        └── MaxRetriesExceededError          `self.retry()` with no attempt left

Three more are raised *by tasks* to steer their own job, and are no errors to a caller: `Retry`,
`Reject` and `Ignore` (all `TaskSignal`). What is no error, but has no effect, is told as a `LiteqWarning`.
"""

from __future__ import annotations

__all__ = [
    "CodecError",
    "ConfigurationError",
    "ContentDisallowed",
    "DecodingError",
    "DescriptorsLostError",
    "DrainTimeoutError",
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
    "NewerStoreError",
    "NotAQueueError",
    "NotSupportedError",
    "PayloadTooLargeError",
    "Reject",
    "ResultExpired",
    "ResultTimeoutError",
    "Retry",
    "ScheduleError",
    "ScheduleNotLoadedError",
    "SecurityError",
    "SignatureError",
    "SoftTimeLimitExceeded",
    "StoreBusyError",
    "StoreError",
    "StoreFullError",
    "StoreMovedError",
    "StoreReplacedError",
    "StoreUnavailableError",
    "StoreUnreachableError",
    "SyncSubtaskError",
    "TaskError",
    "TaskRevokedError",
    "TaskSignal",
    "TimeLimitExceeded",
    "UnknownScheduleError",
    "UnknownTaskError",
    "WorkerError",
    "WorkerLostError",
]


class LiteqError(Exception):
    """The root of everything that liteq raises."""


class LiteqWarning(UserWarning):
    """What a program asks for has no effect here; the message says what to write instead."""


class ConfigurationError(LiteqError, ValueError):
    """An option, a name or a URL cannot be used as it was given."""


class ExtraRequiredError(ConfigurationError, ImportError):
    """An optional library is not installed; the message names the extra that brings it."""


class DuplicateTaskError(ConfigurationError):
    """Two different functions were registered under one task name."""


class DuplicateScheduleError(ConfigurationError):
    """Two schedules have one name; the message says where both are declared."""


class ImportGuardError(ConfigurationError, RuntimeError):
    """A task module starts work when it is imported; it lacks an `if __name__ == "__main__":` guard."""


class ScheduleError(ConfigurationError):
    """A schedule is impossible, never runs, or answers what it must not; the message names the value."""


class ScheduleNotLoadedError(LiteqError, LookupError):
    """A stored schedule is an object of the user's own, whose module is not imported here."""


class UnknownTaskError(LiteqError, LookupError):
    """No task of this name is registered here."""


class UnknownScheduleError(LiteqError, KeyError):
    """No schedule of this name is stored; the message names the nearest one that is."""

    # That of KeyError would quote the message.
    __str__ = Exception.__str__


class SignatureError(LiteqError, TypeError):
    """The arguments do not fit the task's signature."""


class CodecError(LiteqError, ValueError):
    """A payload could not be turned into bytes, or bytes into a payload."""


class EncodingError(CodecError):
    """A value cannot be encoded; the message says which argument and of what type."""


class DecodingError(CodecError):
    """Stored bytes are not a payload of the codec they claim."""


class ContentDisallowed(DecodingError):
    """A payload is of a codec that the queue does not accept, so nothing of it was decoded."""


class EncryptionKeyError(DecodingError):
    """A payload is encrypted with a key that is not here."""


class PayloadTooLargeError(CodecError):
    """The encoded payload is over the queue's `max_payload` bytes."""


class StoreError(LiteqError, OSError):
    """The queue's file, or the folder around it, cannot serve."""


class StoreUnavailableError(StoreError):
    """The file cannot be opened: no such folder, a directory, read-only, or a network file system."""


class NotAQueueError(StoreError):
    """The file is not a database, or is another program's database without liteq tables."""


class NewerStoreError(StoreError):
    """The file was made by a newer liteq; this one touches nothing in it."""


class StoreReplacedError(StoreError):
    """The file, or the folder beside it, was deleted, emptied or replaced while it was in use."""


class StoreMovedError(StoreError):
    """What the queue kept was moved to another store, or is being moved; the message says where to."""


class DescriptorsLostError(StoreError):
    """Other code in this process has closed or replaced descriptors that the queue is written through."""


class StoreFullError(StoreError):
    """The disk is full; nothing of this transaction was stored."""


class StoreBusyError(StoreError, TimeoutError):
    """The write lock was not free before the deadline; nothing was stored."""


class StoreUnreachableError(StoreBusyError, ConnectionError):
    """The server of the queue did not serve before the deadline; what was under way may have been done."""


class NotSupportedError(LiteqError, RuntimeError):
    """Not built yet, or not possible on this transport."""


class MoveRefusedError(LiteqError, RuntimeError):
    """A store cannot be moved now, or not to that target; the message says what is in the way."""


class LeaseLostError(LiteqError, RuntimeError):
    """The running job's lease has passed to another worker, so this attempt can change nothing any more."""


class SyncSubtaskError(LiteqError, RuntimeError):
    """A task waited for another task's result, which can starve the workers of each other."""


class ResultTimeoutError(LiteqError, TimeoutError):
    """The job was not done within `get(timeout=)` seconds; it goes on, and may be waited for again."""


class DrainTimeoutError(LiteqError, TimeoutError):
    """`q.drain(timeout=...)` ran out before everything had run; what ran is stored, and the rest waits."""


class ResultExpired(LiteqError, LookupError):
    """The job is done and its result was discarded, because `result_expires` seconds have passed."""


class WorkerError(LiteqError, RuntimeError):
    """Workers could not be started, or cannot go on."""


class TaskError(LiteqError):
    """A job failed with an exception whose own type is not at hand here.

    Attributes:
        exception_type: the dotted name of the type that was raised in the worker.
        message: what `str()` of it gave there.
        remote_traceback: the traceback as text, or None.
    """

    def __init__(
        self,
        message: str = "",
        exception_type: str | None = None,
        remote_traceback: str | None = None,
    ) -> None:
        super().__init__(message)
        self.message = message
        self.exception_type = exception_type
        self.remote_traceback = remote_traceback

    def __str__(self) -> str:
        if self.exception_type is None:
            return self.message
        return f"{self.exception_type}: {self.message}"


class TaskRevokedError(TaskError):
    """The job was revoked, expired or purged before it ran; the message says which."""


class SecurityError(TaskError):
    """The job is not signed with a key of its task's queue, so that it was neither decoded nor run."""


class WorkerLostError(TaskError):
    """The worker process died while it ran this job, as often as `max_crashes` allows."""


class TimeLimitExceeded(TaskError, TimeoutError):
    """The job ran longer than its `time_limit` and its process was killed."""


class SoftTimeLimitExceeded(TaskError):
    """The job ran longer than its `soft_time_limit`; raised inside the task, which may catch it and tidy up.

    It is no `TimeoutError`, because that is an `OSError`, which many a task catches around its own work.
    """

    def __init__(self, message: str = "The task ran longer than its soft time limit.") -> None:
        super().__init__(message)


class MaxRetriesExceededError(TaskError):
    """`self.retry()` was called and no attempt is left."""


class TaskSignal(LiteqError):
    """What a task raises to steer its own job."""


class Retry(TaskSignal):
    """Run this job again later; `self.retry()` makes and raises it.

    Attributes:
        due: the UTC time in seconds since the epoch at which the next attempt may start.
        exc: the exception that made the task ask, or None.
        max_retries: the limit that holds for this request; None for no limit.
    """

    def __init__(
        self,
        message: str = "",
        exc: BaseException | None = None,
        due: float = 0.0,
        max_retries: int | None = None,
    ) -> None:
        super().__init__(message)
        self.message = message
        self.exc = exc
        self.due = due
        self.max_retries = max_retries


class Reject(TaskSignal):
    """Refuse this job: it ends FAILURE with this reason, or goes back to the queue with `requeue=True`."""

    def __init__(self, reason: object = None, requeue: bool = False) -> None:
        super().__init__(reason, requeue)
        self.reason = reason
        self.requeue = requeue

    def __str__(self) -> str:
        return "" if self.reason is None else str(self.reason)


class Ignore(TaskSignal):
    """End this job without storing a result; a state set by `update_state` is kept."""
