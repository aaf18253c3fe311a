from __future__ import annotations

import tempfile
from pathlib import Path

from hypothesis import HealthCheck, settings

from liteq.testing.model import transport_machine
from liteq.transport import Transport
from liteq.transports.memory import MemoryTransport
from liteq.transports.sqlite.transport import SqliteTransport


class MemoryStore:
    def __init__(self) -> None:
        self.transport = MemoryTransport()

    def open(self) -> Transport:
        return self.transport

    def dispose(self) -> None:
        self.transport.close()


class SqliteStore:
    def __init__(self) -> None:
        self.folder = tempfile.TemporaryDirectory(prefix="liteq model ")

    def open(self) -> Transport:
        return SqliteTransport(Path(self.folder.name) / "queue.db", durability="normal")

    def dispose(self) -> None:
        self.folder.cleanup()


SIZE = settings(
    max_examples=100,
    stateful_step_count=40,
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large, HealthCheck.filter_too_much],
)

TestTheModelAgreesWithItself = transport_machine(MemoryStore).TestCase
TestTheModelAgreesWithItself.settings = settings(SIZE, max_examples=20)

TestSqliteAgreesWithTheModel = transport_machine(SqliteStore).TestCase
TestSqliteAgreesWithTheModel.settings = SIZE
