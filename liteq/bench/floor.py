"""The floor: the writes of each workload, in the same transactions, by bare `sqlite3`.

The table, its indexes and the statements are those of liteq's own file (`liteq.transports.sqlite`), as far
as a plain job touches them. What liteq adds is missing: encoding, ids, checks, leases that somebody
watches, wake-ups, and running the task.
"""

from __future__ import annotations

import multiprocessing
import sqlite3
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from contextlib import closing, contextmanager
from multiprocessing.synchronize import Barrier, Event, Lock
from pathlib import Path
from threading import BrokenBarrierError

from liteq.bench.children import follow_parent
from liteq.bench.plan import Plan, fresh_folder
from liteq.errors import WorkerError
from liteq.ids import new_id

__all__ = ["drain", "drain_without_results", "end_to_end", "enqueue_in_bulk", "enqueue_one_by_one"]

PATIENCE = 120.0
START_PATIENCE = 30.0
BULK = 1000
"""Jobs in one transaction of `enqueue_many()`."""
BATCH = 128
"""Jobs that a worker settles and claims in one transaction."""
LOOK_EVERY = 0.001
"""Seconds between looks for jobs that are still to come; there are no wake-ups in the floor."""
WAL_PAGES = 2048
"""Pages in the WAL above which a commit checkpoints; 8 MiB."""

SCHEMA = (
    """CREATE TABLE jobs (
        seq INTEGER PRIMARY KEY, id TEXT NOT NULL, lane INTEGER NOT NULL, stage INTEGER NOT NULL,
        state TEXT NOT NULL, priority INTEGER NOT NULL, due REAL NOT NULL, eta REAL, expires REAL,
        holder INTEGER, token INTEGER, attempts INTEGER NOT NULL, retries INTEGER NOT NULL,
        crashes INTEGER NOT NULL, max_crashes INTEGER NOT NULL, ignore_result INTEGER NOT NULL,
        result_expires REAL, enqueued REAL NOT NULL, started REAL, done REAL, discard REAL,
        codec TEXT, options BLOB, reason TEXT, result BLOB, payload BLOB
    )""",
    "CREATE UNIQUE INDEX ids ON jobs (id)",
    "CREATE INDEX ready ON jobs (lane, priority DESC, due) WHERE stage = 0",
    "CREATE INDEX delayed ON jobs (due) WHERE stage = 1",
    "CREATE INDEX leased ON jobs (holder) WHERE stage = 2",
    "CREATE INDEX finished ON jobs (discard) WHERE stage = 3",
    "CREATE INDEX expiring ON jobs (expires) WHERE expires IS NOT NULL AND stage < 2",
)
INSERT = """
    INSERT INTO jobs (id, lane, stage, state, priority, due, attempts, retries, crashes, max_crashes,
        ignore_result, enqueued, payload)
    VALUES (?, 1, 0, 'PENDING', 0, ?, 0, 0, 0, 3, 0, ?, ?)"""
FINISH = """
    UPDATE jobs SET stage = 3, state = 'SUCCESS', holder = NULL, token = NULL, done = ?1,
        discard = ?1 + 86400.0, result = ?2 WHERE seq = ?3 AND token = ?4"""
FORGET = "DELETE FROM jobs WHERE seq = ?3 AND token = ?4"
"""Binds what `FINISH` does."""
CLAIM = f"""
    UPDATE jobs SET stage = 2, state = 'STARTED', holder = ?1, token = ?2, started = ?3,
        attempts = attempts + 1
    WHERE seq IN (SELECT seq FROM jobs WHERE stage = 0 AND lane = 1 ORDER BY priority DESC, due, seq
        LIMIT {BATCH})
    RETURNING seq, token, id, payload, priority, due, attempts, retries, crashes, max_crashes"""
PAYLOAD = b"\x92\x90\x80"
"""As long as an encoded call without arguments."""

Row = tuple[object, ...]


def enqueue_one_by_one(plan: Plan) -> float:
    """Insert and commit each job."""
    with new_file(plan) as (connection, _):
        rows = new_rows(plan.single_jobs)
        began = time.perf_counter()
        for row in rows:
            connection.execute("BEGIN IMMEDIATE")
            connection.execute(INSERT, row)
            connection.execute("COMMIT")
        return time.perf_counter() - began


def enqueue_in_bulk(plan: Plan) -> float:
    """Insert the jobs with `executemany`, a thousand in each transaction."""
    with new_file(plan) as (connection, _):
        rows = new_rows(plan.jobs)
        began = time.perf_counter()
        insert_in_bulk(connection, rows)
        return time.perf_counter() - began


def drain(plan: Plan) -> float:
    """Settle and claim all jobs in batches, by as many processes as there are workers."""
    with new_file(plan) as (connection, path):
        insert_in_bulk(connection, new_rows(plan.jobs))
        return run_pipeline(plan, path, FINISH)


def drain_without_results(plan: Plan) -> float:
    """Do the same, and delete each job that is done."""
    with new_file(plan) as (connection, path):
        insert_in_bulk(connection, new_rows(plan.jobs))
        return run_pipeline(plan, path, FORGET)


def end_to_end(plan: Plan) -> float:
    """Insert and commit each job here, while as many processes as there are workers settle and claim."""
    with new_file(plan) as (connection, path):
        rows = new_rows(plan.jobs)

        def produce(lock: Lock) -> None:
            for row in rows:
                with lock:
                    connection.execute("BEGIN IMMEDIATE")
                    connection.execute(INSERT, row)
                    connection.execute("COMMIT")

        return run_pipeline(plan, path, FINISH, produce)


@contextmanager
def new_file(plan: Plan) -> Iterator[tuple[sqlite3.Connection, Path]]:
    """Make a database with the table and its indexes."""
    with fresh_folder(plan) as folder:
        path = folder / "floor.db"
        with closing(connect(path, plan.durability)) as connection:
            connection.execute("PRAGMA journal_mode = WAL")
            for statement in SCHEMA:
                connection.execute(statement)
            yield connection, path


def connect(path: Path, durability: str) -> sqlite3.Connection:
    """Open the database with the settings that matter for its speed as liteq has them."""
    connection = sqlite3.connect(path, timeout=PATIENCE, isolation_level=None, cached_statements=256)
    for pragma in (
        "mmap_size = 0",
        f"wal_autocheckpoint = {WAL_PAGES}",
        f"synchronous = {durability}",
        "fullfsync = 1",
        "checkpoint_fullfsync = 1",
        "temp_store = MEMORY",
        "cache_size = -8000",
    ):
        connection.execute(f"PRAGMA {pragma}")
    return connection


def new_rows(jobs: int) -> list[Row]:
    """Make the rows of new jobs; nobody takes the time of this."""
    now = time.time()
    return [(new_id(), now, now, PAYLOAD) for _ in range(jobs)]


def insert_in_bulk(connection: sqlite3.Connection, rows: Sequence[Row]) -> None:
    """Insert rows, `BULK` in each transaction."""
    for first in range(0, len(rows), BULK):
        connection.execute("BEGIN IMMEDIATE")
        connection.executemany(INSERT, rows[first : first + BULK])
        connection.execute("COMMIT")


# ---- the pipeline of several processes -----------------------------------------------------------


def run_pipeline(
    plan: Plan, path: Path, settle: str, produce: Callable[[Lock], None] = lambda lock: None
) -> float:
    """Start the processes, let them go at one moment, produce, and wait until all jobs are done."""
    context = multiprocessing.get_context("spawn")
    gate = context.Barrier(plan.workers + 1)
    lock, produced = context.Lock(), context.Event()
    with ProcessPoolExecutor(
        plan.workers, context, initializer=share, initargs=(lock, gate, produced)
    ) as pool:
        futures = [
            pool.submit(work_off, path, plan.durability, holder, settle) for holder in range(plan.workers)
        ]
        try:
            gate.wait(START_PATIENCE)
            began = time.perf_counter()
            produce(lock)
        except BrokenBarrierError:
            raise WorkerError("The processes that measure the floor did not start.") from None
        except BaseException:
            gate.abort()
            raise
        finally:
            produced.set()
        done = sum(future.result() for future in futures)
        seconds = time.perf_counter() - began
    if done != plan.jobs:
        raise WorkerError(f"Of {plan.jobs} jobs the floor did {done}; nothing was measured.")
    return seconds


shared: list[tuple[Lock, Barrier, Event]] = []
"""In a process of the pipeline: what it was started with."""


def share(lock: Lock, gate: Barrier, produced: Event) -> None:
    """Prepare a process of the pipeline: keep what all have together."""
    follow_parent()
    shared.append((lock, gate, produced))


def work_off(path: Path, durability: str, holder: int, settle: str) -> int:
    """Settle and claim in batches until nothing is left or to come; return how many jobs this process did."""
    lock, gate, produced = shared[0]
    done = 0
    with closing(connect(path, durability)) as connection:
        connection.execute("SELECT count(*) FROM sqlite_master").fetchone()
        gate.wait(PATIENCE)
        claimed: list[Row] = []
        token = holder
        while True:
            token += 1000
            settled = [(time.time(), None, row[0], row[1]) for row in claimed]
            last = produced.is_set()
            # One at a time: SQLite's own waiting starves one of them now and then, and some versions of it
            # can damage a file if one process checkpoints while another writes.
            with lock:
                claimed = settle_and_claim(connection, settle, settled, holder, token)
            done += len(settled)
            if not claimed and last:
                return done
            if not claimed:
                time.sleep(LOOK_EVERY)


def settle_and_claim(
    connection: sqlite3.Connection, settle: str, settled: Sequence[Row], holder: int, token: int
) -> list[Row]:
    """Settle a batch and claim the next one in one transaction."""
    connection.execute("BEGIN IMMEDIATE")
    connection.executemany(settle, settled)
    found: list[Row] = connection.execute(CLAIM, (holder, token, time.time())).fetchall()
    connection.execute("COMMIT")
    return found
