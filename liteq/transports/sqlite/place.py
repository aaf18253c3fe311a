"""Whether a path can hold a queue, and the folder of side files that stands beside it."""

from __future__ import annotations

import contextlib
import os
import stat
import sys
from pathlib import Path
from typing import NamedTuple

from liteq.errors import StoreUnavailableError
from liteq.transports.local.sidefile import change_mode, hand_over
from liteq.transports.sqlite.file_system import NETWORK_FILE_SYSTEMS, file_system_of
from liteq.transports.sqlite.trouble import translated

__all__ = [
    "PRIVATE",
    "SideFolder",
    "check_companions",
    "check_place",
    "is_private",
    "is_shared",
]

PRIVATE = 0o600
"""The mode of a queue's file that nobody shares."""


def check_place(path: Path) -> None:
    """Refuse a path that cannot hold a queue, with the reason.

    Raises:
        StoreUnavailableError: its folder does not exist, it is a directory, a device or a pipe, it or its
            folder is read-only for this user, or it lies on a network file system, where SQLite's locks
            cannot be trusted.
    """
    if path.is_dir():
        raise StoreUnavailableError(
            f"{path}: is a directory. Name a file in it, such as {path / 'queue.db'}."
        )
    if path.exists() and not path.is_file():
        # SQLite would open a device or a pipe all the same, and make its files beside it.
        raise StoreUnavailableError(f"{path}: is no ordinary file. Choose another path.")
    if not path.parent.is_dir():
        raise StoreUnavailableError(f"{path}: its folder does not exist. Create {path.parent} first.")
    # Before SQLite is asked, which would open a read-only file for reading, and make read-only files beside
    # it that are still there when somebody has made the file writable.
    if not os.access(path.parent, os.W_OK | os.X_OK) or (path.exists() and not os.access(path, os.W_OK)):
        raise StoreUnavailableError(
            f"{path}: not writable for this user. A queue's file, and the folder that it is in, must be; "
            "whoever reads a queue also writes beside it."
        )
    kind = file_system_of(path.parent)
    if kind in NETWORK_FILE_SYSTEMS:
        raise StoreUnavailableError(
            f"{path}: lies on a network file system ({kind}), where a WAL database is not safe. "
            "Keep the queue on a local disk."
        )


def is_private(path: Path) -> bool:
    """Tell whether a file belongs to this user and nobody else may write it or replace it."""
    if sys.platform == "win32":
        # The profile folders that Windows gives each user are closed to others; mode bits say nothing there.
        return True
    about = path.stat()
    folder = path.parent.stat()
    others = stat.S_IWGRP | stat.S_IWOTH
    owned = about.st_uid == os.getuid() and not about.st_mode & others
    # In a folder that others may write, only the sticky bit keeps them from replacing the file; and whoever
    # owns a folder can always do that.
    kept = not folder.st_mode & others or bool(folder.st_mode & stat.S_ISVTX)
    return owned and kept and folder.st_uid in (os.getuid(), 0)


def is_shared(path: Path) -> bool:
    """Tell whether a file's group may write it, as `file_mode=0o660` asks, and nobody else can."""
    if sys.platform == "win32":
        return False
    about = path.stat()
    folder = path.parent.stat()
    closed = not folder.st_mode & stat.S_IWOTH or bool(folder.st_mode & stat.S_ISVTX)
    return bool(about.st_mode & stat.S_IWGRP) and not about.st_mode & stat.S_IWOTH and closed


class _Model(NamedTuple):
    """Who owns a queue's file, or is going to, and whom its mode lets in."""

    owner: int
    group: int
    shared: bool
    owners: frozenset[int]

    @property
    def folder_mode(self) -> int:
        """The mode of the side folder; what is made in a shared one is its group's, whoever makes it."""
        return 0o770 | stat.S_ISGID if self.shared else 0o700

    def may_own(self, about: os.stat_result) -> bool:
        """Tell whether one of those who use the queue can have made what stands beside its file."""
        return about.st_uid in self.owners or (self.shared and about.st_gid == self.group)


def _model(database: Path, file_mode: int) -> _Model:
    """Look at the queue's file, or at its folder while there is none."""
    folder = database.parent.stat()
    own = 0 if sys.platform == "win32" else os.geteuid()
    try:
        about = database.stat()
    except FileNotFoundError:
        # The group that a file made here gets: the folder's, where it says so or the system always does.
        inherits = sys.platform != "linux" or folder.st_mode & stat.S_ISGID
        group = folder.st_gid if inherits else os.getegid()
        return _Model(own, group, bool(file_mode & stat.S_IWGRP), frozenset({own, folder.st_uid, 0}))
    owners = frozenset({own, about.st_uid, folder.st_uid, 0})
    return _Model(about.st_uid, about.st_gid, bool(about.st_mode & stat.S_IWGRP), owners)


def check_companions(database: Path) -> None:
    """Refuse files beside the database that SQLite would read as its own, and that others have put there.

    Raises:
        StoreUnavailableError: a journal or a WAL that is no plain file, or belongs to somebody else.
    """
    model = _model(database, PRIVATE)
    for suffix in ("-wal", "-shm", "-journal"):
        path = database.with_name(database.name + suffix)
        try:
            about = path.lstat()
        except OSError:
            continue
        if not stat.S_ISREG(about.st_mode) or about.st_nlink > 1:
            wrong = "is a link, or no file at all"
        elif sys.platform != "win32" and not model.may_own(about):
            wrong = "belongs to another user"
        else:
            continue
        raise StoreUnavailableError(
            f"{path}: {wrong}, and SQLite would take what is in it for part of the queue. Find out who put "
            "it there, and move the queue to a folder that only its users can write."
        )


class SideFolder:
    """The folder `<queue file>.liteq` with locks, bells and slots; open to those who may write the file."""

    def __init__(self, database: Path, file_mode: int = PRIVATE) -> None:
        """Create the folder if need be.

        Args:
            database: the queue's file.
            file_mode: the mode that the file will have, if it is not there yet.

        Raises:
            StoreUnavailableError: it cannot be created, is a symbolic link, or others may write it.
            StoreFullError: there is no space for it.
        """
        self.path = database.with_name(database.name + ".liteq")
        with translated(self.path):
            model = _model(database, file_mode)
            with contextlib.suppress(FileExistsError):
                self.path.mkdir(mode=0o700)
                if sys.platform != "win32":
                    hand_over(self.path, model.owner, model.group)
                    change_mode(self.path, model.folder_mode)
            about = self.path.lstat()
        if not stat.S_ISDIR(about.st_mode):
            raise StoreUnavailableError(f"{self.path}: is not a real folder; remove it, or move the queue.")
        if sys.platform != "win32":
            self._check(about, model)

    def _check(self, about: os.stat_result, model: _Model) -> None:
        if not model.may_own(about):
            raise StoreUnavailableError(
                f"{self.path}: belongs to another user; remove it, or move the queue."
            )
        kept = stat.S_IMODE(about.st_mode)
        if about.st_uid == os.geteuid() and kept | stat.S_ISGID != model.folder_mode | stat.S_ISGID:
            # The file has been shared, or closed, since; or a umask took the maker's own bits away.
            change_mode(self.path, model.folder_mode | kept & stat.S_ISGID)
        elif kept & stat.S_IWOTH:
            raise StoreUnavailableError(
                f"{self.path}: can be written by everybody; let its owner take that back (chmod o-w), or "
                "move the queue."
            )

    @property
    def turnstile(self) -> Path:
        """The lock that writers queue at."""
        return self.path / "turnstile"

    @property
    def migration(self) -> Path:
        """The lock around opening and migrating."""
        return self.path / "migration"

    @property
    def reserve(self) -> Path:
        """Room on the disk for what workers settle when it is full."""
        return self.path / "reserve"

    def lead(self, office: str) -> Path:
        """The lock of whoever holds an office."""
        return self.path / ("lead" if office == "upkeep" else f"lead-{office}")

    @property
    def bells(self) -> Path:
        """The table of doorbells."""
        return self.path / "bells"

    def bell(self, number: int) -> Path:
        """The pipe of one doorbell."""
        return self.path / f"bell-{number}"

    def life(self, name: str) -> Path:
        """The lock that a worker holds as long as it lives."""
        return self.path / f"life-{name}"

    def slot(self, holder: int) -> Path:
        """Where a worker publishes what it runs."""
        return self.path / f"slot-{holder}"
