"""What goes wrong with a disk is told in liteq's own errors, and harms nothing beyond the call it befell."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from liteq.job import ClaimRequest, NewJob, WorkerInfo
from liteq.transports.sqlite.transport import SqliteTransport

JOB = NewJob("id", "tasks.noop", b"payload")
WORKER = WorkerInfo("worker", "host", 1, 1)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "queue.db"


@pytest.fixture
def transport(path: Path) -> Iterator[SqliteTransport]:
    with SqliteTransport(path, busy_timeout=0.05) as transport:
        yield transport


def test_at_normal_the_maintainer_syncs_what_a_long_read_keeps_in_the_wal(path: Path) -> None:
    with (
        SqliteTransport(path, durability="normal") as transport,
        closing(sqlite3.connect(path, isolation_level=None)) as reader,
        closing(sqlite3.connect(path, isolation_level=None)) as watcher,
    ):
        transport.enqueue([JOB], 0.0)
        reader.execute("BEGIN")
        reader.execute("SELECT count(*) FROM liteq_jobs").fetchone()
        transport.enqueue([JOB._replace(id="second")], 0.0)

        def version() -> int:
            return int(watcher.execute("PRAGMA data_version").fetchone()[0])

        before = version()
        transport.tend(1.0)
        # A commit that is synced takes all before it to the disk; nothing else shows from outside.
        after = version()
        assert after != before
        # And an idle queue is not written to each second because somebody reads.
        transport.tend(2.0)
        transport.tend(3.0)
        assert version() == after
        reader.execute("COMMIT")
        transport.enqueue([JOB._replace(id="third")], 4.0)
        transport.tend(4.0)
        _, frames, moved = watcher.execute("PRAGMA wal_checkpoint(PASSIVE)").fetchone()
        assert frames == moved
        assert watcher.execute("SELECT key FROM liteq_meta").fetchall() == [("version",)]
        assert transport.next_due(ClaimRequest({"tasks.noop": 1})) == 0.0
