"""Enqueueing many calls: encoded before each transaction begins, up to a thousand to a transaction."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import Generic, TypeVar

from liteq.app.store import Store
from liteq.canvas import Signature
from liteq.errors import ConfigurationError, LiteqError
from liteq.job import NewJob
from liteq.result import AsyncResult
from liteq.task import Task

__all__ = ["CHUNK", "Bulk", "enqueue_signatures"]

R = TypeVar("R")

CHUNK = 1000
"""Jobs stored in one transaction."""
CHUNK_BYTES = 16 << 20
"""Payloads after which fewer are stored in one: a store holds up others meanwhile."""


def enqueue_signatures(
    store: Store, signatures: Iterable[Signature[AsyncResult[R]]], atomic: bool
) -> list[AsyncResult[R]]:
    """Enqueue calls on a store, all of its own tasks; see `Queue.enqueue_many`."""
    bulk: Bulk[R] = Bulk(store, atomic)
    with bulk.saying_where("enqueue_many()"):
        for signature in signatures:
            if bulk.add(signature):
                _store(bulk)
        if store.settings.eager:
            return bulk.run_eagerly()
        if bulk.chunk:
            _store(bulk)
    return bulk.results


def _store(bulk: Bulk[R]) -> None:
    store = bulk.store
    store.refuse_to_block("enqueue_many()")
    bulk.note(store.transport().enqueue(bulk.chunk, store.clock.wall()), not store.in_transaction())


class Bulk(Generic[R]):
    """Many calls on their way into a store.

    Args:
        store: where they go.
        atomic: all in one transaction.

    Attributes:
        chunk: the jobs of the next transaction.
        results: those of the calls that are stored.
    """

    def __init__(self, store: Store, atomic: bool) -> None:
        self.store = store
        self.chunk: list[NewJob] = []
        self.results: list[AsyncResult[R]] = []
        self._is_eager = store.settings.eager
        self._most = None if atomic or self._is_eager else CHUNK
        self._room = CHUNK_BYTES
        self._task: Task[..., R] | None = None
        self._eager: list[Task[..., R]] = []

    def add(self, signature: Signature[AsyncResult[R]]) -> bool:
        """Check and encode a call; raises as `Task.delay`.

        Returns:
            Whether the chunk is to be stored before more is added.
        """
        task = self._task
        if task is None or type(signature) is not Signature or signature.task is not task:
            task = self._task = _task_of(signature, self.store)
        placement = task.place(signature.options) if signature.options else None
        chunk = self.chunk
        job = task.new_job(signature.args, signature.kwargs, placement)
        chunk.append(job)
        self._room -= len(job.payload)
        if self._is_eager:
            self._eager.append(task)
        return len(chunk) == self._most or (self._room <= 0 and self._most is not None)

    def note(self, stored: Sequence[bool], seen: bool) -> None:
        """Note that the chunk is stored.

        Args:
            stored: for each job, whether it is new.
            seen: whether they are there for certain.
        """
        self.results += [
            AsyncResult(job.id, self.store, seen, is_new and job.ignore_result)
            for job, is_new in zip(self.chunk, stored, strict=True)
        ]
        self.chunk = []
        self._room = CHUNK_BYTES

    def run_eagerly(self) -> list[AsyncResult[R]]:
        """Run all calls here and now."""
        return [task.run_eagerly(job) for task, job in zip(self._eager, self.chunk, strict=True)]

    @contextmanager
    def saying_where(self, what: str) -> Iterator[None]:
        """Add to an error of the block how much was stored; ours say it in their message."""
        try:
            yield
        except Exception as error:
            stored = len(self.results)
            position = stored + len(self.chunk)
            where = f"{what} stopped at element {position} (from 0), and stored the first {stored}."
            if isinstance(error, LiteqError) and error.args and isinstance(error.args[0], str):
                error.args = (f"{error.args[0]} {where}", *error.args[1:])
            else:
                error.add_note(where)
            raise


def _task_of(signature: Signature[AsyncResult[R]], store: Store) -> Task[..., R]:
    if not isinstance(signature, Signature):
        raise ConfigurationError(
            f"enqueue_many() takes signatures, as task.s(...) makes them, not {signature!r}."
        )
    task = signature.task
    if not isinstance(task, Task) or task.store is not store:
        raise ConfigurationError(f"{task!r} belongs to another queue; enqueue it there.")
    return task
