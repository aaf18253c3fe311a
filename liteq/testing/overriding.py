"""Lends a queue another store and a clock turned by hand, for the length of a test."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

from liteq.app.conf import absolute_url
from liteq.clock import Clock
from liteq.errors import ConfigurationError
from liteq.queue import Queue

__all__ = ["override_queue", "queue_of"]


@contextmanager
def override_queue(
    app: object,
    url: str | os.PathLike[str] | None = "memory://",
    *,
    clock: Clock | None = None,
    eager: bool = False,
) -> Iterator[Queue]:
    """Let a queue, and with it its tasks, work on another store until the block ends.

    The other store is opened when it is first used, and closed with the block; one in memory is empty at
    first. The program's own is not touched meanwhile, and comes back with everything that it holds.

    Args:
        app: the queue, or a `liteq.celery` application.
        url: the other store, as `Queue` takes it; None to keep the queue's own.
        clock: what tells the queue the time; by default what tells it now.
        eager: run tasks at once in the caller instead of storing them.

    Yields:
        The queue.

    Raises:
        ConfigurationError: neither a queue nor an application, or a URL that cannot be one.
    """
    queue = queue_of(app)
    store = queue.store
    settings = store.settings
    if url is not None or eager:
        place = settings.url if url is None else absolute_url(url)
        settings = replace(settings, url=place, eager=eager, create=True)
    with store.overridden(settings, store.clock if clock is None else clock):
        yield queue


def queue_of(app: Any) -> Queue:
    """Return a queue, or the queue of an application.

    Raises:
        ConfigurationError: neither.
    """
    if isinstance(app, Queue):
        return app
    make = getattr(type(app), "__liteq_queue__", None)
    queue = None if make is None else make(app)
    if not isinstance(queue, Queue):
        raise ConfigurationError(f"Only a Queue or a Celery application can be tested, not {app!r}.")
    return queue
