"""The facade: `Queue`, the application object."""

from __future__ import annotations

import inspect
import os
from collections.abc import Callable, Coroutine, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import timedelta, tzinfo
from types import TracebackType
from typing import Any, Literal, ParamSpec, Protocol, Self, TypeVar, Unpack, cast, overload

from liteq.app.asynchronous import Asynchronous
from liteq.app.bulk import enqueue_signatures
from liteq.app.conf import QueueSettings, SigningKey, TaskOptions, TaskSettings, queue_settings
from liteq.app.declaring import Declarations
from liteq.app.draining import Draining, queue_names
from liteq.app.elsewhere import find_task
from liteq.app.guard import refuse_while_importing
from liteq.app.naming import name_task
from liteq.app.opening import open_transport
from liteq.app.payload_conf import PayloadOptions
from liteq.app.periodic import PeriodicWork
from liteq.app.reconciling import reconcile_declared
from liteq.app.registering import RegistersBound, RegistersPlain
from liteq.app.store import Store
from liteq.calls import connection as user_connection
from liteq.calls.arguments import check_function
from liteq.calls.checks import check_flag, check_name, check_whole
from liteq.calls.options import CallOptions
from liteq.canvas import Signature
from liteq.errors import ConfigurationError, NotSupportedError
from liteq.job import DEFAULT_QUEUE, DEFAULT_RESULT_EXPIRES
from liteq.registry import Registry
from liteq.result import AsyncResult
from liteq.task import AsyncTask, Task
from liteq.transport import Transport

__all__ = ["Queue", "Workers", "open_transport"]

P = ParamSpec("P")
R = TypeVar("R")


class Workers(Protocol):
    """Running workers, as `Queue.start_workers` returns them."""

    def stop(self, timeout: float | None = None) -> None:
        """End the workers when they have finished the jobs that they run; idempotent.

        Args:
            timeout: seconds that running jobs get; then they go back to the queue. None for no limit.
        """

    def __enter__(self) -> Self: ...

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None: ...


class Queue(PeriodicWork, Draining, Asynchronous):
    """A task queue on one SQLite file, or on Redis: registers tasks, enqueues their calls, and reads results.

    Making one touches nothing; it is opened at first use, and again in a forked child. It may be used
    from any number of threads.

    Args:
        url: the file's path (a str or PathLike), `sqlite:///path`, `memory://` for a queue within this
            process, or a Redis server's. A relative path starts in the working directory of this moment.
        durability: "full": a stored job survives a power cut; "normal": a power cut may lose about the
            last second. Both survive the death of any process. On Redis the server's settings decide.
        serializer: the codec of arguments and results: "msgpack", "json", "yaml" or another (see `accept`).
        result_expires: seconds (or a timedelta) that a finished job is kept; None or 0 for ever.
        visibility_timeout: seconds that a worker's lease on a job lasts without renewal; at least 0.1.
        timezone: the zone of times without one, as an IANA name or a tzinfo.
        eager: run tasks at once in the caller instead of storing them, for tests.
        max_payload: the most bytes that a call's encoded arguments may take.
        disable_sync_subtasks: refuse `get()` inside tasks.
        default_queue: the queue name of tasks that name none.
        busy_timeout: seconds to wait for the file's write lock, or the server, before a StoreBusyError.
        create: create the file or its tables where there are none.
        file_mode: who may use a file that is made here: 0o600 for this user alone, 0o660 for the file's group
            as well. A file that is there keeps its mode; what stands beside it follows that.
        signing_key: sign each job with this key, of at least 16 bytes, and let workers run no job of this
            queue's tasks that is not signed with it. With a list of keys the first signs and all are
            accepted. Keys stay in this process: each program and worker has to have them.
        payload_options: which codecs are accepted, and how payloads are compressed and encrypted; see
            `PayloadOptions`.

    Attributes:
        registry: the tasks by name.
        store: the hold on the transport.
        declarations: the recurring work that is declared with it.

    Raises:
        ConfigurationError: a value that a setting cannot have.
    """

    def __init__(
        self,
        url: str | os.PathLike[str],
        *,
        durability: Literal["full", "normal"] = "full",
        serializer: str = "msgpack",
        result_expires: float | timedelta | None = DEFAULT_RESULT_EXPIRES,
        visibility_timeout: float | timedelta = 60.0,
        timezone: str | tzinfo = "UTC",
        eager: bool = False,
        max_payload: int = 1 << 20,
        disable_sync_subtasks: bool = True,
        default_queue: str = DEFAULT_QUEUE,
        busy_timeout: float | timedelta = 30.0,
        create: bool = True,
        file_mode: int = 0o600,
        signing_key: SigningKey = None,
        **payload_options: Unpack[PayloadOptions],
    ) -> None:
        settings = queue_settings(
            url,
            durability=durability,
            serializer=serializer,
            result_expires=result_expires,
            visibility_timeout=visibility_timeout,
            timezone=timezone,
            eager=eager,
            max_payload=max_payload,
            disable_sync_subtasks=disable_sync_subtasks,
            default_queue=default_queue,
            busy_timeout=busy_timeout,
            create=create,
            file_mode=file_mode,
            signing_key=signing_key,
            **payload_options,
        )
        self.registry = Registry()
        self.store = Store(settings, _open)
        self.declarations = Declarations(self.store, self.registry, self)

    @property
    def settings(self) -> QueueSettings:
        """The settings, checked."""
        return self.store.settings

    @property
    def url(self) -> str:
        """The file's absolute path, or the URL, without any password."""
        return self.settings.url

    @property
    def tasks(self) -> Mapping[str, Task[..., Any]]:
        """The registered tasks by name."""
        return self.registry.tasks

    @property
    def transport(self) -> Transport:
        """The open transport; raises StoreError if the file cannot serve."""
        return self.store.transport()

    # ---- registering -------------------------------------------------------------------------------

    @overload
    def task(self, function: Callable[P, Coroutine[Any, Any, R]], /) -> AsyncTask[P, R]: ...

    @overload
    def task(self, function: Callable[P, R], /) -> Task[P, R]: ...

    @overload
    def task(
        self, function: None = None, /, *, bind: Literal[True], **options: Unpack[TaskOptions]
    ) -> RegistersBound: ...

    @overload
    def task(
        self, function: None = None, /, *, bind: Literal[False] = False, **options: Unpack[TaskOptions]
    ) -> RegistersPlain: ...

    def task(
        self, function: Callable[..., Any] | None = None, /, *, bind: bool = False, **options: Any
    ) -> Any:
        """Make a function a task: `@q.task`, or `@q.task(...)` with options.

        Args:
            function: the function, plain or async, where the decorator has no options.
            bind: pass the task itself as the first argument.
            options: see `TaskOptions`.

        Raises:
            ConfigurationError: not a function, an unknown option, or a value that it cannot have.
            NotSupportedError: a generator function, or an option that is not built yet.
            DuplicateTaskError: another function has this task name.
        """
        settings = TaskSettings.of({**options, "bind": bind}, self.settings)

        def register(function: Callable[..., R]) -> Task[..., R]:
            if isinstance(function, Task):
                raise ConfigurationError(f"{function!r} is a task already.")
            check_function(function)
            naming = name_task(function, settings.name)
            kind = AsyncTask[..., R] if inspect.iscoroutinefunction(function) else Task[..., R]
            task = kind(function, settings, naming, self.store)
            self.registry.add(task)
            if task.origin is not None:
                self.store.declare(task.origin)
            return task

        return register if function is None else register(function)

    # ---- enqueueing --------------------------------------------------------------------------------

    def enqueue_many(
        self, signatures: Iterable[Signature[AsyncResult[R]]], *, atomic: bool = False
    ) -> list[AsyncResult[R]]:
        """Enqueue many calls in few transactions, and wake the workers once for each.

        Args:
            signatures: the calls, as `task.s(...)` makes them; a generator is read as they are stored.
            atomic: store all in one transaction, or none; else 1,000 in each.

        Returns:
            A result for each signature, in order.

        Raises:
            LiteqError: as `Task.delay`, for the first signature that cannot be enqueued. Nothing of its
                transaction is stored; the message says how many were stored before.
        """
        refuse_while_importing("enqueue_many()")
        return enqueue_signatures(self.store, signatures, check_flag("atomic", atomic))

    def send_task(
        self,
        name: str,
        args: Sequence[Any] | None = None,
        kwargs: Mapping[str, Any] | None = None,
        **options: Unpack[CallOptions],
    ) -> AsyncResult[Any]:
        """Enqueue a call of a task by its name, whether or not this program has the task.

        Of one that is registered elsewhere nothing is known here: its arguments are not checked, and its own
        options (queue, priority, serializer, max_crashes ...) do not apply.

        Args:
            name: the task's name.
            args: the positional arguments.
            kwargs: the arguments by name.
            options: see `CallOptions`.

        Raises:
            NotSupportedError: an eager queue that does not have the task.
            LiteqError: as `Task.apply_async`.
        """
        task = find_task(name, self.store, self.registry.tasks)
        return task.apply_async(args, kwargs, **options)

    @contextmanager
    def transaction(self) -> Iterator[user_connection.Connection]:
        """Open a transaction on the queue's file, in which the caller's own rows and jobs commit together.

        What this thread enqueues inside the block joins it. Leaving the block commits; an exception rolls
        everything back.

        Yields:
            A `sqlite3.Connection` on the queue's file, in a transaction that holds the write lock.

        Raises:
            NotSupportedError: an eager queue, or one that is not a file.
            StoreError: the file cannot serve.
        """
        self.store.refuse_to_block("transaction()")
        with self.store.transport().transaction() as connection, self.store.note_transaction():
            yield cast("user_connection.Connection", connection)

    def AsyncResult(self, job_id: str) -> AsyncResult[Any]:  # noqa: N802 (Celery's name)
        """Return the result of a job by its id, whether or not there is such a job."""
        return AsyncResult(check_name("job_id", job_id), self.store)

    # ---- running -----------------------------------------------------------------------------------

    def start_workers(
        self,
        n: int | None = None,
        *,
        queues: Sequence[str] | None = None,
        loglevel: str = "WARNING",
        name: str = "worker",
        beat: bool = True,
        pool: str | None = None,
        processes: int | None = None,
    ) -> Workers:
        """Start a supervisor in this process, with worker processes that run this queue's jobs.

        It installs no signal handlers. The workers of a `memory://` queue are threads of this process.

        Args:
            n: how many worker processes; default one for each processor. Of a pool that runs several jobs in
                a process, how many at once in each.
            queues: the queue names to serve; default all.
            loglevel: the level of the workers' log lines.
            name: the workers' name, as `liteq inspect` shows it.
            beat: fire schedules too; of all who do so on one file, normally one is awake.
            pool: how jobs run: "processes" (the default), "threads", "asyncio", "gevent", "eventlet", "solo",
                or the name of another package's pool.
            processes: how many processes run several jobs each; default 1.

        Returns:
            A context manager; leaving its block, or `stop()`, ends the workers when they have finished the
            jobs that they run.

        Raises:
            ImportGuardError: a worker is importing this module for its tasks.
            ConfigurationError: a value that an argument cannot have.
            ExtraRequiredError: what the pool needs is not installed.
            NotSupportedError: an eager queue, or a pool that cannot run its tasks or here.
            WorkerError: the workers could not start.
        """
        refuse_while_importing("start_workers()")
        if self.settings.eager:
            raise NotSupportedError("An eager queue needs no workers: it runs tasks at once in the caller.")
        # Imported here because programs that only enqueue have no use for it.
        from liteq.app.starting import start_workers

        reconcile_declared(self.transport, self.url, self)
        return start_workers(
            self.store,
            self.registry,
            count=None if n is None else check_whole("n", n, least=1),
            pool=None if pool is None else check_name("pool", pool),
            processes=None if processes is None else check_whole("processes", processes, least=1),
            queues=queue_names(queues),
            loglevel=_level(loglevel),
            name=check_name("name", name),
            beat=check_flag("beat", beat),
        )

    def start_scheduler(self) -> Workers:
        """Start a scheduler in a thread of this process, for programs without workers.

        What is declared with this queue is brought into the store first. Workers run one too, unless they
        are told not to.

        Returns:
            A context manager; leaving its block, or `stop()`, ends the thread.

        Raises:
            ImportGuardError: a worker is importing this module for its tasks.
            NotSupportedError: an eager queue.
            StoreError: the file cannot serve.
        """
        refuse_while_importing("start_scheduler()")
        if self.settings.eager:
            raise NotSupportedError("An eager queue stores nothing, so it has no schedules to fire.")
        # Imported here because programs that only enqueue have no use for it.
        from liteq.app.starting import start_scheduler

        reconcile_declared(self.transport, self.url, self)
        return start_scheduler(self.store, self.registry)

    def close(self) -> None:
        """Close the file; the next use opens it again. The jobs of a `memory://` queue are gone."""
        self.store.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()

    def __repr__(self) -> str:
        return f"<Queue {self.url}>"


def _level(name: object) -> str:
    levels = ("DEBUG", "INFO", "WARNING", "ERROR", "CRITICAL")
    level = name.upper() if isinstance(name, str) else ""
    if level not in levels:
        raise ConfigurationError(f"loglevel must be one of {', '.join(levels)}, not {name!r}.")
    return level


def _open(settings: QueueSettings) -> Transport:
    return open_transport(settings.url, **settings.transport_settings())
