"""The one way to read the queue's file, and the one way to write it.

A process has one writing connection and one reading connection on a file, each behind a lock of its
own, so that a reader never waits for a writer. A third serves `Queue.transaction()`: what its user does
to it (row factories, pragmas, temporary tables) cannot disturb the others.
"""

from __future__ import annotations

import contextlib
import os
import sqlite3
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from types import TracebackType

from liteq.errors import (
    LiteqError,
    NotSupportedError,
    StoreBusyError,
    StoreUnavailableError,
)
from liteq.transports.sqlite.checkpoint import checkpoint, sync_wal, wal_size
from liteq.transports.sqlite.descriptors import Hold
from liteq.transports.sqlite.forking import Lock, wait_at_forks
from liteq.transports.sqlite.identity import Identity
from liteq.transports.sqlite.marks import check_version
from liteq.transports.sqlite.opening import Durability, Opener
from liteq.transports.sqlite.place import PRIVATE, SideFolder, check_companions, check_place
from liteq.transports.sqlite.trouble import translate, translated
from liteq.transports.sqlite.turnstile import Turnstile
from liteq.transports.sqlite.user_connection import LentConnection, UserConnection

__all__ = ["Database", "Unit", "Write"]

LONG_TURN = 1.0
"""Seconds after which a turn that has not come will not come soon: somebody keeps the lock."""


class Unit:
    """One write transaction: its connection, and what to do once it has committed."""

    __slots__ = ("abandoned", "after_commit", "committed", "connection", "own")

    def __init__(self, connection: sqlite3.Connection, own: bool) -> None:
        self.connection = connection
        self.own = own
        """False when a user opened it: then parts of it may be rolled back without our knowledge."""
        self.abandoned = False
        self.committed = False
        """Whether it is in the file for certain, even if an exception came right after the commit."""
        self.after_commit: list[Callable[[], None]] = []


class Write:
    """The block of `Database.write`; a class, because a generator costs 3 µs more for every `delay()`."""

    __slots__ = ("_also_closed", "_database", "_settling", "unit")

    def __init__(self, database: Database, settling: bool, also_closed: bool) -> None:
        self._database = database
        self._settling = settling
        self._also_closed = also_closed
        self.unit: Unit | None = None
        """None until the transaction has begun."""

    def __enter__(self) -> Unit:
        try:
            unit = self.unit = self._database.enter(self._settling, self._also_closed)
            return unit
        except BaseException:
            # A signal's exception can come between any two steps, such as right after the transaction began.
            self._database.let_go()
            raise

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        if self.unit is not None:
            self._database.leave(self.unit, error)


class Database:
    """The queue's file in this process."""

    def __init__(
        self,
        path: Path,
        *,
        durability: Durability,
        create: bool,
        busy_timeout: float,
        file_mode: int = PRIVATE,
    ) -> None:
        """Open the file, creating or migrating its tables if need be.

        Args:
            path: where the file is; symbolic links are followed, so that all names of it share one folder.
            durability: `full` syncs each commit to the disk; `normal` does so about once a second.
            create: whether a missing file, or missing tables in another program's database, are made.
            busy_timeout: seconds to wait for the write lock.
            file_mode: the mode of a file that is made here.

        Raises:
            StoreError: it cannot be opened; the subclass and message say why.
        """
        self.path = Path(os.path.realpath(path))
        self._opener = Opener(self.path, durability, create, busy_timeout, file_mode)
        self.durability = durability
        self.busy_timeout = busy_timeout
        self._pid = os.getpid()
        self._closed = False
        with ExitStack() as opened, translated(self.path):
            check_place(self.path)
            if not create and not self.path.exists():
                raise StoreUnavailableError(f"{self.path}: there is no queue here; check the path.")
            check_companions(self.path)
            self.hold = Hold(self.path)
            opened.callback(self.hold.close)
            self._writer = self._opener.open_migrated()
            opened.callback(self._writer.close)
            self.hold.watch()
            self._reader = self._opener.connect()
            opened.callback(self._reader.close)
            self._reader.execute("PRAGMA query_only = 1")
            self.side = SideFolder(self.path)
            self._turnstile = Turnstile(self.side.turnstile)
            opened.callback(self._turnstile.close)
            self._identity = Identity(self.path, self._turnstile)
            self.hold.watch(self._turnstile.descriptor)
            opened.pop_all()
        self._user: UserConnection | None = None
        self._lent: LentConnection | None = None
        # It knows its owner, which is how what a signal left behind is found; never taken twice.
        self._write_lock = threading.RLock()
        self._read_lock = threading.Lock()
        self._local = threading.local()
        wait_at_forks(self)

    def locks(self) -> tuple[Lock, ...]:
        """The locks behind which the connections are."""
        return self._write_lock, self._read_lock

    # ---- using -----------------------------------------------------------------------------------

    def check_usable(self) -> None:
        """Refuse to be used after a close, in a forked child, or without its descriptors.

        Raises:
            StoreUnavailableError: it was closed.
            NotSupportedError: this process was forked off the one that opened it.
            DescriptorsLostError: other code has closed its descriptors.
        """
        if self._closed:
            raise StoreUnavailableError(f"{self.path}: this queue was closed while it was in use.")
        if self._pid != os.getpid():
            raise NotSupportedError(
                f"{self.path}: this connection was opened before a fork; "
                "a child process must open its own Queue."
            )
        self.hold.check()

    @contextmanager
    def read(self, settling: bool = False) -> Iterator[sqlite3.Connection]:
        """Lend the reading connection.

        Args:
            settling: see `write`.

        Raises:
            StoreError: the file or its side folder was deleted or replaced, or SQLite could not read it.
        """
        self.check_usable()
        with translated(self.path):
            self._identity.check(settling)
            with self._read_lock:
                yield self._reader

    def write(self, settling: bool = False, also_closed: bool = False) -> Write:
        """Open one write transaction, or join the one that this thread's user has opened.

        Commits at the end of the block, rolls back when an exception leaves it, and then runs what was put
        into `Unit.after_commit` (for a joined one, once the user's block commits).

        Args:
            settling: leases protect all that it writes, so that it may be written even when the side folder
                is gone.
            also_closed: whether the file may be closed because of a move.

        Raises:
            StoreError: the lock was not free in time, the disk is full, the file or its folder was replaced
                or moved.
        """
        return Write(self, settling, also_closed)

    def joined(self) -> Unit | None:
        """Return the transaction that this thread's user has opened; None if there is none."""
        unit: Unit | None = getattr(self._local, "unit", None)
        return unit

    def enter(self, settling: bool, also_closed: bool) -> Unit:
        """Begin what `write` promises, for `Write`."""
        return self.joined() or self._begin(True, settling, also_closed)

    def leave(self, unit: Unit, error: BaseException | None) -> None:
        """End what `write` promises, for `Write`."""
        if unit.own and error is None:
            try:
                self._commit(unit)
                self._turnstile.release()
                self._write_lock.release()
            except BaseException:
                self.let_go()
                raise
            for action in unit.after_commit:
                action()
        elif unit.own:
            self.let_go()
        if isinstance(error, sqlite3.Error):
            raise translate(error, self.path) from error

    def let_go(self) -> None:
        """Give back whatever this thread holds: roll back what is open, free the turnstile and the lock.

        Nothing happens if it holds nothing, so that it may be called to be sure.
        """
        if self._closed or self.joined() is not None:
            return
        # Succeeds if the lock is free, or this thread's already; then nobody else is in a transaction.
        if not self._write_lock.acquire(blocking=False):
            return
        if self._lent is not None:
            self._lent.take_back()
            self._lent = None
        for connection in (self._writer, self._user):
            if connection is not None and connection.in_transaction:
                connection.execute("ROLLBACK")
        self._turnstile.release()
        with contextlib.suppress(RuntimeError):
            while True:
                self._write_lock.release()

    def _commit(self, unit: Unit) -> None:
        connection = self._connection(unit.own)
        try:
            connection.execute("COMMIT")
        except sqlite3.Error as error:
            raise translate(error, self.path) from error
        except BaseException:
            # A signal's exception: SQLite has done its work, unless the signal came before it began.
            unit.committed = not connection.in_transaction
            raise
        unit.committed = True

    @contextmanager
    def user_transaction(self) -> Iterator[LentConnection]:
        """Open a write transaction that belongs to the calling thread until the block ends.

        Raises:
            NotSupportedError: this thread has one open already, or its SQL ended it.
            StoreError: it could not begin or commit, or an error in the block made SQLite roll it back.
        """
        if self.joined() is not None:
            raise NotSupportedError(
                "This thread is inside `with q.transaction()` already; use SAVEPOINT for a part of it."
            )
        unit = None
        try:
            unit = self._begin(own=False)
            connection = self._lent = LentConnection(self._user_connection(), self.path)
            unit.connection = connection
            self._local.unit = unit
            yield connection
            if unit.abandoned:
                raise NotSupportedError(
                    f"{self.path}: this block's transaction ended with its job, rolled back."
                )
            self.check_usable()
            connection.check_open()
            connection.take_back()
            self._local.unit = None
            self._commit(unit)
        finally:
            if unit is None or not unit.abandoned:
                self._local.unit = None
                if self._pid == os.getpid():
                    self.let_go()
        for action in unit.after_commit:
            action()

    def abandon(self) -> bool:
        """Roll back the transaction that this thread's user has left open; tell whether there was one."""
        unit = self.joined()
        if unit is None:
            return False
        # Its block may yet end, perhaps when another transaction is open.
        unit.abandoned = True
        self._local.unit = None
        self.let_go()
        return True

    def _begin(self, own: bool, settling: bool = False, also_closed: bool = False) -> Unit:
        """Pass the lock and the turnstile and begin; whatever comes of it, the caller must `let_go`."""
        self.check_usable()
        if self._turnstile.held:
            # Perhaps this thread's: a signal's exception can tear it out of a write at the worst moment.
            self.let_go()
        if not self._write_lock.acquire(timeout=self.busy_timeout):
            raise StoreBusyError(
                f"{self.path}: another thread has kept a transaction open for {self.busy_timeout:g} s."
            )
        try:
            self._turnstile.acquire(self.busy_timeout)
            self._identity.check(settling)
            connection = self._connection(own)
            connection.execute("BEGIN IMMEDIATE")
            check_version(connection, self.path, also_closed)
        except LiteqError:
            raise
        except (sqlite3.Error, OSError) as error:
            raise translate(error, self.path) from error
        return Unit(connection, own)

    def _connection(self, own: bool) -> sqlite3.Connection:
        return self._writer if own else self._user_connection()

    def _user_connection(self) -> UserConnection:
        if self._user is None:
            connection = self._opener.connect(UserConnection)
            assert isinstance(connection, UserConnection)
            self._user = connection
        return self._user

    def checkpoint(self) -> int | None:
        """Move what is in the WAL into the database, as far as readers allow.

        Whether they do or not, every commit until now survives a power cut afterwards.

        Returns:
            The `data_version` of the reading connection for which that is so; None if it cannot be told,
            because another thread is busy with a connection.
        """
        self.check_usable()
        self.let_go()
        if not self._write_lock.acquire(timeout=self.busy_timeout):
            return None
        try:
            with translated(self.path):
                self._turnstile.acquire(self.busy_timeout)
                if not checkpoint(self._writer) and self.durability == "normal":
                    sync_wal(self._writer)
                return self._data_version()
        finally:
            self.let_go()

    def _data_version(self) -> int | None:
        # Whoever holds the lock may read for long, and writers wait meanwhile.
        if not self._read_lock.acquire(blocking=False):
            return None
        try:
            return int(self._reader.execute("PRAGMA data_version").fetchone()[0])
        finally:
            self._read_lock.release()

    def wal_size(self) -> int:
        """Return the size of the WAL in bytes."""
        return wal_size(self.path)

    def close(self) -> None:
        """Close the connections; in a forked child, leave them alone, for they are the parent's."""
        if self._pid != os.getpid():
            return
        self._closed = True
        if self.hold.is_lost():
            # SQLite would write to, and lock, whatever has their numbers now.
            _abandoned.append((self._reader, self._writer, self._user))
            return
        with self._write_lock, self._read_lock:
            # The last one to close checkpoints and removes the WAL, so writers must be kept out meanwhile.
            # Who has a long turn has the file open, so this one is not the last, and need not wait for it.
            with contextlib.suppress(OSError):
                self._turnstile.acquire(min(self.busy_timeout, LONG_TURN))
            self._reader.close()
            if self._user is not None:
                self._user.close()
            self._writer.close()
            self._turnstile.close()
            self.hold.close()


_abandoned: list[tuple[sqlite3.Connection | None, ...]] = []
"""Connections that must not be closed."""
