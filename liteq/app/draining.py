"""The part of a queue that runs its jobs in the calling thread."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import timedelta

from liteq.app.guard import refuse_while_importing
from liteq.app.store import Store
from liteq.calls.checks import check_flag, check_name, check_seconds
from liteq.drained import Drained
from liteq.errors import ConfigurationError
from liteq.registry import Registry

__all__ = ["Draining", "queue_names"]


class Draining:
    """What `Queue` is for tests and scripts that have no workers.

    Attributes:
        registry: the tasks by name.
        store: the hold on the transport.
    """

    registry: Registry
    store: Store

    def drain(
        self,
        timeout: float | timedelta | None = None,
        *,
        queues: Sequence[str] | None = None,
        delayed: bool = False,
        propagate: bool = False,
    ) -> Drained:
        """Run everything that is ready, in this thread, until nothing is; for tests and scripts.

        Jobs that these jobs enqueue are run as well. No `time_limit` is kept, because nothing can end the
        calling thread, and no schedule is fired.

        Args:
            timeout: seconds, real ones, after which no further job is begun; None for no limit.
            queues: the queue names to serve; default all.
            delayed: wait for delayed jobs too, retries among them; a manual clock moves to them at once.
            propagate: raise what the first job that fails for good has raised; the rest stays queued.

        Returns:
            How many ran, how they ended, and what still waits.

        Raises:
            DrainTimeoutError: the timeout came first; what ran is stored, and the rest stays queued.
            NotSupportedError: an eager queue; called inside a task, or inside `q.transaction()`.
            ConfigurationError: a value that an argument cannot have.
            ImportGuardError: a worker is importing this module for its tasks.
            StoreError: the store cannot serve.
        """
        refuse_while_importing("drain()")
        # Imported here because programs that only enqueue have no use for it.
        from liteq.worker.drain import drain

        return drain(
            self.store,
            self.registry.tasks,
            timeout=None if timeout is None else check_seconds("timeout", timeout),
            queues=queue_names(queues),
            delayed=check_flag("delayed", delayed),
            propagate=check_flag("propagate", propagate),
        )


def queue_names(queues: object) -> tuple[str, ...] | None:
    """Return the queue names to serve, None for all; raises ConfigurationError for no list of names."""
    if queues is None:
        return None
    if isinstance(queues, str) or not isinstance(queues, Iterable):
        raise ConfigurationError(f"queues must be a list of queue names, not {queues!r}.")
    return tuple(check_name("queues", each) for each in queues)
