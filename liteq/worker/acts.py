"""What the task of one attempt can do to its own job while it runs."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from typing import Protocol, cast

from liteq.calls import connection as user_connection
from liteq.calls.request import Post
from liteq.errors import ConfigurationError, NotSupportedError
from liteq.job import Claim, Transition
from liteq.transport import Transport

__all__ = ["AttemptActs"]


class Engine(Protocol):
    """What runs the attempt, as its acts see it."""

    url: str
    """The store that its jobs come from."""

    def encode_result(self, job: Claim, value: object) -> bytes | None:
        """Encode what a job is to give; None for nothing."""

    def encode_meta(self, job: Claim, state: str, meta: object) -> bytes | None:
        """Encode the meta of a state of the task's own; None for nothing."""

    def report(self, job: Claim, state: str, encoded: bytes | None) -> None:
        """Store a state of the task's own."""

    def succeed(self, job: Claim, result: bytes | None) -> Transition:
        """Decide about a job that has succeeded."""


class AttemptActs:
    """The acts of one attempt; made for every job, so that its making must cost next to nothing.

    Args:
        engine: what runs the attempt.
        job: the claim.

    Attributes:
        completed: the job has ended in a transaction of its own, and nothing is left to settle.
        value: the result that it was given there.
        reported: the state that the task has set itself, with its meta; None for none.
    """

    completed = False
    value: object = None
    reported: tuple[str, bytes | None] | None = None
    _result: bytes | None = None
    _in_block = False
    _later: _Later | None = None

    def __init__(self, engine: Engine, job: Claim) -> None:
        self._engine = engine
        self._job = job

    def update_state(self, state: str, meta: object, post: Post | None = None) -> None:
        """Store a state and its meta; see `liteq.calls.request.Acts`."""
        self.reported = state, encoded = state, self._engine.encode_meta(self._job, state, meta)
        tell = partial(self._engine.report, self._job, state, encoded)
        if post is not None and self._later is None:
            self._later = _Later(post)
        # What is to be stored later must not come after what is told now.
        if self._later is None or (post is None and not self._later.is_waiting):
            tell()
        else:
            self._later.add(tell)

    @contextmanager
    def transaction(self, transport: Transport) -> Iterator[user_connection.Connection]:
        """Open a transaction that ends the job as it commits; see `Task.transaction`."""
        if self.completed:
            raise NotSupportedError(f"Job {self._job.id} has completed in a transaction already.")
        if transport.url != self._engine.url:
            raise ConfigurationError(
                f"Task {self._job.task} belongs to the queue {transport.url}, and this job came from "
                f"{self._engine.url}. A transaction covers one file; start workers on the task's own queue."
            )
        self._result = self.value = None
        with transport.completion(self._job.seq, self._job.token, self._settlement) as connection:
            self._in_block = True
            try:
                yield cast("user_connection.Connection", connection)
            finally:
                self._in_block = False
        self.completed = True

    def complete(self, value: object) -> None:
        """Encode the result that the block is to store."""
        if not self._in_block:
            raise NotSupportedError(
                f"Task {self._job.task}: complete() says what the result of `with self.transaction()` is, "
                "and belongs inside that block; elsewhere, return the result."
            )
        self._result = self._engine.encode_result(self._job, value)
        self.value = value

    def _settlement(self) -> Transition:
        return self._engine.succeed(self._job, self._result)


class _Later:
    """States that another thread is to store, in the order in which they were told.

    Args:
        post: lets that thread call something.
    """

    def __init__(self, post: Post) -> None:
        self._post = post
        self._states: deque[Callable[[], None]] = deque()

    @property
    def is_waiting(self) -> bool:
        """Whether one is not stored yet."""
        return bool(self._states)

    def add(self, tell: Callable[[], None]) -> None:
        """Let one be stored."""
        self._states.append(tell)
        self._post(self._tell)

    def _tell(self) -> None:
        try:
            self._states[0]()
        finally:
            self._states.popleft()
