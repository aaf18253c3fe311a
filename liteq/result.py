"""What a caller holds of a job: its state, its result, and waiting for it."""

from __future__ import annotations

import time
from collections.abc import Generator
from typing import Any, Generic, TypeVar, cast

from liteq.app.store import LOOK_EVERY, Store
from liteq.calls.checks import check_seconds
from liteq.calls.request import current
from liteq.codec.contents import Contents
from liteq.codec.protection import Protection
from liteq.errors import (
    DecodingError,
    EncryptionKeyError,
    NotSupportedError,
    ResultExpired,
    ResultTimeoutError,
    SyncSubtaskError,
    TaskError,
    TaskRevokedError,
)
from liteq.ids import id_time
from liteq.job import Job
from liteq.states import FAILURE, PENDING, RETRY, REVOKED, STARTED, SUCCESS
from liteq.transport import EXPIRED

__all__ = ["AsyncResult", "EagerResult"]

R = TypeVar("R")

REVOKED_BY_CALLER = "revoked"
"""The reason of a job that its caller revoked."""


class AsyncResult(Generic[R]):
    """A job as its caller sees it; the store is read anew by every method.

    One that `as_completed` has given keeps the finished job as it was read. Two results are equal if they are
    of the same job id.

    Attributes:
        id: the job's id.
    """

    __slots__ = ("_ignored", "_kept", "_seen", "_store", "id")

    def __init__(self, job_id: str, store: Store, seen: bool = False, ignored: bool = False) -> None:
        self.id = job_id
        self._store = store
        self._seen = seen
        """The job is known to have been stored, so that a missing record is a lost one."""
        self._ignored = ignored
        """The job leaves no record when it succeeds."""
        self._kept: Job | None = None
        """The finished job, where `as_completed` has read it."""

    # ---- reading -----------------------------------------------------------------------------------

    @property
    def task_id(self) -> str:
        """The job's id, by Celery's name."""
        return self.id

    @property
    def status(self) -> str:
        """The job's state: one of `liteq.states`, or one that the task set itself.

        An unknown id reads PENDING; `exists()` tells the two apart. A waiting job whose `expires` has
        passed reads REVOKED.
        """
        return self._state(self._read())

    @property
    def state(self) -> str:
        """The same as `status`."""
        return self.status

    def exists(self) -> bool:
        """Tell whether the store has a record of this job."""
        return self._read() is not None

    def ready(self) -> bool:
        """Tell whether the job is finished: SUCCESS, FAILURE or REVOKED."""
        job = self._read()
        if job is None:
            return self._ignored
        return job.finished or self._has_lapsed(job)

    def successful(self) -> bool:
        """Tell whether the job ended SUCCESS."""
        return self.status == SUCCESS

    def failed(self) -> bool:
        """Tell whether the job ended FAILURE."""
        return self.status == FAILURE

    @property
    def result(self) -> Any:
        """What the state carries.

        The value on SUCCESS; the exception, not raised, on FAILURE, RETRY and REVOKED; the meta that the
        task gave on a state of its own; None else.

        Raises:
            DecodingError: the stored bytes need a type or codec that is not registered here, or are of a
                codec that the queue does not accept.
        """
        job = self._read()
        return None if job is None else self._content(job, self._state(job))

    @property
    def info(self) -> Any:
        """The same as `result`."""
        return self.result

    @property
    def traceback(self) -> str | None:
        """The traceback in the worker, as text, of a job that failed or waits for a retry; None else."""
        job = self._read()
        failed = None if job is None else _failed(job, self._contents())
        return failed[1] if failed else None

    # ---- waiting -----------------------------------------------------------------------------------

    def get(
        self,
        timeout: float | None = None,
        propagate: bool = True,
        disable_sync_subtasks: bool | None = None,
    ) -> R:
        """Wait until the job is finished and return what its task returned.

        Args:
            timeout: the most seconds to wait; None for as long as it takes.
            propagate: raise the task's exception; with False it is returned.
            disable_sync_subtasks: refuse to wait inside a task, where it can starve the workers of each
                other; default the queue's own setting, which is True unless it was changed.

        Raises:
            ResultTimeoutError: the job was not finished in time; it goes on.
            TaskRevokedError: the job was revoked, expired or purged before it ran.
            ResultExpired: the job is finished and its record is gone.
            SyncSubtaskError: called inside a task.
            NotSupportedError: called inside `q.transaction()`.
            Exception: what the task raised, of its own type where that is at hand, else a `TaskError`.
        """
        self._refuse_to_block(disable_sync_subtasks)
        deadline = None if timeout is None else time.monotonic() + check_seconds("timeout", timeout)
        job = self._read(deadline) if self._kept is None else self._kept
        if not self._is_over(job):
            job = self._wait(job, deadline, timeout)
        return self._outcome(job, propagate)

    async def aget(
        self,
        timeout: float | None = None,
        propagate: bool = True,
        disable_sync_subtasks: bool | None = None,
    ) -> R:
        """Wait as `get` does, without blocking the event loop; `await result` is the same without arguments.

        However many coroutines wait for results of one queue, one thread waits for them all. Cancelling it
        does nothing to the job.

        Args:
            timeout: the most seconds to wait; None for as long as it takes.
            propagate: raise the task's exception; with False it is returned.
            disable_sync_subtasks: refuse to wait inside a task; default the queue's own setting.

        Raises:
            StoreUnavailableError: the queue was closed meanwhile.
            NotSupportedError: called inside `q.transaction()` or `q.atransaction()`.
            Exception: as `get`.
        """
        self._refuse_to_block(disable_sync_subtasks)
        # Imported here because it imports asyncio, which most programs do not need.
        from liteq.aio.waiting import outcome_of, wait_for

        return await outcome_of(self, await wait_for(self, timeout), propagate)

    def __await__(self) -> Generator[Any, None, R]:
        """Wait for the result as `aget()` does, and return it."""
        return self.aget().__await__()

    def _refuse_to_block(self, disable: bool | None) -> None:
        if self._store.in_transaction():
            raise NotSupportedError(
                f"Job {self.id}: get() inside q.transaction() would wait for a job that nobody sees before "
                f"the COMMIT; leave the block first."
            )
        if disable is None:
            disable = self._store.settings.disable_sync_subtasks
        running = current() if disable else None
        if running is not None:
            raise SyncSubtaskError(
                f"Task {running.request.task} waits for the result of job {self.id}, which can block all "
                f"workers for ever; do without it, or call get(disable_sync_subtasks=False)."
            )

    def _wait(self, job: Job | None, deadline: float | None, timeout: float | None) -> Job | None:
        listener = self._store.transport().listen_for_result(self.id)
        try:
            while True:
                listener.arm()
                job = self._read(deadline)
                if self._is_over(job):
                    return job
                pause = LOOK_EVERY
                if deadline is not None:
                    pause = min(pause, deadline - time.monotonic())
                if pause <= 0:
                    raise self._late(job, timeout)
                if job is not None and job.holder is None and job.expires is not None:
                    pause = min(pause, max(0.001, job.expires - self._store.clock.wall()))
                listener.wait(pause)
        finally:
            listener.close()

    def _late(self, job: Job | None, timeout: float | None) -> ResultTimeoutError:
        """Return what tells that a job was not finished in so many seconds."""
        if job is None:
            return ResultTimeoutError(
                f"There was no job {self.id} in {self._store.settings.url} within {timeout:g} s; "
                f"check the id and the queue."
            )
        return ResultTimeoutError(
            f"Job {self.id} is {self._state(job)} after {timeout:g} s. It goes on, and may be waited for "
            f"again."
        )

    def _is_over(self, job: Job | None) -> bool:
        if job is None:
            return self._ignored or self._was_discarded()
        return job.finished or self._has_lapsed(job)

    def _was_discarded(self) -> bool:
        if self._seen:
            return True
        made = id_time(self.id)
        kept = self._store.settings.result_expires
        return made is not None and kept > 0 and made + kept < self._store.clock.wall()

    def _outcome(self, job: Job | None, propagate: bool) -> R:
        """Return or raise what a job has come to, as `get` does."""
        if job is None:
            if self._ignored:
                return cast(R, None)
            raise ResultExpired(f"Job {self.id} has no record any more: its result expired or was forgotten.")
        state = self._state(job)
        content = self._content(job, state)
        if state not in (FAILURE, REVOKED):
            return cast(R, content)
        error = (
            content if isinstance(content, BaseException) else TaskError(f"Job {job.id} failed: {content!r}")
        )
        if propagate:
            raise error
        return cast(R, error)

    # ---- acting ------------------------------------------------------------------------------------

    def revoke(self, terminate: bool = False) -> bool:
        """Revoke the job if it still waits; it ends REVOKED and never runs.

        Returns:
            True if it was revoked; False if it runs, is finished or is unknown.

        Raises:
            NotSupportedError: `terminate`; a running job cannot be ended yet.
        """
        if terminate:
            raise NotSupportedError(
                f"Job {self.id}: revoke(terminate=True) is not built yet; "
                f"a task's time_limit ends a job that runs too long."
            )
        return self._store.transport().revoke([self.id], self._store.clock.wall(), REVOKED_BY_CALLER)[0]

    def forget(self) -> bool:
        """Drop the job's record; one that still runs or waits will leave none when it is finished.

        Returns:
            True if there was a job.
        """
        self._kept = None
        return self._store.transport().forget(self.id)

    # ---- the store ---------------------------------------------------------------------------------

    def _read(self, deadline: float | None = None) -> Job | None:
        transport = self._store.transport()
        with transport.until(deadline):
            return self._note(transport.get((self.id,))[0])

    def _note(self, job: Job | None) -> Job | None:
        """Take note of the job as the store has it, and return it."""
        if job is not None:
            self._seen = True
            self._ignored = job.ignore_result
        return job

    def _has_lapsed(self, job: Job) -> bool:
        """Tell whether a waiting job's `expires` has passed, though nobody has swept it yet."""
        waits = not job.finished and job.holder is None
        return waits and job.expires is not None and job.expires <= self._store.clock.wall()

    def _state(self, job: Job | None) -> str:
        if job is None:
            return SUCCESS if self._ignored else PENDING
        return REVOKED if self._has_lapsed(job) else job.state

    def _content(self, job: Job, state: str) -> Any:
        if state == REVOKED:
            return TaskRevokedError(f"Job {job.id} of task {job.task} was revoked: {job.reason or EXPIRED}.")
        if state == FAILURE and job.result is None:
            return TaskError(job.reason or f"Job {job.id} failed.")
        if job.result is None or state in (PENDING, STARTED):
            return None
        contents = self._contents()
        failed = _failed(job, contents, may_import=self._store.is_trusted())
        if failed:
            return failed[0]
        return contents.read(job, job.state, job.result)

    def _contents(self) -> Contents:
        return self._store.settings.contents

    def __eq__(self, other: object) -> bool:
        return self.id == other.id if isinstance(other, AsyncResult) else NotImplemented

    def __hash__(self) -> int:
        return hash(self.id)

    def __str__(self) -> str:
        """Return the job's id, as in Celery."""
        return self.id

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self.id}>"


class EagerResult(AsyncResult[R]):
    """A job that ran in its caller (`eager=True`) and is known here only."""

    __slots__ = ("_job",)

    def __init__(self, job: Job | None, job_id: str, store: Store) -> None:
        super().__init__(job_id, store, seen=True, ignored=job is None)
        self._job = job

    async def aget(
        self,
        timeout: float | None = None,
        propagate: bool = True,
        disable_sync_subtasks: bool | None = None,
    ) -> R:
        """Return or raise what the job has come to."""
        return self.get(timeout, propagate, disable_sync_subtasks)

    def revoke(self, terminate: bool = False) -> bool:
        """Return False: the job is finished."""
        return False

    def forget(self) -> bool:
        """Drop the result."""
        known, self._job = self._job is not None, None
        return known

    def _contents(self) -> Contents:
        # Nobody else has had it in hand.
        return Contents(self._store.settings.codecs, Protection())

    def _read(self, deadline: float | None = None) -> Job | None:
        return self._job


def _failed(
    job: Job, contents: Contents, may_import: bool = False
) -> tuple[BaseException, str | None] | None:
    """Return the stored exception and its traceback; None where the state carries something else.

    A task may itself report FAILURE with a meta of its own and then raise Ignore.
    """
    if job.result is None or job.state not in (FAILURE, RETRY):
        return None
    # Imported here because it is slow to import, and most jobs do not fail.
    from liteq.failure import decode_failure, restore

    try:
        failure = decode_failure(contents.failure(job))
    except EncryptionKeyError:
        raise
    except DecodingError:
        return None
    return restore(failure, may_import=may_import), failure.traceback or None
