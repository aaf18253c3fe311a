"""The pools by name: liteq's own, and those that other packages offer as entry points."""

from __future__ import annotations

import importlib
from collections.abc import Iterable
from typing import cast

from liteq.app.naming import nearest
from liteq.errors import ConfigurationError
from liteq.worker.pools.base import Pool

__all__ = ["ENTRY_POINTS", "PROCESSES", "SOLO", "find_pool", "pool_name"]

ENTRY_POINTS = "liteq.pools"
"""The group of the entry points that name pools."""

PROCESSES, SOLO = "processes", "solo"
"""One job at a time in each process, or in this very process: no `Pool` is behind these."""

_SPELLINGS = {"prefork": PROCESSES, "process": PROCESSES, "thread": "threads"}
"""What Celery and its users call some of them."""

_BUILT_IN = {
    "threads": "liteq.worker.pools.threads:ThreadPool",
    "asyncio": "liteq.worker.pools.aio:AsyncioPool",
    "gevent": "liteq.worker.pools.green:GeventPool",
    "eventlet": "liteq.worker.pools.green:EventletPool",
}


def pool_name(name: str) -> str:
    """Return a pool's own name, also for Celery's names of it."""
    return _SPELLINGS.get(name, name)


def find_pool(name: str) -> Pool:
    """Return the pool of a name, which is none of `PROCESSES` and `SOLO`.

    Raises:
        ConfigurationError: there is no such pool, or what an entry point names cannot be loaded.
    """
    where = _BUILT_IN.get(name)
    if where is not None:
        module, _, attribute = where.partition(":")
        return cast(Pool, getattr(importlib.import_module(module), attribute)())
    # Imported here because hardly anybody has other pools, and it takes long to import.
    from importlib.metadata import entry_points

    for entry in entry_points(group=ENTRY_POINTS, name=name):
        try:
            return cast(Pool, entry.load()())
        except Exception as error:
            raise ConfigurationError(
                f"The pool {name!r} ({entry.value}) cannot be loaded: {error}"
            ) from error
    others = {entry.name for entry in entry_points(group=ENTRY_POINTS)}
    raise ConfigurationError(_unknown(name, (PROCESSES, *_BUILT_IN, SOLO, *sorted(others))))


def _unknown(name: str, known: Iterable[str]) -> str:
    names = [*known]
    return f"There is no pool {name!r}; there are {', '.join(names)}.{nearest(name, names)}"
