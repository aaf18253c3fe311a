"""Enqueueing on a sqlite3 connection that the user opened."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol, runtime_checkable

from liteq.app.store import Store
from liteq.calls import connection as user_connection
from liteq.clock import Clock
from liteq.errors import NotSupportedError
from liteq.job import NewJob

__all__ = ["JoinsConnections", "enqueue_on", "join_point"]


@runtime_checkable
class JoinsConnections(Protocol):
    """A transport whose jobs can be stored through a connection of the user's own."""

    def check_connection(self, connection: user_connection.Connection) -> None:
        """Raise ConfigurationError for a connection that cannot carry jobs."""

    def enqueue_on(
        self, connection: user_connection.Connection, jobs: Sequence[NewJob], now: float
    ) -> list[bool]:
        """Store jobs in the transaction that is open on the connection."""


def join_point(store: Store, connection: user_connection.Connection) -> JoinsConnections:
    """Return the store's transport, if the connection's main database is the queue's file.

    Raises:
        ConfigurationError: no sqlite3 connection, one that cannot be used, or one to another file.
        NotSupportedError: the queue is not a file.
    """
    transport = None if store.settings.eager else store.transport()
    if not isinstance(transport, JoinsConnections):
        raise NotSupportedError(
            f"using() needs a queue that is a file; {store.settings.url} "
            f"{'is eager and stores nothing' if store.settings.eager else 'is not one'}."
        )
    transport.check_connection(connection)
    return transport


def enqueue_on(
    transport: JoinsConnections, connection: user_connection.Connection, clock: Clock, job: NewJob
) -> bool:
    """Store one job through the connection; False if an unfinished job has its id already."""
    return transport.enqueue_on(connection, (job,), clock.wall())[0]
