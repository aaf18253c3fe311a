"""Whatever was done to a store, it is the same after it was moved, and goes on as if it had stayed."""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from pathlib import Path

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import rule, run_state_machine_as_test
from redis_server import RedisServer

from liteq.app.opening import open_transport
from liteq.lifecycle import Lost, decide
from liteq.testing.model import TransportMachine
from liteq.testing.strategies import everything
from liteq.transport import Transport
from liteq.transports.memory import MemoryTransport
from liteq.transports.sqlite.transport import SqliteTransport

Opener = Callable[[Path], Transport]


def _file(path: Path) -> Transport:
    return SqliteTransport(path, durability="normal")


class Places:
    """Stores of several kinds, in a folder of their own; the first is where everything begins."""

    def __init__(self, openers: list[Opener]) -> None:
        self.openers = openers
        self.folder = tempfile.TemporaryDirectory()
        self.number = 0

    def open(self) -> Transport:
        opener = self.openers[self.number % len(self.openers)]
        return opener(Path(self.folder.name, f"{self.number}.db"))

    def dispose(self) -> None:
        self.folder.cleanup()


class Moving(TransportMachine):
    """Moves the transport under test on, now and then; the model stays where it is."""

    @rule(batch=st.integers(1, 4), charged=st.booleans())
    def move(self, batch: int, charged: bool) -> None:
        for holder in self.holders:
            for transport, number in ((self.model, holder.model), (self.real, holder.real)):
                transport.expel(number, None)
                lost = Lost(charged, b"gone", "its worker is gone")
                freed = [decide(claim, lost, self.now, lambda: 0.6) for claim in transport.leases(number)]
                assert transport.settle(0, freed, self.now) == []
                transport.unregister(number)
        old, self.handles = self.handles, []
        self.store.number += 1
        new = self.store.open()
        self.handles.append(new)
        _bring(self.real, new, batch, self.now)
        for handle in old:
            handle.close()
        self.real = new
        # What the old store knew of workers and leases, the new one does not; the model has forgotten it too.
        self.holders, self.claims, self.tokens = [], [], set()
        assert new.next_sweep() == self.model.next_sweep()
        assert new.next_due(everything) == self.model.next_due(everything)
        self.register(1.0)


def _bring(source: Transport, target: Transport, batch: int, now: float) -> None:
    source.begin_move("move", target.url, now)
    seen, after = None, None
    while jobs := source.export(after, batch):
        after = jobs[-1].seq
        assert target.adopt("move", seen, str(after).encode(), jobs)
        seen = str(after).encode()
    source.end_move("move", now)
    while source.discard_moved("move", batch):
        pass
    assert (source.count(), source.next_sweep()) == ([], None)


def moves_of(openers: list[Opener]) -> None:
    """Let stores of these kinds be moved into each other, at random."""
    machine = type("Moves", (Moving,), {"make_store": staticmethod(lambda: Places(openers))})
    plan = settings(max_examples=25, stateful_step_count=30, deadline=None)
    run_state_machine_as_test(machine, settings=plan)


def test_files_are_the_same_after_a_move():
    moves_of([_file])


def test_files_and_memory_are_the_same_after_a_move():
    moves_of([lambda path: MemoryTransport(), _file])


def test_files_and_servers_are_the_same_after_a_move(shared_redis: RedisServer):
    def server(path: Path) -> Transport:
        # A folder has one name only, and so have the stores that stand for it.
        return open_transport(shared_redis.url(prefix=path.parent.name + path.stem), durability="normal")

    moves_of([_file, server])
