"""`move`: brings all that a queue keeps to another store."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from threading import get_ident

from liteq.app.conf import MEMORY_URL, absolute_url
from liteq.app.opening import open_transport
from liteq.app.store import in_transactions
from liteq.calls.checks import check_whole
from liteq.errors import ConfigurationError, NotSupportedError
from liteq.moving import Moved
from liteq.queue import Queue
from liteq.transport import Transport

__all__ = ["move"]


def move(
    source: Queue | str | os.PathLike[str],
    target: Queue | str | os.PathLike[str],
    *,
    batch: int = 1000,
    progress: Callable[[Moved], object] | None = None,
) -> Moved:
    """Move all jobs, results and schedules of a queue to another store, and close the old one.

    The workers of the source must have ended. From the beginning of the move on, whatever would change the
    source raises StoreMovedError, which names the target. The workers of the target may run all along. A move
    that was interrupted, however hard, goes on when it is called again with the same stores: nothing is lost
    and nothing doubled. When it has ended, the source is empty and stays closed, unless something is moved
    back to it.

    Args:
        source: what is moved: a queue, or where it is.
        target: where to; a file that is not there is made.
        batch: how many jobs are moved in one transaction.
        progress: called with what has been moved, after each of them.

    Returns:
        What was moved, the earlier runs of an interrupted move included.

    Raises:
        MoveRefusedError: workers of the source are not stopped, another move is under way, both are the same
            store, or the target has jobs or schedules of the same names from elsewhere.
        ConfigurationError: a value that an argument cannot have.
        StoreError: a store cannot serve.
    """
    if get_ident() in in_transactions:
        raise NotSupportedError("A move takes transactions of its own; call it outside of q.transaction().")
    check_whole("batch", batch, least=1)
    # Imported here because programs that move nothing have no use for it.
    from liteq.app.mover import Mover

    with ExitStack() as opened:
        stores = [
            opened.enter_context(_opened(place, create=create))
            for place, create in ((source, False), (target, True))
        ]
        return Mover(*stores, batch=batch, progress=progress).run()


@contextmanager
def _opened(place: Queue | str | os.PathLike[str], *, create: bool) -> Iterator[Transport]:
    """Lend the transport of a queue, or open one, which is closed afterwards."""
    if isinstance(place, Queue):
        yield place.transport
        return
    # A text may have a password, which its absolute form has not.
    url = place if isinstance(place, str) else absolute_url(place)
    if absolute_url(place) == MEMORY_URL:
        raise ConfigurationError(
            f"A queue in memory can be moved within its own program only; give the Queue itself, not {url}."
        )
    with open_transport(url, create=create) as transport:
        yield transport
