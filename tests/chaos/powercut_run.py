"""The run whose power is cut: jobs come and go on a small queue, over a file layer that logs everything.

It is done in a child that loads nothing else, and leaves its log in a file. Commits, checkpoints and restarts
of the WAL follow each other closely, because the limit of the WAL is a few pages here.
"""

from __future__ import annotations

import pickle
import random
import sqlite3
import threading
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

from chaos import sabotage
from chaos.disk import Event
from chaos.filecheck import dump, payload_of
from chaos.nursery import Report
from chaos.vfs import Call, FileLayer, Proceed, syncs_directory
from liteq.job import Claim, ClaimRequest, NewJob, Transition, WorkerInfo
from liteq.lifecycle import Outcome, Raised, Returned, Succeeded, decide
from liteq.retry import RetryPolicy
from liteq.transports.sqlite import checkpoint
from liteq.transports.sqlite import transport as transport_module
from liteq.transports.sqlite.connection import Database, Unit
from liteq.transports.sqlite.transport import SqliteTransport

__all__ = ["DATABASE", "WAL", "Run", "record"]

DATABASE = "queue.db"
WAL = f"{DATABASE}-wal"
NOW = 1_700_000_000.0
SMALL_WAL = 30 * 4120
"""Bytes; a WAL has a checkpoint after each 30 pages or so."""
ANY = ClaimRequest({"shop.add": 1000, "shop.mail": 1000}, budget=10**9, limit=4)
POLICY = RetryPolicy(default_retry_delay=1.0)


class Run(NamedTuple):
    """What was recorded.

    Attributes:
        events: the log; a `commit` in it, with its number as `count`, says that this commit has returned, and
            a `tended` that the maintainer's round has returned that began after commit number `count`.
        states: all that the file held after each commit; first, when it had just been made.
    """

    events: list[Event]
    states: list[list[str]]


class _Recorder:
    """The handler of the file layer that writes the log."""

    def __init__(self, folder: Path) -> None:
        self.run = Run([], [])
        self.now = NOW
        self._folder = folder
        self._names: dict[str, int] = {}
        self._files: dict[int, tuple[str, int]] = {}
        self._unsynced_names: set[int] = set()
        self._numbers = 0

    def __call__(self, call: Call, proceed: Proceed) -> int:
        # The content is copied before, because SQLite may use its buffer again.
        data = call.content() if call.operation == "write" else b""
        code = proceed()
        if code == sqlite3.SQLITE_OK:
            self._note(call, data)
        return code

    def _note(self, call: Call, data: bytes) -> None:
        if call.operation == "open":
            self._note_open(call)
        elif call.operation == "delete" and Path(call.path).parent == self._folder:
            name = Path(call.path).name
            self._log("delete", name, self._names.pop(name, 0))
            if call.flags:
                self._log("sync directory")
        elif call.file != "shm" and call.handle in self._files:
            name, file = self._files[call.handle]
            if call.operation == "write":
                self._log("write", name, file, call.offset, data)
            elif call.operation == "truncate":
                self._log("truncate", name, file, call.size)
            elif call.operation == "sync":
                self._log("sync", name, file)
                if call.handle in self._unsynced_names:
                    self._unsynced_names.remove(call.handle)
                    self._log("sync directory")
            elif call.operation == "close":
                del self._files[call.handle]
                self._unsynced_names.discard(call.handle)

    def _note_open(self, call: Call) -> None:
        path = Path(call.path)
        if path.parent != self._folder:
            return
        if path.name not in self._names:
            # The database is made by liteq a moment before SQLite opens it.
            self._numbers += 1
            self._names[path.name] = self._numbers
            self._log("create", path.name, self._numbers)
        self._files[call.handle] = path.name, self._names[path.name]
        if syncs_directory(call):
            self._unsynced_names.add(call.handle)

    def _log(self, kind: str, name: str = "", file: int = 0, offset: int = 0, data: bytes = b"") -> None:
        self.run.events.append(Event(kind, name, file, offset, data, at=self.now))

    def note_commit(self, connection: sqlite3.Connection) -> None:
        """Log that a commit has returned, and what the file holds now."""
        self.run.states.append(dump(connection, exact=True))
        self.run.events.append(Event("commit", count=len(self.run.states) - 1, at=self.now))

    def tend(self, transport: SqliteTransport) -> None:
        """Let the maintainer do its round."""
        before = len(self.run.states) - 1
        transport.tend(self.now)
        self.run.events.append(Event("tended", count=before, at=self.now))


class _Program:
    """A program that uses the queue in every way."""

    def __init__(self, path: Path, dice: random.Random, durability: str, recorder: _Recorder) -> None:
        self._path = path
        self._dice = dice
        self._durability = durability
        self._recorder = recorder
        self._number = 0
        self._claims: list[Claim] = []
        self._reader: sqlite3.Connection | None = None
        self._transport = self._open()
        with self._transport._database.read() as connection:
            recorder.note_commit(connection)
        self._holder = self._transport.register(WorkerInfo("worker", "host", 1, 1), 1e9, NOW)
        with self._transport.transaction() as connection:
            connection.execute("CREATE TABLE orders (number INTEGER PRIMARY KEY, job TEXT)")

    def _open(self) -> SqliteTransport:
        return SqliteTransport(self._path, durability=self._durability, busy_timeout=2.0)  # type: ignore[arg-type]

    def work(self, steps: int) -> None:
        """Do so many things, and let the maintainer look each second meanwhile."""
        doings: dict[Callable[[], None], int] = {
            self._enqueue: 8,
            self._enqueue_many: 3,
            self._enqueue_in_a_transaction: 3,
            self._enqueue_on_a_connection: 1,
            self._enqueue_together: 1,
            self._turn: 10,
            self._complete: 2,
            self._manage: 3,
            self._read_for_long: 2,
            self._open_again: 1,
        }
        second = int(self._recorder.now)
        for _ in range(steps):
            [do] = self._dice.choices(list(doings), list(doings.values()))
            do()
            self._recorder.now += self._dice.choice([0.01, 0.1, 0.3])
            if int(self._recorder.now) != second:
                second = int(self._recorder.now)
                self._recorder.tend(self._transport)
        self._end_reading()
        self._transport.close()

    def _job(self) -> NewJob:
        self._number += 1
        name = f"job-{self._number}"
        job = NewJob(
            name,
            self._dice.choice(["shop.add", "shop.mail"]),
            payload_of(name, self._dice.choice([0, 0, 0, 900, 6000])),
        )
        return job._replace(
            priority=self._dice.choice([0, 0, 1]),
            eta=self._dice.choice([None, None, None, self._recorder.now + 1.0]),
            expires=self._dice.choice([None, None, None, self._recorder.now + 2.0]),
            result_expires=1.0,
        )

    def _enqueue(self) -> None:
        self._transport.enqueue([self._job()], self._recorder.now)

    def _enqueue_many(self) -> None:
        jobs = [self._job() for _ in range(self._dice.randint(2, 12))]
        self._transport.enqueue(jobs, self._recorder.now)

    def _enqueue_in_a_transaction(self) -> None:
        with self._transport.transaction() as connection:
            for job in [self._job() for _ in range(self._dice.randint(1, 3))]:
                connection.execute("INSERT INTO orders (job) VALUES (?)", (job.id,))
                self._transport.enqueue([job], self._recorder.now)
            connection.execute("DELETE FROM orders WHERE number % 3 = 0")

    def _enqueue_on_a_connection(self) -> None:
        connection = sqlite3.connect(self._path, isolation_level=None)
        if self._durability == "off":
            connection.execute("PRAGMA synchronous = OFF")
        self._transport.enqueue_on(connection, [self._job()], self._recorder.now)
        self._recorder.note_commit(connection)
        connection.close()

    def _enqueue_together(self) -> None:
        threads = [
            threading.Thread(target=self._transport.enqueue, args=([self._job()], self._recorder.now))
            for _ in range(4)
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()

    def _turn(self) -> None:
        self._dice.shuffle(self._claims)
        share = self._dice.randint(0, len(self._claims))
        ending, self._claims = self._claims[:share], self._claims[share:]
        request = self._dice.choice([None, ANY, ANY])
        turn = self._transport.turn(self._holder, self._recorder.now, [*map(self._end, ending)], request)
        self._claims += turn.claimed

    def _complete(self) -> None:
        if self._claims:
            claim = self._claims.pop()
            with self._transport.completion(claim.seq, claim.token, lambda: self._end(claim)) as connection:
                connection.execute("INSERT INTO orders (job) VALUES (?)", (claim.id,))

    def _end(self, claim: Claim) -> Transition:
        outcomes: list[Outcome] = [
            Succeeded(b"the result" * self._dice.choice([1, 200])),
            Succeeded(),
            Raised(b"the error", "it failed", POLICY),
            Raised(b"the error", "it failed", POLICY, automatic=True),
            Returned(),
        ]
        ended = decide(claim, self._dice.choice(outcomes), self._recorder.now, self._dice.random)
        return ended._replace(keep=self._dice.random() < 0.5)

    def _manage(self) -> None:
        names = [f"job-{self._dice.randint(1, self._number + 1)}" for _ in range(3)]
        now = self._recorder.now
        match self._dice.randrange(5):
            case 0:
                self._transport.revoke(names, now, "not wanted")
            case 1:
                self._transport.requeue(names, now)
            case 2:
                self._transport.forget(names[0])
            case 3:
                self._transport.sweep(now)
            case 4:
                self._transport._database.checkpoint()

    def _read_for_long(self) -> None:
        """Begin to read and keep on, as a report or a backup does, or end that."""
        if self._reader is not None:
            self._end_reading()
            return
        self._reader = sqlite3.connect(self._path, isolation_level=None)
        self._reader.execute("PRAGMA wal_autocheckpoint = 0")
        self._reader.execute("BEGIN")
        self._reader.execute("SELECT count(*) FROM liteq_jobs").fetchone()

    def _end_reading(self) -> None:
        reader, self._reader = self._reader, None
        if reader is not None:
            reader.close()

    def _open_again(self) -> None:
        self._end_reading()
        self._transport.close()
        self._transport = self._open()


def record(
    report: Report, folder: str, seed: int, durability: str, steps: int, fault: str, target: str
) -> None:
    """In a child: do a run, and pickle what was recorded into a file.

    Args:
        report: how to tell something.
        folder: an empty one, for the queue.
        seed: what makes the same run again, but for the order of threads that come together.
        durability: `full`, `normal`, or `off`, which liteq does not offer.
        steps: how many things are done.
        fault: the name of a seeded fault; "" for none.
        target: the file for the record.
    """
    checkpoint.WAL_LIMIT = SMALL_WAL
    checkpoint.KEPT_WAL = transport_module.KEPT_WAL = SMALL_WAL * 3 // 2
    recorder = _Recorder(Path(folder))
    commit = Database._commit

    def noted(self: Database, unit: Unit) -> None:
        commit(self, unit)
        recorder.note_commit(self._connection(unit.own))

    Database._commit = noted
    if fault:
        sabotage.FAULTS[fault]()
    layer = FileLayer()
    layer.handler = recorder
    _Program(Path(folder, DATABASE), random.Random(seed), durability, recorder).work(steps)
    layer.handler = None
    if layer.broken:
        raise layer.broken[0]
    Path(target).write_bytes(pickle.dumps(recorder.run))
