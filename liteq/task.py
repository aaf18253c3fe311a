"""A task: a registered function that can be called here, or enqueued to be called by a worker."""

from __future__ import annotations

from collections.abc import Callable, Coroutine, Mapping, Sequence
from functools import partial, update_wrapper
from typing import Any, Generic, NoReturn, ParamSpec, TypeVar, Unpack, cast

from liteq.app.conf import TaskSettings
from liteq.app.guard import refuse_while_importing
from liteq.app.naming import Naming
from liteq.app.store import Store
from liteq.calls import connection as user_connection
from liteq.calls.arguments import ArgumentCheck
from liteq.calls.bound import Bound
from liteq.calls.calling import Calling, call_arguments
from liteq.calls.checks import check_limits
from liteq.calls.joining import enqueue_on, join_point
from liteq.calls.options import CallOptions, Format, JobOptions, Placement, encode_options, place
from liteq.calls.request import Request, current, pop_request, push_request
from liteq.canvas import Signature
from liteq.codec import Codec, encode_call
from liteq.errors import (
    ConfigurationError,
    EncodingError,
    NotSupportedError,
    PayloadTooLargeError,
)
from liteq.ids import new_id
from liteq.job import NewJob, TaskOrigin
from liteq.result import AsyncResult, EagerResult
from liteq.retry import RetryPolicy

__all__ = ["AsyncTask", "Task"]

P = ParamSpec("P")
R = TypeVar("R")


class Task(Bound, Generic[P, R]):
    """A registered function; `@q.task` makes one.

    Calling it runs the function here, with no queue involved. `delay`, `apply_async` and what `options`
    and `using` return enqueue a call. With `bind=True` the function's first argument is the task itself,
    with `request`, `retry`, `update_state`, `transaction` and `complete`.

    Attributes:
        name: the task's name.
        fn: the function.
        bind: whether the function gets the task as its first argument.
        policy: its retry options.
        time_limit: seconds after which the process that runs a job is killed, or None.
        soft_time_limit: seconds after which `SoftTimeLimitExceeded` is raised inside the task, or None.
        max_crashes: how many times a job's process may die under it.
        ignore_result: whether nothing is stored of a success.
        queue_name: the queue name that its jobs wait in.
        priority: the priority of its jobs.
        codec: what encodes its arguments and results.
        origin: where a worker finds it; None if nobody else can import it.
    """

    def __init__(
        self, function: Callable[..., R], settings: TaskSettings, naming: Naming, store: Store
    ) -> None:
        # First, because it copies the function's attributes, and the task's own must win.
        update_wrapper(self, function)
        self.name = naming.name
        self.fn = function
        self.bind = settings.bind
        self.policy: RetryPolicy = settings.policy
        self.time_limit = settings.time_limit
        self.soft_time_limit = settings.soft_time_limit
        self.max_crashes = settings.max_crashes
        self.ignore_result = settings.ignore_result
        self.queue_name = settings.queue
        self.priority = settings.priority
        self.codec: Codec = store.settings.codecs.writer(settings.serializer, settings.compression)
        self.origin: TaskOrigin | None = naming.origin
        self.store = store
        self._result_expires = settings.result_expires
        protection = store.settings.protection
        # Eager jobs are stored nowhere.
        self._protection = protection if protection.is_on and not store.settings.eager else None
        self._check = ArgumentCheck(function, naming.name, settings.bind)
        self._homeless = naming.homeless if settings.name is None and store.crosses_processes else None
        self._placement = Placement(
            queue=settings.queue,
            priority=settings.priority,
            ignore_result=settings.ignore_result,
            expires_in=settings.expires,
        )

    def __call__(self, *args: P.args, **kwargs: P.kwargs) -> R:
        """Run the function here, as a plain call."""
        if not self.bind:
            return self.fn(*args, **kwargs)
        make = partial(Request, task=self.name, args=args, kwargs=kwargs, called_directly=True)
        token = push_request(make, direct=True)
        try:
            return self.fn(self, *args, **kwargs)
        finally:
            pop_request(token)

    def __repr__(self) -> str:
        return f"<Task {self.name}>"

    # ---- enqueueing --------------------------------------------------------------------------------

    def delay(self, *args: P.args, **kwargs: P.kwargs) -> AsyncResult[R]:
        """Enqueue a call with these arguments.

        When it returns the job is stored as safely as the queue's `durability` says; inside
        `Queue.transaction`, when the transaction has committed.

        Raises:
            SignatureError: the arguments do not fit the function.
            EncodingError: an argument cannot be encoded.
            PayloadTooLargeError: the encoded arguments are over the queue's `max_payload`.
            ConfigurationError: no worker could find the task, because no module holds it.
            ImportGuardError: a worker is importing this module for its tasks.
            StoreError: the file cannot serve.
        """
        return self._publish(args, kwargs, self._placement)

    def apply_async(
        self,
        args: Sequence[Any] | None = None,
        kwargs: Mapping[str, Any] | None = None,
        **options: Unpack[CallOptions],
    ) -> AsyncResult[R]:
        """Enqueue a call with options.

        Args:
            args: the positional arguments.
            kwargs: the arguments by name.
            options: see `CallOptions`.

        Raises:
            NotSupportedError: an option of Celery's that is not built yet.
            ConfigurationError: an unknown option, or a value that it cannot have.
            LiteqError: as `delay`.
        """
        placement = self.place(options) if options else self._placement
        return self._publish(*call_arguments(self.name, args, kwargs), placement)

    async def adelay(self, *args: P.args, **kwargs: P.kwargs) -> AsyncResult[R]:
        """Enqueue a call as `delay` does, without blocking the event loop.

        Inside `async with q.atransaction()` it joins that transaction. When it is cancelled, the job may have
        been stored or not.

        Raises:
            NotSupportedError: inside `with q.transaction()`, which is for `delay`.
            LiteqError: as `delay`.
        """
        return await self._apublish(args, kwargs, self._placement)

    async def aapply_async(
        self,
        args: Sequence[Any] | None = None,
        kwargs: Mapping[str, Any] | None = None,
        **options: Unpack[CallOptions],
    ) -> AsyncResult[R]:
        """Enqueue a call with options as `apply_async` does, without blocking the event loop.

        Args:
            args: the positional arguments.
            kwargs: the arguments by name.
            options: see `CallOptions`.

        Raises:
            LiteqError: as `apply_async` and `adelay`.
        """
        placement = self.place(options) if options else self._placement
        return await self._apublish(*call_arguments(self.name, args, kwargs), placement)

    def options(self, **options: Unpack[CallOptions]) -> Calling[P, R]:
        """Return the task with options, whose `delay` is typed like the task's own.

        Raises:
            NotSupportedError: an option of Celery's that is not built yet.
            ConfigurationError: an unknown option, or a value that it cannot have.
        """
        publishers = self._publish, self._apublish
        return Calling(self, publishers, self.place(options), self.place, {**options})

    def using(self, connection: user_connection.Connection) -> Calling[P, R]:
        """Return the task, to be enqueued on a sqlite3 connection that the caller opened to the queue's file.

        The jobs are part of the transaction that is open on it and become visible with its COMMIT; in
        autocommit mode they are stored at once.

        Raises:
            ConfigurationError: no sqlite3 connection, or one to another file.
            NotSupportedError: the queue is not a file.
        """
        transport = join_point(self.store, connection)
        publish = partial(self._publish_on, partial(enqueue_on, transport, connection, self.store.clock))
        return Calling(self, (publish, None), self._placement, self.place)

    def s(self, *args: Any, **kwargs: Any) -> Signature[AsyncResult[R]]:
        """Return a signature: a call of this task with these arguments, as a value."""
        return Signature(self, args, kwargs)

    def si(self, *args: Any, **kwargs: Any) -> Signature[AsyncResult[R]]:
        """Return an immutable signature, which takes no further arguments."""
        return Signature(self, args, kwargs, None, True)

    def place(self, options: Mapping[str, Any], base: Placement | None = None) -> Placement:
        """Return the placement that call options make of another, the task's own; raises as `apply_async`."""
        own = self._placement if base is None else base
        placement = place(self.name, own, options, self.store.settings.timezone)
        if placement.format is not None:
            self._codec_of(placement.format)
        given = placement.job_options
        self.check_limits(given, f"Task {self.name}")
        if given.time_limit is not None and not self.store.crosses_processes:
            raise NotSupportedError(
                f"Task {self.name}: time_limit ends a job by ending its process, and the workers of "
                f"{self.store.settings.url} are threads; use a queue file."
            )
        return placement

    def check_limits(self, given: JobOptions, what: str) -> None:
        """Raise ConfigurationError where the soft limit that holds for a call could never be reached."""
        check_limits(
            what,
            self.time_limit if given.time_limit is None else given.time_limit,
            self.soft_time_limit if given.soft_time_limit is None else given.soft_time_limit,
        )

    def new_job(
        self,
        args: Sequence[Any],
        kwargs: Mapping[str, Any],
        placement: Placement | None = None,
        sealed: bool = True,
    ) -> NewJob:
        """Return a checked and encoded call, ready to be stored; raises as `delay`.

        Args:
            args: the positional arguments.
            kwargs: the arguments by name.
            placement: where and when it is to run; default as the task says.
            sealed: encrypt and sign it, where the queue has keys.
        """
        if placement is None:
            placement = self._placement
        self._check.check(args, kwargs)
        try:
            codec = self.codec if placement.format is None else self._codec_of(placement.format)
            payload = encode_call(codec, args, kwargs, self._check.names)
        except EncodingError as error:
            raise EncodingError(f"Task {self.name}: {error} Nothing was stored.") from error
        if len(payload) > self.store.settings.max_payload:
            self._refuse_size(len(payload))
        if self._homeless is not None and not self.store.settings.eager:
            self._refuse_homeless(self._homeless)
        queue, priority, ignore_result, countdown, eta, expires_in, expires, task_id, options, blob, _ = (
            placement
        )
        if countdown is not None or expires_in is not None:
            now = self.store.clock.wall()
            eta = eta if countdown is None else now + countdown
            expires = expires if expires_in is None else now + expires_in
        if current() is not None:
            blob = _descended(options)
        job_id = new_id() if task_id is None else task_id
        # Made as the tuple that it is: through its own __new__, which is Python, it takes twice as long.
        job: NewJob = tuple.__new__(
            NewJob,
            (
                job_id,
                self.name,
                payload,
                codec.name,
                queue,
                priority,
                eta,
                expires,
                self.max_crashes,
                ignore_result,
                self._result_expires,
                blob,
            ),
        )
        return self._protection.seal(job) if self._protection is not None and sealed else job

    def _codec_of(self, given: Format) -> Codec:
        """Return what encodes a call that says something about it."""
        return self.store.settings.codecs.changed(self.codec.name, *given)

    def _publish(
        self, args: Sequence[Any], kwargs: Mapping[str, Any], placement: Placement
    ) -> AsyncResult[R]:
        refuse_while_importing(self.name)
        job = self.new_job(args, kwargs, placement)
        store = self.store
        if store.settings.eager:
            return self.run_eagerly(job)
        store.refuse_to_block("delay()")
        stored = store.transport().enqueue((job,), store.clock.wall())
        return AsyncResult(job.id, store, not store.in_transaction(), stored[0] and job.ignore_result)

    async def _apublish(
        self, args: Sequence[Any], kwargs: Mapping[str, Any], placement: Placement
    ) -> AsyncResult[R]:
        # Imported here because it imports asyncio, which most programs do not need.
        from liteq.aio.storing import run_elsewhere, store_jobs

        refuse_while_importing(self.name)
        job = self.new_job(args, kwargs, placement)
        store = self.store
        if store.settings.eager:
            return await run_elsewhere(partial(self.run_eagerly, job))
        (stored,), seen = await store_jobs(store, (job,))
        return AsyncResult(job.id, store, seen, stored and job.ignore_result)

    def _publish_on(
        self,
        enqueue: Callable[[NewJob], bool],
        args: Sequence[Any],
        kwargs: Mapping[str, Any],
        placement: Placement,
    ) -> AsyncResult[R]:
        refuse_while_importing(self.name)
        job = self.new_job(args, kwargs, placement)
        stored = enqueue(job)
        return AsyncResult(job.id, self.store, False, stored and job.ignore_result)

    def run_eagerly(self, job: NewJob) -> AsyncResult[R]:
        """Run a job here and now, as `eager=True` asks."""
        # Imported here because only tests use it, and the import of every program would pay for it.
        from liteq.calls.eager import run_eagerly

        function = partial(self.fn, self) if self.bind else self.fn
        codec = self.store.settings.codecs.get(job.codec)
        limits = self.soft_time_limit, self.time_limit
        ended = run_eagerly(job, function, codec, self.policy, limits)
        return EagerResult(ended, job.id, self.store)

    def _refuse_size(self, size: int) -> NoReturn:
        limit = self.store.settings.max_payload
        raise PayloadTooLargeError(
            f"Task {self.name}: the encoded arguments take {size:,} bytes, and the queue's max_payload is "
            f"{limit:,}. Nothing was stored. Pass a path or a key instead of the data, or raise max_payload."
        )

    def _refuse_homeless(self, reason: str) -> NoReturn:
        raise ConfigurationError(
            f"No worker could find task {self.name}: {reason}. Nothing was stored. Put the task into a "
            f"module that can be imported, or give it a name that workers know: @q.task(name='...')."
        )


class AsyncTask(Task[P, R]):
    """A registered async function, whose results are what it gives when it is awaited.

    A plain call gives the function's coroutine.
    """

    def __call__(self, *args: P.args, **kwargs: P.kwargs) -> Coroutine[Any, Any, R]:  # type: ignore[override]
        """Return the function's coroutine, to be awaited here, as a plain call."""
        if self.bind:
            return self._call_bound(*args, **kwargs)
        return cast("Coroutine[Any, Any, R]", self.fn(*args, **kwargs))

    async def _call_bound(self, *args: P.args, **kwargs: P.kwargs) -> R:
        make = partial(Request, task=self.name, args=args, kwargs=kwargs, called_directly=True)
        token = push_request(make, direct=True)
        try:
            return await cast("Coroutine[Any, Any, R]", self.fn(self, *args, **kwargs))
        finally:
            pop_request(token)


def _descended(options: JobOptions) -> bytes | None:
    """Return the options of a job that the running one enqueues."""
    running = current()
    if running is None:
        return encode_options(options)
    parent = running.request
    return encode_options(options._replace(parent_id=parent.id, root_id=parent.root_id or parent.id))
