"""What goes wrong with a disk is told in liteq's own errors, and harms nothing beyond the call it befell."""

from __future__ import annotations

import errno
import shutil
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from liteq.errors import (
    NotAQueueError,
    NotSupportedError,
    StoreBusyError,
    StoreError,
    StoreFullError,
    StoreUnavailableError,
)
from liteq.job import ClaimRequest, NewJob, Transition, WorkerInfo
from liteq.lifecycle import Succeeded, decide
from liteq.transports.sqlite.schema import run_migrations
from liteq.transports.sqlite.transport import SqliteTransport
from liteq.transports.sqlite.trouble import translated

JOB = NewJob("id", "tasks.noop", b"payload")
WORKER = WorkerInfo("worker", "host", 1, 1)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "queue.db"


@pytest.fixture
def transport(path: Path) -> Iterator[SqliteTransport]:
    with SqliteTransport(path, busy_timeout=0.05) as transport:
        yield transport


@pytest.mark.parametrize(
    ("number", "kind", "words"),
    [
        (errno.ENOSPC, StoreFullError, "the disk is full"),
        (errno.EIO, StoreError, "may be failing"),
        (errno.EACCES, StoreUnavailableError, "must be writable"),
    ],
)
def test_what_the_system_says_is_told_as_what_it_is(
    path: Path, number: int, kind: type[StoreError], words: str
) -> None:
    with pytest.raises(StoreError, match=words) as raised, translated(path):
        raise OSError(number, "said the system", str(path))
    assert type(raised.value) is kind


def test_a_damaged_file_is_told_as_such_when_a_transaction_is_opened(
    path: Path, transport: SqliteTransport
) -> None:
    transport._database.checkpoint()
    path.write_bytes(b"no database" * 10_000)
    with pytest.raises(NotAQueueError, match="not a SQLite database"), transport.transaction():
        pass


def test_a_side_folder_that_is_gone_is_told_in_our_errors_and_keeps_nobody_from_looking(
    transport: SqliteTransport, path: Path
) -> None:
    holder = transport.register(WORKER, 60.0, 0.0)
    side = path.with_name("queue.db.liteq")
    shutil.rmtree(side)
    # Nothing can be opened in it, whoever asks.
    side.touch()
    with pytest.raises(StoreUnavailableError, match="must be writable"):
        transport.register(WORKER, 60.0, 0.0)
    with pytest.raises(StoreUnavailableError, match="must be writable"):
        transport.slot(holder)
    with pytest.raises(StoreUnavailableError, match="must be writable"), transport.lead():
        pass
    # That a life lock cannot be looked at proves no death.
    assert [worker.alive for worker in transport.workers()] == [None]
    listener = transport.listen_for_jobs()
    listener.ring()
    assert listener.wait(5.0)
    listener.close()


def test_a_plain_file_in_the_place_of_the_side_folder_is_refused(path: Path) -> None:
    path.with_name("queue.db.liteq").touch()
    with pytest.raises(StoreUnavailableError, match="is not a real folder"):
        SqliteTransport(path)


def test_a_worker_that_cannot_be_registered_leaves_no_life_lock(
    path: Path, transport: SqliteTransport
) -> None:
    with closing(sqlite3.connect(path, isolation_level=None)) as foreign:
        foreign.execute("BEGIN IMMEDIATE")
        with pytest.raises(StoreBusyError):
            transport.register(WORKER, 60.0, 0.0)
    assert list(path.with_name("queue.db.liteq").glob("life-*")) == []
    assert transport.register(WORKER, 60.0, 0.0) == 1


def interrupted(connection: sqlite3.Connection) -> None:
    """Let each statement fail with an error after which SQLite rolls the whole transaction back."""
    connection.set_progress_handler(lambda: 1, 1)


def healed(connection: sqlite3.Connection) -> None:
    connection.set_progress_handler(None, 1)


def test_an_error_that_ends_a_migration_is_told_and_not_that_it_has_ended() -> None:
    with closing(sqlite3.connect(":memory:", isolation_level=None)) as connection:
        once = iter([1])
        connection.set_trace_callback(
            lambda sql: (
                sql.startswith("CREATE TABLE") and connection.set_progress_handler(lambda: next(once, 0), 1)
            )
        )
        with pytest.raises(sqlite3.OperationalError, match="interrupted"):
            run_migrations(connection)
        assert not connection.in_transaction


def test_a_transaction_that_sqlite_gave_up_stores_nothing_that_comes_later(
    transport: SqliteTransport,
) -> None:
    with transport.transaction() as connection:
        connection.execute("CREATE TABLE orders (number)")
    with pytest.raises(StoreError, match="interrupted") as raised:  # noqa: SIM117, PT012 (it goes on after an error)
        with transport.transaction() as connection:
            connection.execute("INSERT INTO orders VALUES (1)")
            interrupted(connection)
            with pytest.raises(StoreError, match="interrupted"):
                transport.enqueue([JOB], 0.0)
            healed(connection)
            for again in (
                lambda: transport.enqueue([JOB], 0.0),
                lambda: connection.execute("INSERT INTO orders VALUES (2)"),
                lambda: connection.executemany("INSERT INTO orders VALUES (?)", [(3,)]),
                lambda: connection.cursor().execute("INSERT INTO orders VALUES (4)"),
            ):
                with pytest.raises(StoreError, match="interrupted"):
                    again()
    assert raised.value.__cause__ is not None
    assert transport.get(["id"]) == [None]
    with transport.transaction() as connection:
        assert connection.execute("SELECT count(*) FROM orders").fetchone() == (0,)
        assert transport.enqueue([JOB], 0.0) == [True]
    assert transport.get(["id"]) != [None]


def test_an_error_of_the_users_own_statement_ends_the_transaction_as_well(transport: SqliteTransport) -> None:
    with pytest.raises(StoreError, match="interrupted"):  # noqa: SIM117, PT012 (it goes on after an error)
        with transport.transaction() as connection:
            transport.enqueue([JOB], 0.0)
            interrupted(connection)
            with pytest.raises(sqlite3.OperationalError, match="interrupted"):
                connection.execute("CREATE TABLE orders (number)")
            healed(connection)
    assert transport.get(["id"]) == [None]


def test_what_follows_an_end_of_the_transaction_that_nobody_could_foresee_is_refused(
    transport: SqliteTransport,
) -> None:
    def block() -> None:
        with transport.transaction() as connection:
            cursor = connection.cursor(sqlite3.Cursor)
            # A cursor of another kind than ours asks nobody.
            cursor.execute("COMMIT")
            transport.enqueue([JOB], 0.0)

    with pytest.raises(NotSupportedError, match="ended the transaction"):
        block()
    assert transport.get(["id"]) == [None]


def test_a_small_error_inside_a_transaction_ends_nothing(transport: SqliteTransport) -> None:
    with transport.transaction() as connection:
        with pytest.raises(sqlite3.OperationalError, match="no such table"):
            connection.execute("INSERT INTO nowhere VALUES (1)")
        transport.enqueue([JOB], 0.0)
    assert transport.get(["id"]) != [None]


def test_an_error_at_the_end_of_a_completion_is_told_in_our_errors(transport: SqliteTransport) -> None:
    transport.enqueue([JOB], 0.0)
    holder = transport.register(WORKER, 60.0, 0.0)
    [claim] = transport.claim(holder, ClaimRequest({JOB.task: 1}), 0.0)

    def end() -> Transition:
        return decide(claim, Succeeded(b"the result"), 0.0, lambda: 0.5)

    with (
        pytest.raises(StoreError, match="interrupted"),
        transport.completion(claim.seq, claim.token, end) as connection,
    ):
        interrupted(connection)
    assert [held.id for held in transport.leases(holder)] == ["id"]


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
