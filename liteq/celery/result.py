"""Results by Celery's constructor: `AsyncResult(id, app=app)`."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any, NoReturn, Self

from liteq import result as own
from liteq.calls.checks import check_name
from liteq.celery.absent import refuse_attribute, refuse_name
from liteq.celery.state import app_or_default
from liteq.errors import NotSupportedError

__all__ = ["AsyncResult", "EagerResult"]

_WORKFLOWS = "workflows are not built yet."
ABSENT_ATTRIBUTES = {
    "children": _WORKFLOWS,
    "parent": _WORKFLOWS,
    "graph": _WORKFLOWS,
    "collect": _WORKFLOWS,
    "iterdeps": _WORKFLOWS,
    "get_leaf": _WORKFLOWS,
    "then": "wait for it with get().",
    "backend": "the queue's file keeps the results.",
    "worker": "which worker ran a job is not kept.",
}
"""What Celery's results have and these lack, each with why."""


class _Asked:
    """What Celery's results take and have besides."""

    __slots__ = ()

    def get(
        self: Any,
        timeout: float | None = None,
        propagate: bool = True,
        interval: float | None = None,
        no_ack: bool = True,
        follow_parents: bool = True,
        callback: None = None,
        on_message: None = None,
        on_interval: None = None,
        disable_sync_subtasks: bool | None = None,
    ) -> Any:
        """Wait for the result and return it; see `liteq.AsyncResult.get`.

        `interval`, `no_ack` and `follow_parents` are of no effect: nobody polls.

        Raises:
            NotSupportedError: a function to be called meanwhile.
        """
        if any(function is not None for function in (callback, on_message, on_interval)):
            raise NotSupportedError("get() calls nothing while it waits; call it yourself with the result.")
        return own.AsyncResult.get(self, timeout, propagate, disable_sync_subtasks)

    wait = get

    def maybe_throw(self: Any, propagate: bool = True, callback: None = None) -> Any:
        """Return the result as it is now; raise what the job has failed with."""
        found = self.result
        if propagate and self.status in ("FAILURE", "REVOKED"):
            raise found
        return found

    @property
    def name(self: Any) -> str | None:
        """The task's name; None if there is no such job."""
        job = self._read()
        return None if job is None else job.task

    @property
    def retries(self: Any) -> int | None:
        """How many attempts failed; None if there is no such job."""
        job = self._read()
        return None if job is None else job.retries

    @property
    def date_done(self: Any) -> datetime | None:
        """When the job finished, in UTC; None if it has not."""
        job = self._read()
        return None if job is None or job.done is None else datetime.fromtimestamp(job.done, UTC)

    def __getattr__(self, name: str) -> NoReturn:
        refuse_attribute(self, name, ABSENT_ATTRIBUTES)


class AsyncResult(_Asked, own.AsyncResult[Any]):  # type: ignore[misc]
    """A job by its id.

    Args:
        id: the job's id.
        backend: None; the application's file keeps the results.
        task_name: of no effect.
        app: the application; default the current one.
        parent: of no effect.
    """

    __slots__ = ("app",)

    def __init__(
        self,
        id: str,  # noqa: A002 (Celery's name)
        backend: None = None,
        task_name: str | None = None,
        app: Any = None,
        parent: Any = None,
    ) -> None:
        if backend is not None:
            raise NotSupportedError("AsyncResult takes no backend: the application's file keeps the results.")
        self.app = app_or_default(app)
        super().__init__(check_name("id", id), self.app.queue.store)

    @classmethod
    def of(cls, result: own.AsyncResult[Any], app: Any) -> Self:
        """Return a result of liteq's as one of these."""
        made = cls(result.id, app=app)
        made._store, made._seen, made._ignored = result._store, result._seen, result._ignored
        return made

    def revoke(  # type: ignore[override]
        self,
        connection: None = None,
        terminate: bool = False,
        signal: Any = None,
        wait: bool = False,
        timeout: float | None = None,
    ) -> bool:
        """Revoke the job if it still waits; see `liteq.AsyncResult.revoke`."""
        return super().revoke(terminate)


class EagerResult(_Asked, own.EagerResult[Any]):  # type: ignore[misc]
    """A job that ran in its caller."""

    __slots__ = ("app",)

    def __init__(self, result: own.EagerResult[Any], app: Any) -> None:
        super().__init__(result._job, result.id, result._store)
        self._ignored = result._ignored
        self.app = app


ABSENT = {
    "GroupResult": _WORKFLOWS,
    "ResultSet": _WORKFLOWS,
    "ResultBase": "use AsyncResult.",
    "result_from_tuple": "an id says all: AsyncResult(id).",
    "allow_join_result": "give disable_sync_subtasks=False to get().",
    "denied_join_result": "get() in a task is refused anyway.",
}
"""What Celery has here, each with why it is not."""


def __getattr__(name: str) -> NoReturn:
    refuse_name(__name__, name, ABSENT)
