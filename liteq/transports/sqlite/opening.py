"""Opening the file: the connection's settings, and the tables created or migrated where need be."""

from __future__ import annotations

import contextlib
import os
import sqlite3
import sys
import time
from pathlib import Path
from typing import Literal, NamedTuple

from liteq.errors import (
    NewerStoreError,
    NotAQueueError,
    StoreBusyError,
    StoreError,
    StoreUnavailableError,
)
from liteq.transports.local.oslock import OsLock
from liteq.transports.sqlite.checkpoint import bound_wal
from liteq.transports.sqlite.place import PRIVATE, SideFolder
from liteq.transports.sqlite.schema import VERSION, read_version, run_migrations

__all__ = ["Durability", "Opener", "wrong_version"]

Durability = Literal["full", "normal"]


class Opener(NamedTuple):
    """How connections to one file are opened.

    Attributes:
        path: the file, symbolic links resolved.
        durability: `full` syncs each commit to the disk; `normal` does so about once a second.
        create: whether a missing file, or missing tables in another program's database, are made.
        busy_timeout: seconds to wait for locks.
        file_mode: the mode of a file that is made here: 0o600, or 0o660 to share it with its group.
    """

    path: Path
    durability: Durability
    create: bool
    busy_timeout: float
    file_mode: int = PRIVATE

    def connect(self, factory: type[sqlite3.Connection] = sqlite3.Connection) -> sqlite3.Connection:
        """Open a connection with liteq's settings; raises sqlite3.Error."""
        connection = sqlite3.connect(
            self.path,
            timeout=self.busy_timeout,
            isolation_level=None,
            check_same_thread=False,
            cached_statements=256,
            factory=factory,
        )
        try:
            for pragma in (
                "mmap_size = 0",
                f"synchronous = {self.durability.upper()}",
                "fullfsync = 1",
                "checkpoint_fullfsync = 1",
                "temp_store = MEMORY",
                "cache_size = -8000",
                # What others have put into the schema, such as triggers, gets no functions that do anything.
                f"trusted_schema = {int(factory is not sqlite3.Connection)}",
            ):
                connection.execute(f"PRAGMA {pragma}")
            bound_wal(connection)
        except sqlite3.Error:
            connection.close()
            raise
        return connection

    def open_migrated(self) -> sqlite3.Connection:
        """Open a connection with the tables in place; takes the migration lock only where there is work.

        Raises:
            StoreError: the file is of a newer liteq, another program's, or its file system cannot serve.
            sqlite3.Error: SQLite cannot open it.
        """
        if self.path.exists():
            connection = self.connect()
            try:
                if self._is_current(connection):
                    return connection
            except BaseException:
                connection.close()
                raise
            connection.close()
        # filelock takes 120 ms to import, so only those who create or migrate a file pay for it.
        from filelock import FileLock, Timeout

        side = SideFolder(self.path, self.file_mode)
        # filelock makes files of a mode of its own, and older ones follow links and cut what they find.
        OsLock(side.migration).close()
        try:
            with FileLock(side.migration, timeout=self.busy_timeout, mode=0o600):
                return self._migrate()
        except Timeout as error:
            raise StoreBusyError(
                f"{self.path}: another process has been creating or migrating this file for "
                f"{self.busy_timeout:g} s; end it if it hangs."
            ) from error

    def _is_current(self, connection: sqlite3.Connection) -> bool:
        version = read_version(connection)
        if version is None or version > VERSION:
            raise wrong_version(self.path, version)
        mode = connection.execute("PRAGMA journal_mode").fetchone()[0]
        return version == VERSION and mode == "wal"

    def _migrate(self) -> sqlite3.Connection:
        with contextlib.suppress(FileExistsError):
            # Made by us so that its mode is right whatever the umask. Nobody can have it open in SQLite yet,
            # which matters because closing a second descriptor would drop SQLite's locks.
            fd = os.open(self.path, os.O_CREAT | os.O_EXCL | os.O_RDWR, PRIVATE)
            if sys.platform != "win32":
                os.fchmod(fd, self.file_mode)
            os.close(fd)
        connection = self.connect()
        try:
            if not self.create and read_version(connection) == 0:
                raise NotAQueueError(
                    f"{self.path}: a database without liteq's tables. "
                    "Pass create=True to add them, or name another file."
                )
            self._make_wal(connection)
            if not self._is_current(connection):
                run_migrations(connection)
        except BaseException:
            connection.close()
            raise
        return connection

    def _make_wal(self, connection: sqlite3.Connection) -> None:
        """Switch to WAL; SQLite refuses at once, whatever its timeout, while anybody else reads."""
        deadline = time.monotonic() + self.busy_timeout
        while True:
            try:
                mode = connection.execute("PRAGMA journal_mode = WAL").fetchone()[0]
            except sqlite3.OperationalError as error:
                if not error.sqlite_errorname.startswith("SQLITE_BUSY") or time.monotonic() > deadline:
                    raise
                time.sleep(0.01)
                continue
            if mode != "wal":
                raise StoreUnavailableError(
                    f"{self.path}: its file system has no shared memory for a WAL database (mode {mode}). "
                    "Keep the queue on a local disk."
                )
            return


def wrong_version(path: Path, version: int | None) -> StoreError:
    """Return the error that says that a file's format is not this liteq's: newer, or none at all."""
    if version is None or version <= VERSION:
        return NotAQueueError(
            f"{path}: the number of its format, in liteq_meta, is damaged. Stop all its programs, and "
            "restore a backup."
        )
    return NewerStoreError(
        f"{path}: made by a newer liteq (format {version}; this one knows {VERSION}). "
        "Nothing was touched; update liteq here."
    )
