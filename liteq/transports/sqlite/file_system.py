"""What kind of file system a folder is on, as far as the system tells."""

from __future__ import annotations

import os
import re
import sys
from pathlib import Path

__all__ = ["NETWORK_FILE_SYSTEMS", "file_system_of"]

NETWORK_FILE_SYSTEMS = frozenset(
    {
        "9p",
        "afpfs",
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
        "webdav",
    }
)


def file_system_of(folder: Path, mount_table: str | None = None) -> str:
    """Return the kind of file system a folder is on, or "" where the system does not tell.

    Args:
        folder: an absolute path.
        mount_table: text in the form of Linux's `/proc/self/mountinfo`; None to ask the system.
    """
    if mount_table is None:
        try:
            return _ask_system(folder)
        except (OSError, AttributeError):
            return ""
    return _kind_in(mount_table, folder)


if sys.platform == "win32":

    def _ask_system(folder: Path) -> str:
        import ctypes

        drive = os.path.splitdrive(folder)[0]
        remote = 4
        is_remote = drive.startswith("\\\\") or ctypes.windll.kernel32.GetDriveTypeW(f"{drive}\\") == remote
        return "cifs" if is_remote else ""

elif sys.platform == "darwin":

    def _ask_system(folder: Path) -> str:
        import ctypes

        libc = ctypes.CDLL(None)
        # On Intel, the plain name is that of an older structure.
        statfs = getattr(libc, "statfs$INODE64", None) or libc.statfs
        about = ctypes.create_string_buffer(4096)
        if statfs(os.fsencode(folder), about) != 0:
            return ""
        name = slice(72, 88)
        return about.raw[name].split(b"\0")[0].decode("ascii", "replace")

else:

    def _ask_system(folder: Path) -> str:
        table = Path("/proc/self/mountinfo").read_text(encoding="utf-8", errors="surrogateescape")
        return _kind_in(table, folder)


def _kind_in(mount_table: str, folder: Path) -> str:
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
