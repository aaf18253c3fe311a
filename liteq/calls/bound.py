"""What a task can ask and do while its own job runs: the `self` of a function with `bind=True`."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime, timedelta
from functools import partial
from typing import Any, NoReturn, cast

from liteq.aio.transactions import AsyncTransaction, joined
from liteq.app.store import Store
from liteq.calls import connection as user_connection
from liteq.calls.checks import check_name, check_seconds, check_whole, utc_seconds
from liteq.calls.request import Acts, Post, Request, innermost
from liteq.errors import ConfigurationError, MaxRetriesExceededError, NotSupportedError, Retry
from liteq.retry import RetryPolicy

__all__ = ["Bound"]


class Bound:
    """The part of a task that is about the job which runs in this thread.

    Attributes:
        name: the task's name.
        policy: its retry options.
        store: its queue's hold on the transport.
    """

    name: str
    policy: RetryPolicy
    store: Store

    @property
    def request(self) -> Request:
        """The job that runs in this thread, if it is of this task; else one that is `called_directly`."""
        running = innermost()
        if running is not None and running.request.task == self.name:
            return running.request
        return Request(task=self.name, called_directly=True)

    def update_state(self, state: str, meta: object = None) -> None:
        """Store a state of the task's own for the running job, such as "PROGRESS", with its meta.

        Does nothing when the task was called directly. On a full disk the state is not stored and the task
        goes on, with one line in the worker's log for each job: a job does not fail because its progress
        finds no room.

        Args:
            state: the state's name.
            meta: what `AsyncResult.info` is to return.

        Raises:
            ConfigurationError: the state is not a string of 1 to 200 characters.
            EncodingError: the meta cannot be encoded.
            NotSupportedError: this thread is inside a transaction on the queue's file.
        """
        check_name("state", state)
        acts = _acts()
        if acts is None:
            return
        if self.store.in_transaction():
            raise NotSupportedError(
                f"Task {self.name}: update_state() inside a transaction would wait for that transaction, and "
                "nobody would see the state before its COMMIT; call it before the block."
            )
        acts.update_state(state, meta, self._post_state())

    def _post_state(self) -> Post | None:
        """Return what stores a state later, where another job's transaction is open on this event loop.

        Raises:
            NotSupportedError: the transaction is the caller's own.
        """
        if not self.store.is_loop_held():
            return None
        if joined(self.store) is not None:
            self.store.refuse_to_block("update_state()")
        # Imported here because it imports asyncio, which whoever has an event loop has imported already.
        from liteq.aio.hub import hub_of

        return hub_of(self.store).courier.post

    @contextmanager
    def transaction(self) -> Iterator[user_connection.Connection]:
        """Open a transaction on the queue's file in which the running job ends, with the task's own writes.

        When the block ends, what it wrote, the jobs it enqueued and the job's SUCCESS are committed
        together; an exception that leaves the block rolls all of it back, and then ends the job as it
        would anywhere else. Once committed, nothing that the task does or raises changes the outcome.
        So the block's effects happen exactly once, however often the job had to be begun.

        Keep it short: nobody else can write to the file meanwhile. In a task that was called directly, in
        one that another task's job uses, and in a thread that the task has started, it is a transaction
        like `Queue.transaction`, and ends no job.

        Yields:
            A `sqlite3.Connection` on the queue's file, in a transaction that holds the write lock.

        Raises:
            LeaseLostError: another worker has the job by now; nothing is written.
            NotSupportedError: a queue that is not a file, or an eager one; the job has completed already.
            ConfigurationError: the worker takes its jobs from another file than this task's queue.
            StoreError: the file cannot serve.
        """
        self.store.refuse_to_block("transaction()")
        with self._opened(self._own_acts()) as connection:
            yield connection

    def atransaction(self) -> AsyncTransaction:
        """Open the same with `async with`, in an async task, which gets an `AsyncConnection`.

        What the task enqueues there with `adelay` joins it, and `complete` says what the job's result is.

        Raises:
            LiteqError: when it is entered or left, as `transaction` and `Queue.atransaction`.
        """
        return AsyncTransaction(self.store, partial(self._opened, self._own_acts()))

    @contextmanager
    def _opened(self, acts: Acts | None) -> Iterator[user_connection.Connection]:
        transport = self.store.transport()
        opened = transport.transaction() if acts is None else acts.transaction(transport)
        with opened as connection, self.store.note_transaction():
            yield cast("user_connection.Connection", connection)

    def complete(self, value: object = None) -> None:
        """Say what the job's result is, inside such a block; without it, the result is None.

        Given twice, the last one counts. Does nothing when the task was called directly.

        Args:
            value: the result.

        Raises:
            EncodingError: the value cannot be encoded.
            NotSupportedError: outside of such a block.
        """
        acts = self._own_acts()
        if acts is not None:
            acts.complete(value)

    def _own_acts(self) -> Acts | None:
        """Return what can be done to the job that runs here, if it is one of this task."""
        running = innermost()
        return None if running is None or running.request.task != self.name else _acts()

    def retry(
        self,
        *,
        exc: BaseException | None = None,
        countdown: float | timedelta | None = None,
        eta: datetime | None = None,
        max_retries: int | None = None,
        throw: bool = True,
        **options: Any,
    ) -> Retry:
        """Ask for another attempt of the running job, as Celery does: `raise self.retry(exc=error)`.

        Args:
            exc: why; what the job fails with when no retry is left.
            countdown: seconds until the next attempt; default the task's `default_retry_delay`.
            eta: the time of the next attempt; not together with `countdown`.
            max_retries: the limit for this job instead of the task's.
            throw: raise the `Retry`; with False it is returned, for the task to raise.
            options: refused; Celery takes new arguments and options for the next attempt.

        Raises:
            Retry: the job is to be tried again.
            MaxRetriesExceededError: no retry is left, and no `exc` was given.
            BaseException: `exc`, if no retry is left or the task was called directly.
            NotSupportedError: an option that is not built yet, such as new arguments.
            ConfigurationError: a value that an option cannot have.
        """
        if options:
            raise NotSupportedError(
                f"Task {self.name}: retry() does not take {', '.join(options)}; a job is retried with the "
                f"arguments and options that it has."
            )
        request = self.request
        handled = sys.exc_info()[1]
        if request.called_directly:
            _raise_from(exc if exc is not None else Retry("Task can be retried", handled), handled)
        due, when = self._next_attempt(countdown, eta)
        limit = self.policy.max_retries if max_retries is None else check_whole("max_retries", max_retries)
        if limit is not None and request.retries >= limit:
            text = f"Can't retry {self.name}[{request.id}] args:{request.args} kwargs:{request.kwargs}"
            _raise_from(exc if exc is not None else MaxRetriesExceededError(text), handled)
        cause = exc if exc is not None else handled
        retry = Retry(when if cause is None else f"{when}: {cause!r}", cause, due, limit)
        if throw:
            raise retry
        return retry

    def _next_attempt(self, countdown: float | timedelta | None, eta: datetime | None) -> tuple[float, str]:
        if eta is not None:
            if countdown is not None:
                raise ConfigurationError(
                    f"{self.name}: retry() got both eta and countdown; give one of them."
                )
            return utc_seconds("eta", eta, self.store.settings.timezone), f"Retry at {eta}"
        if countdown is None:
            countdown = self.policy.default_retry_delay
        seconds = check_seconds("countdown", countdown)
        return self.store.clock.wall() + seconds, f"Retry in {seconds:g}s"


def _acts() -> Acts | None:
    """Return what can be done to the job that runs here; None in a plain call."""
    running = innermost()
    return None if running is None or running.direct else running.acts


def _raise_from(error: BaseException, handled: BaseException | None) -> NoReturn:
    """Raise an error; the one that is being handled is its cause, unless it is the same."""
    if handled is None or error is handled:
        raise error
    raise error from handled
