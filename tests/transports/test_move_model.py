"""Whatever was done to a store, it is the same after it was moved, and goes on as if it had stayed."""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from pathlib import Path

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import rule

from liteq.lifecycle import Lost, decide
from liteq.testing.model import TransportMachine
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


class _Files(Moving):
    make_store = staticmethod(lambda: Places([_file]))


class _FilesAndMemory(Moving):
    make_store = staticmethod(lambda: Places([lambda path: MemoryTransport(), _file]))


TestFiles = _Files.TestCase
TestFilesAndMemory = _FilesAndMemory.TestCase
TestFiles.settings = settings(max_examples=25, stateful_step_count=25, deadline=None)
TestFilesAndMemory.settings = settings(max_examples=25, stateful_step_count=25, deadline=None)
