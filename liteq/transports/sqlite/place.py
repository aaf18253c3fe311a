"""Whether a path can hold a queue, and the folder of side files that stands beside it."""

from __future__ import annotations

import contextlib
import os
import re
import stat
import sys
from functools import cache
from pathlib import Path

from liteq.errors import StoreUnavailableError
from liteq.transports.sqlite.trouble import translated

__all__ = ["SideFolder", "boot_id", "check_place", "file_system_of", "is_private"]

NETWORK_FILE_SYSTEMS = frozenset(
    {
        "9p",
        "afs",
        "ceph",
        "cifs",
        "coda",
        "davfs",
        "fuse.davfs",
        "fuse.gcsfuse",
        "fuse.glusterfs",
        "fuse.rclone",
        "fuse.s3fs",
        "fuse.sshfs",
        "gfs2",
        "glusterfs",
        "lustre",
        "ncpfs",
        "nfs",
        "nfs4",
        "ocfs2",
        "smb3",
        "smbfs",
    }
)


def check_place(path: Path) -> None:
    """Refuse a path that cannot hold a queue, with the reason.

    Raises:
        StoreUnavailableError: its folder does not exist, it is a directory, or it lies on a network
            file system, where SQLite's locks cannot be trusted.
    """
    if path.is_dir():
        raise StoreUnavailableError(
            f"{path}: is a directory. Name a file in it, such as {path / 'queue.db'}."
        )
    if not path.parent.is_dir():
        raise StoreUnavailableError(f"{path}: its folder does not exist. Create {path.parent} first.")
    kind = file_system_of(path.parent)
    if kind in NETWORK_FILE_SYSTEMS:
        raise StoreUnavailableError(
            f"{path}: lies on a network file system ({kind}), where a WAL database is not safe. "
            "Keep the queue on a local disk."
        )


def file_system_of(folder: Path, mount_table: str | None = None) -> str:
    """Return the kind of file system a folder is on, or "" where the system does not tell.

    Args:
        folder: an absolute path.
        mount_table: text in the form of Linux's `/proc/self/mountinfo`; None to read that.
    """
    if sys.platform == "win32":
        return "cifs" if str(folder).startswith("\\\\") else ""
    if mount_table is None:
        try:
            mount_table = Path("/proc/self/mountinfo").read_text(encoding="utf-8", errors="surrogateescape")
        except OSError:
            return ""
    best, kind = -1, ""
    for line in mount_table.splitlines():
        mounted, _, described = line.partition(" - ")
        fields = mounted.split()
        if len(fields) < 5 or not described:
            continue
        # The kernel writes blanks and the like in mount points as three octal digits.
        point = Path(re.sub(r"\\([0-7]{3})", lambda octal: chr(int(octal[1], 8)), fields[4]))
        if (folder == point or point in folder.parents) and len(point.parts) >= best:
            best, kind = len(point.parts), described.split()[0]
    return kind


def is_private(path: Path) -> bool:
    """Tell whether a file belongs to this user and nobody else may write it or replace it."""
    if sys.platform == "win32":
        # The profile folders that Windows gives each user are closed to others; mode bits say nothing there.
        return True
    about = path.stat()
    folder = path.parent.stat()
    others = stat.S_IWGRP | stat.S_IWOTH
    owned = about.st_uid == os.getuid() and not about.st_mode & others
    # In a folder that others may write, only the sticky bit keeps them from replacing the file.
    kept = not folder.st_mode & others or bool(folder.st_mode & stat.S_ISVTX)
    return owned and kept


@cache
def boot_id() -> str:
    """Return what tells one run of this machine from the next, or "" where nothing does."""
    try:
        return Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii").strip()
    except OSError:
        return ""


class SideFolder:
    """The folder `<queue file>.liteq` with locks, bells and slots; open to this user alone."""

    def __init__(self, database: Path) -> None:
        """Create the folder if need be.

        Raises:
            StoreUnavailableError: it cannot be created, is a symbolic link, or belongs to somebody else.
            StoreFullError: there is no space for it.
        """
        self.path = database.with_name(database.name + ".liteq")
        with translated(self.path):
            with contextlib.suppress(FileExistsError):
                self.path.mkdir(mode=0o700)
            about = self.path.lstat()
        if not stat.S_ISDIR(about.st_mode):
            raise StoreUnavailableError(f"{self.path}: is not a real folder; remove it, or move the queue.")
        if sys.platform != "win32" and about.st_uid not in (os.getuid(), database.parent.stat().st_uid):
            raise StoreUnavailableError(
                f"{self.path}: belongs to another user; remove it, or move the queue."
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
    def lead(self) -> Path:
        """The lock of the maintainer."""
        return self.path / "lead"

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
