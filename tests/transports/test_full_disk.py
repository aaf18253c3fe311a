"""A full disk, as the store meets it: what is refused, what the reserve still takes, what is left behind."""

from __future__ import annotations

import os
import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest
from disks import Disk, small_disk

from liteq.errors import NotAQueueError, NotSupportedError, StoreError, StoreFullError
from liteq.job import Claim, ClaimRequest, NewJob, Transition, WorkerInfo
from liteq.lifecycle import Succeeded, decide
from liteq.states import SUCCESS
from liteq.transports.sqlite.reserve import PART, RESERVE
from liteq.transports.sqlite.transport import SqliteTransport
from liteq.transports.sqlite.trouble import translate

JOB = NewJob("id", "tasks.noop", b"payload")
WORKER = WorkerInfo("w", "host", 1, 1)
REQUEST = ClaimRequest({"tasks.noop": 1})


@pytest.fixture
def transport(disk: Disk) -> Iterator[SqliteTransport]:
    with SqliteTransport(disk.folder / "queue.db", durability="normal") as transport:
        yield transport


def enqueue_until_full(transport: SqliteTransport, prefix: str = "filler") -> list[str]:
    """Use up what room is left in the WAL; return the ids that were accepted."""
    accepted: list[str] = []
    with pytest.raises(StoreFullError, match="the disk is full"):  # noqa: PT012 (any of them may be the first)
        while True:
            transport.enqueue([JOB._replace(id=f"{prefix}-{len(accepted)}")], 0.0)
            accepted.append(f"{prefix}-{len(accepted)}")
    return accepted


def claimed(transport: SqliteTransport, count: int) -> tuple[int, list[Claim]]:
    transport.enqueue([JOB._replace(id=f"job-{number}") for number in range(count)], 0.0)
    holder = transport.register(WORKER, 60.0, 0.0)
    transport.tend(0.0)
    claims = transport.claim(holder, REQUEST._replace(limit=count, budget=10**9), 0.0)
    assert len(claims) == count
    return holder, claims


def succeeded(claims: list[Claim], result: bytes = b"r" * 100) -> list[Transition]:
    return [decide(claim, Succeeded(result), 1.0, lambda: 0.5) for claim in claims]


def reserve_of(disk: Disk) -> int:
    return (disk.folder / "queue.db.liteq" / "reserve").stat().st_size


def is_intact(path: Path) -> bool:
    connection = sqlite3.connect(path)
    try:
        return connection.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
    finally:
        connection.close()


# ---- the reserve ---------------------------------------------------------------------------------


def test_the_reserve_has_real_blocks_and_is_made_by_the_maintainer_alone(
    disk: Disk, transport: SqliteTransport
) -> None:
    reserve = disk.folder / "queue.db.liteq" / "reserve"
    transport.enqueue([JOB], 0.0)
    transport.register(WORKER, 60.0, 0.0)
    assert not reserve.exists()
    before = disk.free()
    transport.tend(0.0)
    assert reserve.stat().st_size == RESERVE
    assert before - disk.free() >= RESERVE
    assert reserve.stat().st_mode & 0o777 == 0o600


def test_what_workers_hold_is_settled_on_a_full_disk(disk: Disk, transport: SqliteTransport) -> None:
    holder, claims = claimed(transport, 128)
    disk.fill()
    accepted = enqueue_until_full(transport)
    assert transport.settle(holder, succeeded(claims), 1.0) == []
    assert 0 < reserve_of(disk) < RESERVE
    jobs = transport.get([claim.id for claim in claims])
    assert {job.state for job in jobs if job} == {SUCCESS}
    assert all(job for job in transport.get(accepted))
    assert transport.get([f"filler-{len(accepted)}"]) == [None]
    assert is_intact(disk.folder / "queue.db")


def test_nobody_but_those_who_settle_gives_up_the_reserve(disk: Disk, transport: SqliteTransport) -> None:
    holder, claims = claimed(transport, 1)
    disk.fill()
    enqueue_until_full(transport)
    with pytest.raises(StoreFullError):
        transport.update_state(claims[0].seq, claims[0].token, "PROGRESS", b"m" * 100_000)
    with pytest.raises(StoreFullError), transport.transaction() as connection:  # noqa: PT012
        connection.execute("CREATE TABLE big AS SELECT randomblob(100000)")
        transport.enqueue([JOB._replace(id="in a transaction")], 0.0)
    for _ in range(20):
        # Each needs so little that it may fit at first.
        with suppress(StoreFullError):
            transport.register(WORKER, 60.0, 0.0)
        with suppress(StoreFullError):
            transport.claim(holder, REQUEST, 0.0)
        with suppress(StoreFullError):
            transport.renew([holder], 60.0, 0.0)
    with pytest.raises(StoreFullError):
        transport.register(WORKER, 60.0, 0.0)
    assert reserve_of(disk) == RESERVE


def test_a_settlement_that_needs_more_than_a_part_gets_more(disk: Disk, transport: SqliteTransport) -> None:
    holder, claims = claimed(transport, 1)
    disk.fill()
    enqueue_until_full(transport)
    result = os.urandom(3 * PART)
    transport.settle(holder, succeeded(claims, result), 1.0)
    [job] = transport.get([claims[0].id])
    assert job is not None
    assert job.result == result
    assert reserve_of(disk) > 0


def test_a_settlement_that_even_the_reserve_cannot_take_is_refused_whole(
    disk: Disk, transport: SqliteTransport
) -> None:
    holder, claims = claimed(transport, 2)
    disk.fill()
    enqueue_until_full(transport)
    small, large = claims
    settlements = [*succeeded([small]), *succeeded([large], os.urandom(2 * RESERVE))]
    with pytest.raises(StoreFullError):
        transport.settle(holder, settlements, 1.0)
    assert len(transport.leases(holder)) == 2
    disk.empty()
    assert transport.settle(holder, settlements, 1.0) == []


def test_whoever_met_the_full_disk_settles_without_claiming_until_there_is_room(
    disk: Disk, transport: SqliteTransport
) -> None:
    holder, claims = claimed(transport, 2)
    transport.enqueue([JOB._replace(id="waits")], 0.0)
    disk.fill()
    enqueue_until_full(transport)
    one, other = succeeded(claims)
    assert transport.turn(holder, 1.0, [one], REQUEST).claimed == []
    # What the part has left over would do for a claim, but not for the settlement after it.
    assert transport.turn(holder, 1.0, [other], REQUEST).claimed == []
    with pytest.raises(StoreFullError):
        transport.turn(holder, 1.0, [], REQUEST)
    disk.empty()
    first, *_ = transport.claim(holder, REQUEST, 1.0)
    assert first.id == "waits"


def test_the_reserve_is_made_whole_again_when_that_leaves_enough_to_others(
    disk: Disk, transport: SqliteTransport
) -> None:
    holder, claims = claimed(transport, 1)
    disk.fill()
    enqueue_until_full(transport)
    transport.settle(holder, succeeded(claims), 1.0)
    spent = reserve_of(disk)
    transport.tend(1.0)
    assert reserve_of(disk) == spent < RESERVE
    disk.empty()
    disk.fill(leave=RESERVE)
    transport.tend(2.0)
    assert reserve_of(disk) == spent
    disk.empty()
    transport.tend(3.0)
    assert reserve_of(disk) == RESERVE


def test_a_reserve_that_cannot_be_made_is_told_once_and_stops_nobody(
    disk: Disk, transport: SqliteTransport, caplog: pytest.LogCaptureFixture
) -> None:
    disk.fill(leave=RESERVE)
    holder, claims = claimed(transport, 1)
    transport.tend(1.0)
    assert transport.settle(holder, succeeded(claims), 1.0) == []
    assert sum("cannot be made whole" in record.getMessage() for record in caplog.records) == 1
    findings = {finding.check: finding for finding in transport.diagnose(1.0)}
    assert not findings["reserve"].ok
    assert not findings["free space"].ok
    disk.empty()
    disk.resize("size=64m")
    transport.tend(2.0)
    findings = {finding.check: finding for finding in transport.diagnose(2.0)}
    assert findings["reserve"].ok
    assert findings["free space"].ok


def test_workers_of_several_processes_each_get_a_part(disk: Disk, transport: SqliteTransport) -> None:
    holder, claims = claimed(transport, 8)
    disk.fill()
    enqueue_until_full(transport)
    others = [SqliteTransport(disk.folder / "queue.db", durability="normal") for _ in range(3)]
    for number, claim in enumerate(claims):
        other = others[number % 3]
        assert other.settle(holder, succeeded([claim], os.urandom(PART // 2)), 1.0) == []
        # A producer that never gives up cannot get at what is left of the reserve.
        with pytest.raises(StoreFullError):  # noqa: PT012 (any of them may be the first)
            for _ in range(1000):
                transport.enqueue([JOB._replace(id=os.urandom(8).hex(), payload=b"p" * 10_000)], 0.0)
    for other in others:
        other.close()
    assert transport.leases(holder) == []


def test_what_a_killed_process_has_cut_off_is_there_for_the_next_and_made_again(
    disk: Disk, transport: SqliteTransport
) -> None:
    holder, claims = claimed(transport, 1)
    disk.fill()
    enqueue_until_full(transport)
    # As it is left by a process that is killed between the cut and its settlement.
    os.truncate(disk.folder / "queue.db.liteq" / "reserve", RESERVE - PART)
    assert transport.settle(holder, succeeded(claims), 1.0) == []
    assert reserve_of(disk) == RESERVE - PART
    disk.empty()
    transport.tend(2.0)
    assert reserve_of(disk) == RESERVE


# ---- what is refused -----------------------------------------------------------------------------


def test_a_commit_whose_checkpoint_finds_no_room_is_a_commit(disk: Disk, transport: SqliteTransport) -> None:
    # Grown first, so that the WAL has space for more commits than the database has room for.
    number = 0
    while not (disk.folder / "queue.db-wal").stat().st_size > 8 * 1024 * 1024:
        number += 1
        transport.enqueue([JOB._replace(id=f"grow-{number}", payload=b"g" * 100_000)], 0.0)
    size = (disk.folder / "queue.db").stat().st_size
    disk.fill()
    accepted = enqueue_until_full(transport, "small")
    while not accepted or len(accepted) < 3:
        accepted += enqueue_until_full(transport, f"more-{len(accepted)}")
    assert (disk.folder / "queue.db").stat().st_size == size
    assert all(transport.get(accepted))
    assert sum(lane.jobs for lane in transport.count()) == number + len(accepted)
    disk.empty()
    transport.tend(0.0)
    assert is_intact(disk.folder / "queue.db")


def test_the_maintainer_goes_on_when_a_checkpoint_finds_no_room(
    disk: Disk, transport: SqliteTransport
) -> None:
    transport.enqueue([JOB._replace(payload=b"p" * 500_000)], 0.0)
    disk.fill()
    with pytest.raises(StoreFullError):
        transport._database.checkpoint()
    transport.tend(0.0)
    disk.empty()
    transport.tend(1.0)
    assert (disk.folder / "queue.db").stat().st_size > 500_000
    assert reserve_of(disk) == RESERVE


def test_a_transaction_that_found_no_room_is_undone_whole_whatever_its_user_catches(
    disk: Disk, transport: SqliteTransport
) -> None:
    with transport.transaction() as connection:
        connection.execute("CREATE TABLE notes (body)")
    disk.fill()
    enqueue_until_full(transport)
    with pytest.raises(StoreFullError), transport.transaction() as connection:  # noqa: PT012
        connection.execute("INSERT INTO notes VALUES ('before')")
        with pytest.raises(StoreFullError):
            # More than the cache holds, so that it is written before the COMMIT.
            transport.enqueue([JOB._replace(id="large", payload=os.urandom(20_000_000))], 0.0)
        # Nothing that comes after may be committed by itself.
        with pytest.raises(StoreFullError):
            connection.execute("DELETE FROM notes")
        with pytest.raises(StoreFullError):
            connection.cursor().executemany("INSERT INTO notes VALUES (?)", [("after",)])
        with pytest.raises(StoreFullError):
            transport.enqueue([JOB._replace(id="small")], 0.0)
    disk.empty()
    with transport.transaction() as connection:
        assert connection.execute("SELECT count(*) FROM notes").fetchone() == (0,)
    assert transport.get(["large", "small"]) == [None, None]


def test_a_statement_after_the_end_of_a_transaction_is_refused(tmp_path: Path) -> None:
    with SqliteTransport(tmp_path / "queue.db") as transport:
        with (  # noqa: PT012
            pytest.raises(NotSupportedError, match="ended the transaction"),
            transport.transaction() as connection,
        ):
            connection.execute("CREATE TABLE notes (body)")
            # A cursor of another kind than ours asks nobody.
            connection.cursor(sqlite3.Cursor).execute("COMMIT")
            connection.execute("INSERT INTO notes VALUES ('by itself')")
        with transport.transaction() as connection:
            assert connection.execute("SELECT count(*) FROM notes").fetchone() == (0,)


@pytest.mark.parametrize("leave", [0, 4096, 8192, 16_384, 50_000, 80_000])
def test_a_queue_whose_making_finds_no_room_is_no_queue_until_somebody_can_make_it(
    disk: Disk, leave: int
) -> None:
    path = disk.folder / "new.db"
    disk.fill(leave)
    with pytest.raises(StoreFullError, match="the disk is full"):
        SqliteTransport(path)
    disk.empty()
    if path.exists():
        with pytest.raises(NotAQueueError):
            SqliteTransport(path, create=False)
    with SqliteTransport(path) as transport:
        assert transport.enqueue([JOB], 0.0) == [True]
    assert is_intact(path)


def test_another_programs_database_is_left_as_it_was_where_the_tables_find_no_room(disk: Disk) -> None:
    path = disk.folder / "shop.db"
    own = sqlite3.connect(path)
    own.executescript("CREATE TABLE orders (id); INSERT INTO orders VALUES (1);")
    disk.fill()
    with pytest.raises(StoreFullError):
        SqliteTransport(path)
    assert own.execute("SELECT * FROM orders").fetchall() == [(1,)]
    disk.empty()
    with SqliteTransport(path) as transport:
        assert transport.enqueue([JOB], 0.0) == [True]
    assert own.execute("SELECT * FROM orders").fetchall() == [(1,)]
    own.close()


def test_a_full_disk_that_nobody_has_opened_yet_says_so(disk: Disk) -> None:
    path = disk.folder / "queue.db"
    SqliteTransport(path).close()
    disk.fill()
    # SQLite's shared memory is a file too, and a reader needs it.
    with pytest.raises(StoreFullError):
        SqliteTransport(path)
    disk.empty()
    with SqliteTransport(path) as transport:
        assert transport.enqueue([JOB], 0.0) == [True]


def test_a_mapped_side_file_is_refused_and_never_written_into_a_hole(disk: Disk) -> None:
    # In a program of its own: where this fails, the system ends it with SIGBUS.
    script = """
import sys
from pathlib import Path
from liteq.errors import StoreFullError
from liteq.job import WorkerInfo
from liteq.transports.sqlite.bell_table import BellTable
from liteq.transports.sqlite.transport import SqliteTransport
from liteq.transports.sqlite.trouble import translate

path = Path(sys.argv[1])
transport = SqliteTransport(path)
holder = transport.register(WorkerInfo("w", "host", 1, 1), 60.0, 0.0)
with open(path.parent / "filler", "wb", buffering=0) as filler:
    try:
        while filler.write(bytes(4096)):
            pass
    except OSError:
        pass
def publish():
    transport.slot(holder).begin(1, 1, None)
def arm():
    BellTable(path.parent / "bells").arm(9, 1)
for write in (publish, arm):
    try:
        write()
    except OSError as error:
        print(type(error).__name__)
"""
    done = subprocess.run(
        [sys.executable, "-c", script, disk.folder / "queue.db"],
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
    )
    assert (done.returncode, done.stdout) == (0, "StoreFullError\nOSError\n"), done.stderr


def test_a_table_of_bells_with_holes_gets_its_blocks_when_it_is_opened(disk: Disk) -> None:
    side = disk.folder / "queue.db.liteq"
    SqliteTransport(disk.folder / "queue.db").close()
    size = (side / "bells").stat().st_size
    os.truncate(side / "bells", 0)
    os.truncate(side / "bells", size)
    SqliteTransport(disk.folder / "queue.db").close()
    assert (side / "bells").stat().st_blocks * 512 >= size


# ---- inodes --------------------------------------------------------------------------------------


def test_a_disk_without_inodes_refuses_new_workers_with_a_sentence_and_serves_the_others(
    tmp_path: Path,
) -> None:
    with (
        small_disk(tmp_path / "disk", "size=24m,nr_inodes=20") as disk,
        SqliteTransport(disk.folder / "queue.db") as transport,
    ):
        holder, claims = claimed(transport, 1)
        with transport.lead():
            pass
        fillers = []
        with pytest.raises(OSError, match="space"):  # noqa: PT012 (any of them may be the first)
            while True:
                fillers.append(disk.folder / f"empty-{len(fillers)}")
                fillers[-1].touch()
        with pytest.raises(StoreFullError, match="out of inodes"):
            transport.register(WORKER, 60.0, 0.0)
        with pytest.raises(StoreFullError, match="the disk is full"):
            SqliteTransport(disk.folder / "another.db")
        with transport.lead() as leads:
            assert leads
        listener = transport.listen_for_result("job-0")
        listener.close()
        assert transport.settle(holder, succeeded(claims), 1.0) == []
        assert transport.enqueue([JOB], 0.0) == [True]
        for filler in fillers[:-1]:
            filler.unlink()
        assert transport.register(WORKER, 60.0, 0.0) > holder


def test_a_worker_that_finds_no_room_to_register_leaves_nothing_behind(
    disk: Disk, transport: SqliteTransport
) -> None:
    disk.fill()
    enqueue_until_full(transport)
    before = sorted(entry.name for entry in (disk.folder / "queue.db.liteq").iterdir())
    for _ in range(5):
        with pytest.raises(StoreFullError):
            transport.register(WORKER, 60.0, 0.0)
    assert sorted(entry.name for entry in (disk.folder / "queue.db.liteq").iterdir()) == before


def test_an_error_of_the_system_is_a_full_disk_where_a_small_file_finds_no_room(disk: Disk) -> None:
    # What SQLite says when a user's quota is used up, which no test can do.
    error = sqlite3.OperationalError("disk I/O error")
    error.sqlite_errorname = "SQLITE_IOERR_WRITE"
    path = disk.folder / "queue.db"
    assert type(translate(error, path)) is StoreError
    disk.fill()
    assert type(translate(error, path)) is StoreFullError
    disk.empty()
    assert list(disk.folder.iterdir()) == []
