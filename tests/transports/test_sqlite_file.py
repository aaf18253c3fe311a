"""The queue's file: what is refused, what is noticed, and what it is made of."""

from __future__ import annotations

import gc
import os
import signal
import sqlite3
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing, nullcontext
from pathlib import Path

import pytest
from overwriting import become_another_database, empty, shorten, write_over

from liteq.errors import (
    ConfigurationError,
    NewerStoreError,
    NotAQueueError,
    NotSupportedError,
    StoreBusyError,
    StoreError,
    StoreFullError,
    StoreReplacedError,
    StoreUnavailableError,
)
from liteq.job import ClaimRequest, JobFilter, NewJob, WorkerInfo
from liteq.lifecycle import Succeeded, decide
from liteq.transports.local.oslock import OsLock, is_free
from liteq.transports.sqlite.bell import DatagramBell
from liteq.transports.sqlite.diagnosis import has_wal_fix
from liteq.transports.sqlite.file_system import file_system_of
from liteq.transports.sqlite.schema import MIGRATIONS, SCHEMA, VERSION, read_version, run_migrations
from liteq.transports.sqlite.transport import SqliteTransport
from liteq.transports.sqlite.turnstile import Turnstile

OpenDatabase = Callable[[], sqlite3.Connection]
JOB = NewJob("id", "tasks.noop", b"payload")
PATIENCE = 30.0


@pytest.fixture
def database() -> Iterator[OpenDatabase]:
    """Open databases in memory; all are closed at the end of the test."""
    with ExitStack() as opened:
        yield lambda: opened.enter_context(closing(sqlite3.connect(":memory:", isolation_level=None)))


def schema_of(connection: sqlite3.Connection) -> list[tuple[str, ...]]:
    return connection.execute(
        "SELECT type, name, sql FROM sqlite_master WHERE name LIKE 'liteq%' ORDER BY name"
    ).fetchall()


def test_migrations_lead_to_the_fresh_schema(database: OpenDatabase) -> None:
    fresh, migrated = database(), database()
    for statement in SCHEMA:
        fresh.execute(statement)
    run_migrations(migrated)
    assert schema_of(migrated) == schema_of(fresh)
    assert read_version(migrated) == VERSION == len(MIGRATIONS)


def test_each_older_version_becomes_the_newest(database: OpenDatabase) -> None:
    for older in range(VERSION):
        connection = database()
        if older:
            run_migrations(connection, MIGRATIONS[:older])
        run_migrations(connection)
        fresh = database()
        for statement in SCHEMA:
            fresh.execute(statement)
        assert schema_of(connection) == schema_of(fresh)


def test_a_migration_that_fails_leaves_the_file_as_it_was(database: OpenDatabase) -> None:
    connection = database()
    run_migrations(connection)
    before = schema_of(connection)
    with pytest.raises(sqlite3.OperationalError):
        run_migrations(connection, (*MIGRATIONS, ("CREATE TABLE liteq_more (a)", "not SQL")))
    assert schema_of(connection) == before
    assert read_version(connection) == VERSION


def test_a_folder_that_does_not_exist_is_refused(tmp_path: Path) -> None:
    with pytest.raises(StoreUnavailableError, match="its folder does not exist"):
        SqliteTransport(tmp_path / "missing" / "queue.db")


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="named pipes")
def test_a_pipe_is_refused_and_nothing_made_beside_it(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "queue.db")
    with pytest.raises(StoreUnavailableError, match="is no ordinary file"):
        SqliteTransport(tmp_path / "queue.db")
    assert [path.name for path in tmp_path.iterdir()] == ["queue.db"]


def test_a_directory_is_refused(tmp_path: Path) -> None:
    with pytest.raises(StoreUnavailableError, match="is a directory"):
        SqliteTransport(tmp_path)


def test_a_file_that_is_no_database_is_refused_and_not_touched(tmp_path: Path) -> None:
    path = tmp_path / "notes.txt"
    path.write_text("remember the milk\n" * 100)
    with pytest.raises(NotAQueueError, match="not a SQLite database"):
        SqliteTransport(path)
    assert path.read_text() == "remember the milk\n" * 100


def test_a_missing_file_is_refused_where_creating_is_not_allowed(tmp_path: Path) -> None:
    with pytest.raises(StoreUnavailableError, match="there is no queue here"):
        SqliteTransport(tmp_path / "queue.db", create=False)
    assert list(tmp_path.iterdir()) == []


def test_another_programs_database_is_refused_where_creating_is_not_allowed(tmp_path: Path) -> None:
    path = tmp_path / "shop.db"
    with sqlite3.connect(path) as own:
        own.execute("CREATE TABLE orders (id)")
    own.close()
    with pytest.raises(NotAQueueError, match="without liteq's tables"):
        SqliteTransport(path, create=False)
    own = sqlite3.connect(path)
    assert own.execute("SELECT name FROM sqlite_master").fetchall() == [("orders",)]
    assert own.execute("PRAGMA journal_mode").fetchone() == ("delete",)
    own.close()


def test_a_file_of_a_newer_liteq_is_refused_and_not_touched(tmp_path: Path) -> None:
    path = tmp_path / "queue.db"
    SqliteTransport(path).close()
    with sqlite3.connect(path) as newer:
        newer.execute("UPDATE liteq_meta SET value = ? WHERE key = 'version'", (VERSION + 1,))
    newer.close()
    before = path.read_bytes()
    with pytest.raises(NewerStoreError, match="made by a newer liteq"):
        SqliteTransport(path)
    assert path.read_bytes() == before


def test_a_worker_stops_writing_when_a_newer_liteq_migrates_its_file(tmp_path: Path) -> None:
    path = tmp_path / "queue.db"
    with SqliteTransport(path) as transport:
        transport.enqueue([JOB], 0.0)
        newer = sqlite3.connect(path)
        newer.execute("UPDATE liteq_meta SET value = ? WHERE key = 'version'", (VERSION + 1,))
        newer.commit()
        with pytest.raises(NewerStoreError):
            transport.enqueue([JOB._replace(id="other")], 0.0)
        assert newer.execute("SELECT id FROM liteq_jobs").fetchall() == [("id",)]
        newer.close()


@pytest.mark.skipif(sys.platform == "win32", reason="an open file cannot be removed there")
def test_a_file_that_is_deleted_or_replaced_is_noticed(tmp_path: Path) -> None:
    path = tmp_path / "queue.db"
    with SqliteTransport(path) as transport:
        path.rename(tmp_path / "moved.db")
        with pytest.raises(StoreReplacedError, match="was deleted"):
            transport.enqueue([JOB], 0.0)
        sqlite3.connect(path).close()
        path.touch()
        with pytest.raises(StoreReplacedError, match="was replaced"):
            transport.enqueue([JOB], 0.0)


@pytest.mark.skipif(sys.platform == "win32", reason="an open file cannot be replaced there")
@pytest.mark.parametrize("part", ["queue.db-wal", "queue.db-shm", "queue.db.liteq"])
def test_a_part_of_the_queue_that_is_replaced_is_noticed_within_a_second(tmp_path: Path, part: str) -> None:
    with SqliteTransport(tmp_path / "queue.db") as transport:
        transport.enqueue([JOB], 0.0)
        holder = transport.register(WorkerInfo("w", "host", 1, 1), 60.0, 0.0)
        [claim] = transport.claim(holder, ClaimRequest({"tasks.noop": 1}), 0.0)
        (tmp_path / part).rename(tmp_path / "gone")
        if part.endswith(".liteq"):
            (tmp_path / part).mkdir(0o700)
            (tmp_path / part / "turnstile").touch()
        else:
            (tmp_path / part).touch()
        time.sleep(1.05)
        for action in (
            lambda: transport.enqueue([JOB._replace(id="other")], 0.0),
            lambda: transport.get(["id"]),
            lambda: transport.claim(holder, ClaimRequest({"tasks.noop": 1}), 0.0),
        ):
            with pytest.raises(StoreReplacedError, match=part):
                action()
        settlement = decide(claim, Succeeded(b"r"), 1.0, lambda: 0.5)
        if part.endswith(".liteq"):
            # Protected by its lease, which it may renew, and by SQLite's own locks.
            transport.renew([holder], 60.0, 100.0)
            with closing(sqlite3.connect(tmp_path / "queue.db")) as raw:
                assert raw.execute("SELECT expires FROM liteq_workers").fetchone() == (160.0,)
            assert transport.settle(holder, [settlement], 1.0) == []
        else:
            with pytest.raises(StoreReplacedError):
                transport.settle(holder, [settlement], 1.0)


@pytest.mark.skipif(sys.platform == "win32", reason="an open file cannot be cut short there")
@pytest.mark.parametrize(
    ("do", "told"),
    [
        (empty, "emptied"),
        (shorten, "damaged"),
        (write_over, "not a SQLite database"),
        (become_another_database, "written over the file"),
    ],
)
def test_a_file_that_something_writes_over_is_told(
    tmp_path: Path, do: Callable[[Path], None], told: str
) -> None:
    with SqliteTransport(tmp_path / "queue.db") as transport:
        transport.enqueue([JOB._replace(id=str(n), payload=b"p" * 500) for n in range(500)], 0.0)
        # In the file and no longer in the WAL, where SQLite would still find it.
        transport._database.checkpoint()
        do(tmp_path / "queue.db")
        with pytest.raises(StoreError, match=told):  # noqa: PT012 (until then, it is in SQLite's cache)
            for _ in range(100):
                transport.enqueue([JOB._replace(id=os.urandom(8).hex())], 0.0)
                transport.get(["7"])


@pytest.mark.parametrize(
    ("folder", "kind"),
    [("/home/me/project", "ext4"), ("/mnt/a share/queues", "nfs4"), ("/mnt", "ext4"), ("/tmp", "tmpfs")],
)
def test_the_file_system_is_that_of_the_innermost_mount(folder: str, kind: str) -> None:
    table = (
        "22 1 8:1 / / rw,relatime shared:1 - ext4 /dev/sda1 rw\n"
        "40 22 0:30 / /tmp rw - tmpfs tmpfs rw\n"
        "41 22 0:31 / /mnt/a\\040share rw - nfs4 server:/export rw\n"
        "unreadable\n"
    )
    assert file_system_of(Path(folder), table) == kind


def test_a_network_file_system_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    table = f"41 22 0:31 / {tmp_path} rw - nfs4 server:/export rw\n"
    monkeypatch.setattr(
        "liteq.transports.sqlite.place.file_system_of", lambda folder: file_system_of(folder, table)
    )
    with pytest.raises(StoreUnavailableError, match="network file system"):
        SqliteTransport(tmp_path / "queue.db")


def test_the_wait_for_a_suspended_writer_ends_at_the_deadline(tmp_path: Path) -> None:
    held, waiting = Turnstile(tmp_path / "turnstile"), Turnstile(tmp_path / "turnstile")
    held.acquire(1.0)
    with pytest.raises(StoreBusyError, match="kept the write lock"):
        waiting.acquire(0.02)
    held.release()
    waiting.acquire(0.0)


def test_closing_does_not_wait_for_the_end_of_a_long_transaction(tmp_path: Path) -> None:
    with SqliteTransport(tmp_path / "queue.db") as writing:
        reading = SqliteTransport(tmp_path / "queue.db", busy_timeout=3600.0)
        with writing.transaction():
            writing.enqueue([JOB], 0.0)
            assert reading.count() == []
            ending = threading.Thread(target=reading.close)
            ending.start()
            ending.join(PATIENCE)
            was_closed = not ending.is_alive()
        ending.join()
        assert was_closed
        assert [job.id for job in writing.find(JobFilter())] == [JOB.id]


def test_a_transaction_of_a_foreign_connection_is_waited_for_no_longer_than_the_timeout(
    tmp_path: Path,
) -> None:
    with SqliteTransport(tmp_path / "queue.db", busy_timeout=0.05) as transport:
        foreign = sqlite3.connect(tmp_path / "queue.db", isolation_level=None)
        foreign.execute("BEGIN IMMEDIATE")
        with pytest.raises(StoreBusyError):
            transport.enqueue([JOB], 0.0)
        foreign.execute("ROLLBACK")
        foreign.close()
        assert transport.enqueue([JOB], 0.0) == [True]


@pytest.mark.skipif(not hasattr(os, "fork"), reason="there is no fork here")
def test_a_connection_from_before_a_fork_is_refused_and_locks_do_not_survive_in_the_child(
    tmp_path: Path,
) -> None:
    # In a program of its own, because a forked test runner would go on with the tests.
    script = f"""
import os, sys
from pathlib import Path
from liteq.errors import NotSupportedError
from liteq.job import NewJob
from liteq.transports.local.oslock import OsLock
from liteq.transports.sqlite.transport import SqliteTransport
transport = SqliteTransport(Path({str(tmp_path / "queue.db")!r}))
lock = OsLock(Path({str(tmp_path / "lock")!r}))
lock.try_acquire()
child = os.fork()
if child == 0:
    try:
        transport.enqueue([NewJob("id", "tasks.noop", b"")], 0.0)
    except NotSupportedError as error:
        print("refused:", error, flush=True)
    os._exit(0)
os.waitpid(child, 0)
sleeper = os.fork()
if sleeper == 0:
    import time
    os.close(1)
    os.close(2)
    time.sleep(60)
    os._exit(0)
print(sleeper, flush=True)
os._exit(0)
"""
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, timeout=30, check=True
    )
    refused, sleeper = done.stdout.splitlines()
    try:
        assert "opened before a fork" in refused
        assert is_free(tmp_path / "lock")
    finally:
        os.kill(int(sleeper), signal.SIGKILL)


def test_a_full_disk_is_told_and_nothing_of_the_call_is_stored(tmp_path: Path) -> None:
    with SqliteTransport(tmp_path / "queue.db") as transport:
        transport.enqueue([JOB], 0.0)
        # SQLite reports this limit exactly as it reports a disk without space.
        connection = transport._database._writer
        (pages,) = connection.execute("PRAGMA page_count").fetchone()
        connection.execute(f"PRAGMA max_page_count = {pages + 2}")
        with pytest.raises(StoreFullError, match="the disk is full"):
            transport.enqueue([JOB._replace(id="large", payload=b"x" * 100_000)], 0.0)
        assert transport.get(["large"]) == [None]
        connection.execute("PRAGMA max_page_count = 1000000")
        assert transport.enqueue([JOB._replace(id="large", payload=b"x" * 100_000)], 0.0) == [True]


def test_a_lock_is_seen_by_a_second_open_in_the_same_process(tmp_path: Path) -> None:
    lock = OsLock(tmp_path / "lock")
    assert lock.try_acquire()
    assert not is_free(tmp_path / "lock")
    lock.release()
    assert is_free(tmp_path / "lock")
    assert is_free(tmp_path / "never made")
    lock.close()


@pytest.mark.skipif(not hasattr(signal, "setitimer"), reason="there is no such timer there")
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
@pytest.mark.parametrize("joined", [False, True], ids=["alone", "in a transaction"])
def test_ctrl_c_at_any_moment_leaves_the_file_writable(tmp_path: Path, joined: bool) -> None:
    def interrupt(*_: object) -> None:
        raise KeyboardInterrupt

    before = signal.signal(signal.SIGALRM, interrupt)
    try:
        with SqliteTransport(tmp_path / "queue.db", durability="normal", busy_timeout=1.0) as transport:
            for number in range(300):
                try:
                    signal.setitimer(signal.ITIMER_REAL, 0.000_05 + number % 50 * 0.000_01)
                    for _ in range(50):
                        with transport.transaction() if joined else nullcontext():
                            transport.enqueue([JOB._replace(id=os.urandom(8).hex())], 0.0)
                except KeyboardInterrupt:
                    signal.setitimer(signal.ITIMER_REAL, 0)
            assert transport.enqueue([JOB._replace(id="after")], 0.0) == [True]
            other = sqlite3.connect(tmp_path / "queue.db", timeout=0)
            other.execute("BEGIN IMMEDIATE")
            assert other.execute("SELECT count(*) FROM liteq_jobs WHERE id = 'after'").fetchone() == (1,)
            other.close()
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)
        # A connection whose opening was interrupted has no owner; Python 3.13 warns when it is collected.
        gc.collect()


def test_a_queue_that_is_closed_in_use_says_so(tmp_path: Path) -> None:
    transport = SqliteTransport(tmp_path / "queue.db")
    transport.close()
    with pytest.raises(StoreUnavailableError, match="closed"):
        transport.enqueue([JOB], 0.0)
    with pytest.raises(StoreUnavailableError, match="closed"):
        transport.get(["id"])


def test_the_users_transaction_cannot_be_ended_from_inside(tmp_path: Path) -> None:
    with SqliteTransport(tmp_path / "queue.db") as transport:
        for end in ("commit", "rollback"):
            with pytest.raises(NotSupportedError), transport.transaction() as connection:
                getattr(connection, end)()
        with pytest.raises(NotSupportedError), transport.transaction() as connection:
            connection.executescript("SELECT 1")
        with pytest.raises(NotSupportedError), transport.transaction() as connection, connection:
            pass
        with (
            pytest.raises(NotSupportedError, match="the block itself commits"),
            transport.transaction() as connection,
        ):
            connection.execute("COMMIT")
        with (
            pytest.raises(NotSupportedError, match="already"),
            transport.transaction(),
            transport.transaction(),
        ):
            pass
        assert transport.enqueue([JOB], 0.0) == [True]


def test_a_lane_of_a_rolled_back_transaction_is_not_remembered(tmp_path: Path) -> None:
    with SqliteTransport(tmp_path / "queue.db") as transport:
        with pytest.raises(ZeroDivisionError), transport.transaction():  # noqa: PT012 (it fails after a write)
            transport.enqueue([JOB], 0.0)
            raise ZeroDivisionError
        transport.enqueue([JOB._replace(task="another.task")], 0.0)
        transport.enqueue([JOB._replace(id="second")], 0.0)
        found = {job.id: job.task for job in transport.get(["id", "second"]) if job is not None}
    assert found == {"id": "another.task", "second": "tasks.noop"}


def test_a_connection_on_another_file_is_refused(tmp_path: Path) -> None:
    with SqliteTransport(tmp_path / "queue.db") as transport:
        other = sqlite3.connect(tmp_path / "other.db")
        with pytest.raises(ConfigurationError, match="the queue's own file"):
            transport.check_connection(other)
        other.close()


def test_a_foreign_connection_joins_whatever_its_mode_and_row_factory(tmp_path: Path) -> None:
    with SqliteTransport(tmp_path / "queue.db") as transport:
        for number, isolation in enumerate((None, "", "IMMEDIATE")):
            connection = sqlite3.connect(tmp_path / "queue.db", isolation_level=isolation)
            connection.row_factory = lambda cursor, row: {"row": row}
            job = JOB._replace(id=str(number), payload=b"p" * 5000)
            assert transport.enqueue_on(connection, [job], 0.0) == [True]
            connection.commit()
            connection.close()
        assert [job is not None for job in transport.get(["0", "1", "2"])] == [True] * 3


def test_large_payloads_come_and_go_with_their_jobs(tmp_path: Path) -> None:
    large = b"x" * 500_000
    with SqliteTransport(tmp_path / "queue.db") as transport:
        transport.enqueue([JOB._replace(payload=large)], 0.0)
        holder = transport.register(WorkerInfo("w", "host", 1, 1), 60.0, 0.0)
        [claim] = transport.claim(holder, ClaimRequest({"tasks.noop": 1}), 1.0)
        assert claim.payload == large
        [job] = transport.get(["id"])
        assert job is not None
        assert job.payload == large
        transport.purge(None, 1.0)
    raw = sqlite3.connect(tmp_path / "queue.db")
    raw.execute("DELETE FROM liteq_jobs")
    assert raw.execute("SELECT count(*) FROM liteq_bodies").fetchone() == (0,)
    raw.close()


def test_an_idle_look_writes_nothing(tmp_path: Path) -> None:
    path = tmp_path / "queue.db"
    with SqliteTransport(path) as transport:
        holder = transport.register(WorkerInfo("w", "host", 1, 1), 60.0, 0.0)
        watcher = sqlite3.connect(path)
        before = watcher.execute("PRAGMA data_version").fetchone()
        request = ClaimRequest({"tasks.noop": 1})
        for now in range(1, 100):
            transport.next_due(request)
            transport.sweep(now)
            transport.tend(now)
            transport.renew([holder], 60.0, now)
            transport.workers()
            transport.next_sweep()
        assert watcher.execute("PRAGMA data_version").fetchone() == before
        watcher.close()


def test_what_the_dead_left_behind_is_tidied_away(tmp_path: Path) -> None:
    with SqliteTransport(tmp_path / "queue.db") as transport:
        side = tmp_path / "queue.db.liteq"
        holder = transport.register(WorkerInfo("w", "host", 1, 1), 60.0, 0.0)
        slot = transport.slot(holder)
        for name in ("life-1-dead", "slot-99"):
            (side / name).touch()
        old = time.time() - 60
        for entry in side.iterdir():
            os.utime(entry, (old, old))
        transport.tend(0.0)
        left = {entry.name.partition("-")[0] for entry in side.iterdir()}
        assert not (side / "life-1-dead").exists()
        assert not (side / "slot-99").exists()
        assert {"life", "slot"} <= left
        slot.close()


@pytest.mark.parametrize(
    ("version", "fixed"),
    [((3, 40, 1), False), ((3, 44, 6), True), ((3, 45, 0), False), ((3, 50, 7), True), ((3, 51, 2), False)],
)
def test_doctor_knows_which_sqlite_has_the_wal_fix(version: tuple[int, ...], fixed: bool) -> None:
    assert has_wal_fix(version) is fixed
    assert has_wal_fix((3, 51, 3))


def test_a_datagram_bell_rings_for_its_secret_only() -> None:
    bell = DatagramBell()
    DatagramBell.ring_at(bell.address ^ 1 << 20)
    assert not bell.wait(0.05)
    bell.ring()
    assert bell.wait(5.0)
    assert not bell.wait(0.0)
    bell.close()
