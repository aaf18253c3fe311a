"""Enqueueing many calls: encoded before each transaction begins, a thousand to a transaction."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TypeVar

from liteq.app.store import Store
from liteq.canvas import Signature
from liteq.errors import ConfigurationError, LiteqError
from liteq.job import NewJob
from liteq.result import AsyncResult
from liteq.task import Task

__all__ = ["CHUNK", "enqueue_signatures"]

R = TypeVar("R")

CHUNK = 1000
"""Jobs stored in one transaction."""


def enqueue_signatures(
    store: Store, signatures: Iterable[Signature[AsyncResult[R]]], atomic: bool
) -> list[AsyncResult[R]]:
    """Enqueue calls on a store, all of its own tasks; see `Queue.enqueue_many`."""
    results: list[AsyncResult[R]] = []
    chunk: list[NewJob] = []
    eager: list[Task[..., R]] = []
    task: Task[..., R] | None = None
    try:
        for signature in signatures:
            if task is None or type(signature) is not Signature or signature.task is not task:
                task = _task_of(signature, store)
            placement = task.place(signature.options) if signature.options else None
            chunk.append(task.new_job(signature.args, signature.kwargs, placement))
            if store.settings.eager:
                eager.append(task)
            elif len(chunk) == CHUNK and not atomic:
                results += _stored(store, chunk)
                chunk = []
        if eager:
            return [task.run_eagerly(job) for task, job in zip(eager, chunk, strict=True)]
        if chunk:
            results += _stored(store, chunk)
    except Exception as error:
        _say_where(error, len(results), len(results) + len(chunk))
        raise
    return results


def _task_of(signature: Signature[AsyncResult[R]], store: Store) -> Task[..., R]:
    if not isinstance(signature, Signature):
        raise ConfigurationError(
            f"enqueue_many() takes signatures, as task.s(...) makes them, not {signature!r}."
        )
    task = signature.task
    if not isinstance(task, Task) or task.store is not store:
        raise ConfigurationError(f"{task!r} belongs to another queue; enqueue it there.")
    return task


def _stored(store: Store, jobs: list[NewJob]) -> list[AsyncResult[R]]:
    stored = store.transport().enqueue(jobs, store.clock.wall())
    seen = not store.in_transaction()
    return [
        AsyncResult(job.id, store, seen, is_new and job.ignore_result)
        for job, is_new in zip(jobs, stored, strict=True)
    ]


def _say_where(error: Exception, stored: int, position: int) -> None:
    """Add to an error how much of a bulk call was stored; ours say it in their message."""
    where = f"enqueue_many() stopped at element {position} (from 0), and stored the first {stored}."
    if isinstance(error, LiteqError) and error.args and isinstance(error.args[0], str):
        error.args = (f"{error.args[0]} {where}", *error.args[1:])
    else:
        error.add_note(where)
