"""How many processes there are to be, and how many jobs run at once in each: what a user's numbers mean."""

from __future__ import annotations

import os
from typing import NamedTuple

from liteq.errors import ConfigurationError
from liteq.worker.pools.registry import PROCESSES, SOLO, find_pool, pool_name

__all__ = ["MOST_JOBS", "Arrangement", "arrange"]

MOST_JOBS = 100_000
"""How many jobs may run at once in a process; each takes a place of a few bytes in its slot."""


class Arrangement(NamedTuple):
    """What a user's numbers come to."""

    pool: str
    """The pool's own name."""
    processes: int
    concurrency: int
    """How many jobs run at once in each process."""


def arrange(pool: str, concurrency: int | None, processes: int | None) -> Arrangement:
    """Return what a pool and two numbers, each of which may be left out, come to.

    Args:
        pool: the name that `-P` takes.
        concurrency: what `-c` says: how many jobs run at once in each process; of `processes`, how many there
            are.
        processes: what `--processes` says.

    Raises:
        ConfigurationError: there is no such pool, or it cannot have these numbers.
        ExtraRequiredError: what the pool needs is not installed.
        NotSupportedError: the pool cannot run here.
    """
    name = pool_name(pool)
    if name == PROCESSES:
        if concurrency is not None and processes is not None:
            raise ConfigurationError(
                f"The pool {PROCESSES} runs one job in each process, so one number says how many there are; "
                "leave the concurrency (-c) or the number of processes out."
            )
        return Arrangement(name, processes or concurrency or os.cpu_count() or 1, 1)
    if name == SOLO:
        if (concurrency or 1, processes or 1) != (1, 1):
            raise ConfigurationError(
                f"The pool {SOLO} runs one job at a time in this very process; leave the concurrency (-c) "
                f"and the number of processes out, or use the pool {PROCESSES}."
            )
        return Arrangement(name, 1, 1)
    found = find_pool(name)
    found.require()
    if concurrency is not None and concurrency > MOST_JOBS:
        raise ConfigurationError(f"A process runs at most {MOST_JOBS:,} jobs at once, not {concurrency:,}.")
    return Arrangement(name, processes or 1, concurrency or found.default_concurrency)
