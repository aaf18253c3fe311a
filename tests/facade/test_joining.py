"""Jobs and the caller's own rows commit together, or not at all."""

from __future__ import annotations

import sqlite3
from contextlib import closing

import pytest

import liteq
from liteq import ConfigurationError, NotSupportedError, Queue
from liteq.errors import StoreFullError
from liteq.job import JobFilter


@pytest.fixture
def file_queue(tmp_path):
    with Queue(tmp_path / "queue.db", durability="normal") as queue:
        yield queue


@pytest.fixture
def add(file_queue):
    return file_queue.task(name="add")(lambda x: x)


@pytest.fixture
def own(file_queue, add):
    """The caller's own connection to the queue's file, with a table of its own."""
    assert file_queue.transport.count() == []
    with closing(sqlite3.connect(file_queue.url)) as connection:
        connection.execute("CREATE TABLE orders (id INTEGER PRIMARY KEY)")
        connection.commit()
        yield connection


def jobs(queue) -> int:
    return len(queue.transport.find(JobFilter()))


def orders(queue) -> int:
    with closing(sqlite3.connect(queue.url)) as connection:
        return connection.execute("SELECT count(*) FROM orders").fetchone()[0]


def test_a_transaction_commits_rows_and_jobs_together(file_queue, add, own):
    with file_queue.transaction() as connection:
        assert isinstance(connection, sqlite3.Connection)
        connection.execute("INSERT INTO orders VALUES (1)")
        add.delay(1)
        file_queue.enqueue_many(add.s(i) for i in range(3))
        assert orders(file_queue) == 0
    assert (jobs(file_queue), orders(file_queue)) == (4, 1)


def test_a_job_that_finds_no_room_inside_a_transaction_raises_an_error_of_ours(file_queue, add):
    add.delay(0)

    def fill():
        with file_queue.transaction() as connection:
            pages = connection.execute("PRAGMA page_count").fetchone()[0]
            connection.execute(f"PRAGMA max_page_count = {pages}")
            for _ in range(1000):
                add.delay(1)

    with pytest.raises(StoreFullError):
        fill()
    assert jobs(file_queue) == 1


def test_a_transaction_that_fails_leaves_neither(file_queue, add, own):
    results = []

    def fail_half_way():
        with file_queue.transaction() as connection:
            connection.execute("INSERT INTO orders VALUES (1)")
            results.append(add.delay(1))
            raise KeyError

    with pytest.raises(KeyError):
        fail_half_way()
    assert (jobs(file_queue), orders(file_queue)) == (0, 0)
    (result,) = results
    assert (result.status, result.exists()) == ("PENDING", False)
    with pytest.raises(liteq.ResultTimeoutError):
        result.get(timeout=0)


def test_waiting_inside_the_transaction_is_refused(file_queue, add, own):
    with file_queue.transaction():
        result = add.delay(1)
        with pytest.raises(NotSupportedError, match="COMMIT"):
            result.get(timeout=0)
    with pytest.raises(liteq.ResultTimeoutError):
        result.get(timeout=0)


def test_a_connection_of_the_callers_own_commits_rows_and_jobs_together(file_queue, add, own):
    own.execute("INSERT INTO orders VALUES (1)")
    calling = add.using(own)
    results = [calling.delay(1), calling.apply_async((2,), priority=3), calling.options(queue="b").delay(3)]
    assert (jobs(file_queue), orders(file_queue)) == (0, 0)
    own.commit()
    assert (jobs(file_queue), orders(file_queue)) == (3, 1)
    assert all(result.exists() for result in results)


def test_a_connection_of_the_callers_own_rolls_back_both(file_queue, add, own):
    own.execute("INSERT INTO orders VALUES (1)")
    add.using(own).delay(1)
    own.rollback()
    assert (jobs(file_queue), orders(file_queue)) == (0, 0)


def test_a_row_factory_of_the_callers_does_not_matter(file_queue, add, own):
    own.row_factory = lambda cursor, row: dict(enumerate(row))
    add.using(own).delay(1)
    own.commit()
    assert jobs(file_queue) == 1


def test_a_connection_to_another_file_is_refused(file_queue, add, own, tmp_path):
    for other in (tmp_path / "other.db", ":memory:"):
        with (
            closing(sqlite3.connect(other)) as connection,
            pytest.raises(ConfigurationError, match="own file"),
        ):
            add.using(connection)


def test_what_is_no_open_connection_is_refused(add, own):
    with pytest.raises(ConfigurationError, match="Connection"):
        add.using("queue.db")
    own.close()
    with pytest.raises(ConfigurationError, match="closed"):
        add.using(own)


def test_a_queue_that_is_no_file_has_no_transactions(queue):
    task = queue.task(name="t")(lambda: None)
    with pytest.raises(NotSupportedError, match="file"), queue.transaction():
        pass
    with closing(sqlite3.connect(":memory:")) as connection, pytest.raises(NotSupportedError, match="file"):
        task.using(connection)
