"""A transport beside the memory one: random calls to both, and the same answers demanded.

The machine is `liteq.testing.transport_machine`, which hypothesis drives. It runs in portions with seeds of
their own, because hypothesis remembers all that it has tried in one.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from functools import partial
from pathlib import Path

import hypothesis
from hypothesis import HealthCheck, Phase, settings
from hypothesis.stateful import invariant, run_state_machine_as_test
from redis_server import RedisServer

from chaos.proof import Proof
from liteq.app.opening import open_transport
from liteq.testing.model import Store, TransportMachine, transport_machine
from liteq.transport import Transport
from liteq.transports.sqlite.transport import SqliteTransport

__all__ = ["MAKERS", "SqliteStore", "prove", "run_model"]

STEPS = 40
"""The most steps of one run, each on a store of its own."""
PORTION = 100
"""Runs under one seed."""
MEMORY_DISK = Path("/dev/shm")


class SqliteStore:
    """A queue file in a folder of its own."""

    def __init__(self) -> None:
        # Nothing here asks what a power cut would leave, so the disk need not be waited for.
        where = MEMORY_DISK if MEMORY_DISK.is_dir() else None
        self.folder = tempfile.TemporaryDirectory(prefix="liteq model ", dir=where)

    def open(self) -> Transport:
        return SqliteTransport(Path(self.folder.name) / "queue.db", durability="normal")

    def dispose(self) -> None:
        self.folder.cleanup()


class Counts:
    """What was done, over all runs."""

    def __init__(self) -> None:
        self.steps = 0
        self.runs = 0
        self.leases = 0


def run_model(
    make_store: Callable[[], Store], size: int, seed: int, *, shrink: bool = True
) -> tuple[Counts, list[str]]:
    """Make at least so many steps; return what was done, and the first difference if there is one.

    Args:
        make_store: makes a fresh store for each run.
        size: how many steps.
        seed: makes the same run again.
        shrink: look for the shortest calls that show a difference.
    """
    counts = Counts()
    machine = _counted(make_store, counts)
    phases = [Phase.generate, *([Phase.shrink] if shrink else [])]
    portion = 0
    while counts.steps < size:
        runs = min(PORTION, (size - counts.steps) // STEPS + 1)
        plan = settings(
            max_examples=runs,
            stateful_step_count=STEPS,
            phases=phases,
            database=None,
            deadline=None,
            report_multiple_bugs=False,
            suppress_health_check=[*HealthCheck],
        )
        chosen = seed * 1_000_000 + portion
        try:
            run_state_machine_as_test(hypothesis.seed(chosen)(machine), settings=plan)
        except Exception as error:
            notes = getattr(error, "__notes__", [])
            return counts, ["\n".join([f"Portion {portion}: {error}", *notes])]
        portion += 1
    return counts, []


def _counted(make_store: Callable[[], Store], counts: Counts) -> type[TransportMachine]:
    base = transport_machine(make_store)

    class Counted(base):  # type: ignore[misc, valid-type]
        def teardown(self) -> None:
            counts.runs += 1
            counts.leases += len(self.claims)
            super().teardown()

        @invariant()
        def count(self) -> None:
            counts.steps += 1

    return Counted


@contextmanager
def _files() -> Iterator[Callable[[], Store]]:
    yield SqliteStore


class RedisStore:
    """A server that is emptied for each run."""

    def __init__(self, server: RedisServer) -> None:
        self._server = server
        server.ask("FLUSHALL")

    def open(self) -> Transport:
        return open_transport(self._server.url(), durability="normal")

    def dispose(self) -> None:
        self._server.ask("FLUSHALL")


@contextmanager
def _servers() -> Iterator[Callable[[], Store]]:
    with RedisServer() as server:
        yield partial(RedisStore, server)


MAKERS: Mapping[str, Callable[[], AbstractContextManager[Callable[[], Store]]]] = {
    "sqlite": _files,
    "redis": _servers,
}
"""By the kind of store, what makes makers of fresh ones."""


def prove(size: int, seed: int, transport: str = "sqlite") -> Proof:
    """Drive both transports for so many steps."""
    with MAKERS[transport]() as make_store:
        counts, problems = run_model(make_store, size, seed)
    figures = {"steps": counts.steps, "runs": counts.runs, "leases": counts.leases}
    return Proof("model", seed, figures, problems, transport)
