"""Where the processes of a proof meet: a folder with a queue, made for it and gone with it."""

from __future__ import annotations

import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from chaos.crew import Crew
from chaos.stores import STORES

__all__ = ["drain", "ground"]

DRAIN = 60.0
"""Seconds in which everything that is left is done."""


def drain(crew: Crew) -> None:
    """Wait until everything is done; what is not after a minute is the checker's business."""
    transport = crew.store.open()
    deadline = time.monotonic() + DRAIN
    try:
        while time.monotonic() < deadline and any(lane.waiting != "finished" for lane in transport.count()):
            crew.listen(0.02)
    finally:
        transport.close()


@contextmanager
def ground(transport: str = "sqlite", **environment: str) -> Iterator[Crew]:
    """Make a folder with an empty queue, and a crew that uses it; leave nothing of either.

    Args:
        transport: what kind of store the queue has, as in `STORES`.
        environment: what `chaos.shop` is to know beside it.
    """
    with tempfile.TemporaryDirectory(prefix="liteq-storm-") as name:
        folder = Path(name)
        with STORES[transport](folder) as store, Crew(folder, store, environment) as crew:
            yield crew
