from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from liteq.testing.contract import TransportContract
from liteq.transport import Transport
from liteq.transports.sqlite.transport import SqliteTransport


class TestSqliteTransport(TransportContract):
    @pytest.fixture
    def path(self, tmp_path: Path) -> Path:
        return tmp_path / "queue.db"

    @pytest.fixture
    def transport(self, path: Path) -> Iterator[Transport]:
        with SqliteTransport(path) as transport:
            yield transport

    @pytest.fixture
    def second(self, transport: Transport, path: Path) -> Iterator[Transport]:
        with SqliteTransport(path) as second:
            yield second
