"""What a running task knows about its own job, and which job runs here now."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from contextvars import ContextVar, Token
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, Protocol

from liteq.calls import connection as user_connection
from liteq.calls.options import decode_options
from liteq.job import DEFAULT_QUEUE, Claim
from liteq.transport import Transport

__all__ = [
    "Acts",
    "Output",
    "Post",
    "Request",
    "RunningTask",
    "current",
    "innermost",
    "pop_request",
    "push_request",
]


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """The job that a task runs for, as `self.request`.

    Attributes:
        id: the job's id; None when the task was called directly.
        task: the task's name.
        args: the positional arguments.
        kwargs: the keyword arguments.
        retries: how many attempts failed before this one.
        attempt: the number of this attempt, from 1.
        queue: the queue name it waited in.
        priority: the priority it was given.
        eta: the time before which it was not to start, in UTC, or None.
        expires: the time at which it would have been revoked, in UTC, or None.
        headers: what the caller attached.
        root_id: the job at the root of the calls that led here; its own id if no task called it.
        parent_id: the job whose task called it, or None.
        hostname: the worker's name.
        timelimit: the soft and the hard time limit in seconds, each or None.
        is_eager: the task runs in its caller because of `eager=True`.
        called_directly: the task was called as a plain function; no job is involved.
    """

    task: str
    id: str | None = None
    args: Sequence[Any] = ()
    kwargs: Mapping[str, Any] = field(default_factory=dict)
    retries: int = 0
    attempt: int = 1
    queue: str = DEFAULT_QUEUE
    priority: int = 0
    eta: datetime | None = None
    expires: datetime | None = None
    headers: Mapping[str, Any] = field(default_factory=dict)
    root_id: str | None = None
    parent_id: str | None = None
    hostname: str | None = None
    timelimit: tuple[float | None, float | None] = (None, None)
    is_eager: bool = False
    called_directly: bool = False

    @classmethod
    def of(
        cls,
        job: Claim,
        args: Sequence[Any],
        kwargs: Mapping[str, Any],
        *,
        hostname: str | None = None,
        limits: tuple[float | None, float | None] = (None, None),
        is_eager: bool = False,
    ) -> Request:
        """Return the request of a claimed job whose arguments were decoded already.

        Args:
            job: the claim.
            args: its positional arguments.
            kwargs: its keyword arguments.
            hostname: the worker's name.
            limits: the task's own soft and hard time limit; one that was given at the call wins over it.
            is_eager: True in eager mode.
        """
        options = decode_options(job.options)
        soft, hard = limits
        return cls(
            task=job.task,
            id=job.id,
            args=args,
            kwargs=kwargs,
            retries=job.retries,
            attempt=job.attempts,
            queue=job.queue,
            priority=job.priority,
            eta=_as_datetime(job.eta),
            expires=_as_datetime(job.expires),
            headers=options.headers,
            root_id=options.root_id or job.id,
            parent_id=options.parent_id,
            hostname=hostname,
            timelimit=(
                soft if options.soft_time_limit is None else options.soft_time_limit,
                hard if options.time_limit is None else options.time_limit,
            ),
            is_eager=is_eager,
        )


Post = Callable[[Callable[[], object]], object]
"""Lets another thread call something, after all that it was given before; returns at once."""


class Acts(Protocol):
    """What a running task can do to its own job; the engine that runs it provides them."""

    def update_state(self, state: str, meta: object, post: Post | None = None) -> None:
        """Store a state of the task's own, and its meta.

        Args:
            state: the state's name.
            meta: what `AsyncResult.info` is to return.
            post: what lets another thread store it, where this one must not wait for the store.
        """

    def transaction(self, transport: Transport) -> AbstractContextManager[user_connection.Connection]:
        """Open a transaction on the store that ends the job as it commits."""

    def complete(self, value: object) -> None:
        """Say what the result is, inside that transaction."""


class Output(Protocol):
    """What a task has written and is not in the log yet."""

    def close(self) -> None:
        """Bring it there; called once when the task has ended."""


class RunningTask:
    """The task that runs in this thread now; its request is made when it is first read.

    Args:
        make: makes the request.
        acts: what it can do to its job; None where there is none.
        direct: a plain call of a bound task, which is no job of its own.
        outer: what ran here before.

    Attributes:
        output: what it has written to redirected streams, if it has.
    """

    __slots__ = ("_make", "_request", "acts", "direct", "outer", "output")

    def __init__(
        self,
        make: Callable[[], Request],
        acts: Acts | None = None,
        direct: bool = False,
        outer: RunningTask | None = None,
    ) -> None:
        self._make = make
        self._request: Request | None = None
        self.acts = acts
        self.direct = direct
        self.outer = outer
        self.output: Output | None = None

    @property
    def request(self) -> Request:
        """The request, made at the first look."""
        request = self._request
        if request is None:
            request = self._request = self._make()
        return request


_running: ContextVar[RunningTask | None] = ContextVar("liteq_running", default=None)

innermost = _running.get
"""Return what runs in this thread now, a plain call of a bound task included; None outside of any task."""


def push_request(
    make: Callable[[], Request],
    acts: Acts | None = None,
    direct: bool = False,
) -> Token[RunningTask | None]:
    """Say that a job's task runs in this thread from now on.

    Costs about half a microsecond; the request itself is made only if somebody reads it.

    Args:
        make: makes the request; called at most once.
        acts: what the task can do to its job.
        direct: True for a plain call.

    Returns:
        What `pop_request` takes.
    """
    return _running.set(RunningTask(make, acts, direct, _running.get()))


def pop_request(token: Token[RunningTask | None]) -> None:
    """Say that what was pushed has ended."""
    running = _running.get()
    if running is not None and running.output is not None:
        running.output.close()
    _running.reset(token)


def current() -> RunningTask | None:
    """Return the job's task that runs in this thread, through any plain calls it makes; None outside."""
    running = _running.get()
    while running is not None and running.direct:
        running = running.outer
    return running


def _as_datetime(seconds: float | None) -> datetime | None:
    return None if seconds is None else datetime.fromtimestamp(seconds, UTC)
