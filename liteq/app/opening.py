"""Opens the transport that a URL names: the only place that knows the concrete ones."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

from liteq.app.conf import MEMORY_URL, absolute_url, passwords_in
from liteq.errors import StoreUnreachableError
from liteq.transport import Transport
from liteq.urls import is_redis

__all__ = ["open_for_workers", "open_transport", "when_served"]

Result = TypeVar("Result")

DEFAULT_PATIENCE = 30.0
WORKER_PATIENCE = 2.0
"""Seconds that a worker's call may wait for a server that does not serve, before the worker looks around."""


def open_transport(url: str, **settings: Any) -> Transport:
    """Open the transport that a URL names; the code of the others is not even imported.

    Args:
        url: as `liteq.Queue` takes it.
        settings: what the kind of transport takes: `durability`, `create` and `busy_timeout`; for a file
            `file_mode` too, for a server the passwords that are not in the URL.

    Raises:
        ConfigurationError: neither a path nor a URL.
        StoreError: the file, or the server, cannot serve.
    """
    place = absolute_url(url)
    if place == MEMORY_URL:
        from liteq.transports.memory import MemoryTransport

        return MemoryTransport(place)
    if is_redis(place):
        from liteq.transports.redis.transport import RedisTransport

        settings.pop("file_mode", None)
        return RedisTransport(place, **{**passwords_in(url), **settings})
    from liteq.transports.sqlite.transport import SqliteTransport

    return SqliteTransport(Path(place), **settings)


def open_for_workers(url: str, *, over: Callable[[], bool], **settings: Any) -> Transport:
    """Open the transport that a URL names, for those who wait out what passes and are to be asked meanwhile.

    Args:
        url: as `liteq.Queue` takes it.
        over: tells whether to give up a server that does not serve; asked every few seconds.
        settings: as of `open_transport`.

    Raises:
        StoreUnreachableError: it was given up.
        LiteqError: as of `open_transport`.
    """
    if is_redis(url):
        patience = settings.get("busy_timeout", DEFAULT_PATIENCE)
        settings |= {"busy_timeout": min(WORKER_PATIENCE, patience), "task_timeout": patience}
    return when_served(lambda: open_transport(url, **settings), over)


def when_served(step: Callable[[], Result], over: Callable[[], bool] = lambda: False) -> Result:
    """Do something with a store, again and again where it is out of reach; return what that returns.

    Args:
        step: what to do; half done and done again, it is done once. It waits for a store by itself.
        over: tells whether to give up.

    Raises:
        StoreUnreachableError: it was given up.
    """
    while True:
        try:
            return step()
        except StoreUnreachableError:
            if over():
                raise
