"""The connection of a transaction's block belongs to that block, and only the block ends the transaction."""

from __future__ import annotations

import sqlite3
import threading
from contextlib import closing

import pytest

from liteq import NotSupportedError, Queue


@pytest.fixture
def queue(tmp_path):
    with Queue(tmp_path / "queue.db", durability="normal") as queue:
        with queue.transaction() as connection:
            connection.execute("CREATE TABLE orders (id INTEGER, photo BLOB)")
            connection.execute("INSERT INTO orders VALUES (1, zeroblob(8)), (2, NULL)")
        yield queue


def orders(queue) -> list[int]:
    with closing(sqlite3.connect(queue.url)) as connection:
        return [number for (number,) in connection.execute("SELECT id FROM orders ORDER BY id")]


def kept(queue):
    """A connection, and cursors and a blob made with it, that outlive their block."""
    with queue.transaction() as connection:
        cursor = connection.cursor()
        cursor.execute("SELECT id FROM orders")
        rows = connection.execute("SELECT id FROM orders")
        assert rows.fetchone() == (1,)
        return connection, cursor, rows, connection.blobopen("orders", "photo", 1), connection.iterdump()


def enter(connection):
    with connection:
        raise AssertionError("the block must not be reached")


USES = {
    "execute": lambda c: c.execute("INSERT INTO orders VALUES (3, NULL)"),
    "a read": lambda c: c.execute("SELECT 1"),
    "executemany": lambda c: c.executemany("INSERT INTO orders VALUES (?, NULL)", [(3,)]),
    "executescript": lambda c: c.executescript("INSERT INTO orders VALUES (3, NULL)"),
    "cursor": lambda c: c.cursor(),
    "commit": lambda c: c.commit(),
    "rollback": lambda c: c.rollback(),
    "close": lambda c: c.close(),
    "blobopen": lambda c: c.blobopen("orders", "photo", 1),
    "backup": lambda c: c.backup(sqlite3.connect(":memory:")),
    "iterdump": lambda c: c.iterdump(),
    "create_function": lambda c: c.create_function("f", 0, lambda: 1),
    "total_changes": lambda c: c.total_changes,
    "in_transaction": lambda c: c.in_transaction,
    "row_factory": lambda c: setattr(c, "row_factory", sqlite3.Row),
    "with": enter,
}


@pytest.mark.parametrize("use", USES)
@pytest.mark.filterwarnings("ignore:unclosed database:ResourceWarning")
def test_a_connection_that_is_kept_is_refused_after_its_block(queue, use):
    connection, *_ = kept(queue)
    with pytest.raises(NotSupportedError, match="block of this connection is over"):
        USES[use](connection)
    # In a later block it is no better, be it in this thread or in another one.
    with queue.transaction() as later:
        assert later is not connection
        with pytest.raises(NotSupportedError, match="block of this connection is over"):
            USES[use](connection)
    assert orders(queue) == [1, 2]


CURSOR_USES = {
    "execute": lambda c: c.execute("INSERT INTO orders VALUES (3, NULL)"),
    "executemany": lambda c: c.executemany("INSERT INTO orders VALUES (?, NULL)", [(3,)]),
    "executescript": lambda c: c.executescript("INSERT INTO orders VALUES (3, NULL)"),
    "fetchone": lambda c: c.fetchone(),
    "fetchmany": lambda c: c.fetchmany(2),
    "fetchall": lambda c: c.fetchall(),
    "iteration": list,
    "its connection": lambda c: c.connection.execute("INSERT INTO orders VALUES (3, NULL)"),
}


@pytest.mark.parametrize("use", CURSOR_USES)
def test_a_cursor_that_is_kept_is_refused_after_its_block(queue, use):
    _, cursor, rows, *_ = kept(queue)
    for each in (cursor, rows):
        with pytest.raises(NotSupportedError, match="block of this connection is over"):
            CURSOR_USES[use](each)
        # Cleaning up is no use.
        each.close()
    assert orders(queue) == [1, 2]


def test_a_blob_and_a_dump_that_are_kept_end_with_their_block(queue):
    *_, blob, dump = kept(queue)
    with pytest.raises(sqlite3.ProgrammingError, match="closed"):
        blob.write(b"late")
    with pytest.raises(NotSupportedError, match="block of this connection is over"):
        list(dump)


def test_a_kept_read_does_not_disturb_later_transactions(queue):
    *_, first, _, _ = kept(queue)
    task = queue.task(name="t")(lambda: None)
    task.delay()
    with queue.transaction() as connection:
        connection.execute("INSERT INTO orders VALUES (3, NULL)")
    assert first is not None
    assert orders(queue) == [1, 2, 3]


def test_a_connection_is_refused_after_a_block_that_failed(queue):
    connections = []

    def fail():
        with queue.transaction() as connection:
            connections.append(connection)
            connection.execute("INSERT INTO orders VALUES (3, NULL)")
            raise KeyError

    with pytest.raises(KeyError):
        fail()
    with pytest.raises(NotSupportedError, match="block of this connection is over"):
        connections[0].execute("INSERT INTO orders VALUES (3, NULL)")
    assert orders(queue) == [1, 2]


def test_a_kept_connection_cannot_write_into_the_transaction_of_another_thread(queue):
    connection, cursor, *_ = kept(queue)
    begun, seen = threading.Event(), threading.Event()

    def other():
        with queue.transaction() as own:
            own.execute("INSERT INTO orders VALUES (3, NULL)")
            begun.set()
            assert seen.wait(30)

    thread = threading.Thread(target=other)
    thread.start()
    try:
        assert begun.wait(30)
        for each in (connection, cursor):
            with pytest.raises(NotSupportedError, match="block of this connection is over"):
                each.execute("INSERT INTO orders VALUES (4, NULL)")
    finally:
        seen.set()
        thread.join()
    assert orders(queue) == [1, 2, 3]


def test_another_thread_may_help_inside_the_block(queue):
    with queue.transaction() as connection:
        thread = threading.Thread(
            target=connection.execute, args=("INSERT INTO orders VALUES (3, NULL)",), daemon=True
        )
        thread.start()
        thread.join()
    assert orders(queue) == [1, 2, 3]


ENDS = [
    "COMMIT",
    "commit transaction",
    " \n\tEnd;",
    "-- that is all\nCOMMIT",
    "/* a */ /* b; */ ; -- c\n COMMIT",
    "\ufeffCOMMIT",
    "ROLLBACK",
    "rollback transaction",
    "ROLLBACK/* TO x */",
]


@pytest.mark.parametrize("statement", ENDS)
def test_sql_that_would_end_the_transaction_is_refused_at_once_and_the_block_goes_on(queue, statement):
    task = queue.task(name="t")(lambda: None)
    with queue.transaction() as connection:
        connection.execute("INSERT INTO orders VALUES (3, NULL)")
        for execute in (connection.execute, connection.cursor().execute):
            with pytest.raises(NotSupportedError, match="the block itself commits"):
                execute(statement)
        with pytest.raises(NotSupportedError, match="the block itself commits"):
            connection.executemany(statement, [()])
        result = task.delay()
        assert orders(queue) == [1, 2]
    assert orders(queue) == [1, 2, 3]
    assert result.exists()


@pytest.mark.parametrize("name", ["isolation_level", "autocommit"])
def test_attributes_that_would_commit_cannot_be_set(queue, name):
    if not hasattr(sqlite3.Connection, name):
        pytest.skip("this Python has no such attribute")
    with (
        queue.transaction() as connection,
        pytest.raises(NotSupportedError, match="the block itself commits"),
    ):
        setattr(connection, name, None)


@pytest.mark.parametrize(
    "back", ["ROLLBACK TO part", "rollback /* a */ transaction -- b\n to savepoint part"]
)
def test_savepoints_are_the_users(queue, back):
    with queue.transaction() as connection:
        connection.execute("SAVEPOINT part")
        connection.execute("INSERT INTO orders VALUES (3, NULL)")
        connection.execute(back)
        connection.execute("RELEASE part")
        connection.execute("INSERT INTO orders VALUES (4, NULL)")
    assert orders(queue) == [1, 2, 4]


def test_a_backup_inside_the_block_is_refused_because_it_would_never_end(queue):
    with (
        closing(sqlite3.connect(":memory:")) as copy,
        queue.transaction() as connection,
        pytest.raises(NotSupportedError, match="backed up"),
    ):
        connection.backup(copy)


def test_inside_the_block_it_is_a_connection_like_any_other(queue):
    task = queue.task(name="t")(lambda: None)
    with queue.transaction() as connection:
        assert isinstance(connection, sqlite3.Connection)
        assert connection.in_transaction
        assert connection.isolation_level is None
        connection.row_factory = sqlite3.Row
        row = connection.execute("SELECT id AS number FROM orders").fetchone()
        assert row["number"] == 1
        connection.row_factory = None
        connection.create_function("twice", 1, lambda x: 2 * x)
        cursor = connection.cursor()
        assert cursor.connection is connection
        assert list(cursor.execute("SELECT twice(id) FROM orders")) == [(2,), (4,)]
        assert cursor.execute("SELECT id FROM orders").fetchmany() == [(1,)]
        assert cursor.execute("SELECT id FROM orders").fetchmany(5) == [(1,), (2,)]
        with connection.blobopen("orders", "photo", 1) as blob:
            blob.write(b"a")
        assert any("orders" in line for line in connection.iterdump())
        with pytest.raises(connection.OperationalError):
            connection.execute("SELECT nothing")
        assert task.using(connection).delay().id
