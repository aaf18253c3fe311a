"""What can befall a call of SQLite's file layer, or of liteq's own on files and folders, during a verb.

`Trouble` counts the calls while a verb runs, and lets the chosen thing happen to one of them: the process
dies there, or the call fails, once or with all that follow it.
"""

from __future__ import annotations

import errno
import os
import sqlite3
import sys
from collections.abc import Sequence
from pathlib import Path

from chaos.nursery import die
from chaos.vfs import Call, FileLayer, Proceed

__all__ = ["FILE_LAYER", "SYSTEM", "Trouble"]

FAILS = {
    "open": sqlite3.SQLITE_CANTOPEN,
    "delete": sqlite3.SQLITE_IOERR_DELETE,
    "access": sqlite3.SQLITE_IOERR_ACCESS,
    "full_path": sqlite3.SQLITE_CANTOPEN_FULLPATH,
    "read": sqlite3.SQLITE_IOERR_READ,
    "write": sqlite3.SQLITE_IOERR_WRITE,
    "truncate": sqlite3.SQLITE_IOERR_TRUNCATE,
    "sync": sqlite3.SQLITE_IOERR_FSYNC,
    "file_size": sqlite3.SQLITE_IOERR_FSTAT,
    "lock": sqlite3.SQLITE_IOERR_LOCK,
    "check_reserved_lock": sqlite3.SQLITE_IOERR_CHECKRESERVEDLOCK,
    "shm_map": sqlite3.SQLITE_IOERR_SHMMAP,
    "shm_lock": sqlite3.SQLITE_IOERR_SHMLOCK,
    "fetch": sqlite3.SQLITE_IOERR_MMAP,
}
"""What SQLite is told where the disk gives an I/O error. Nothing else can fail: it lets go."""
FILLS = {"write": sqlite3.SQLITE_FULL, "shm_map": sqlite3.SQLITE_IOERR_SHMSIZE}
"""What SQLite is told where the disk is full."""
SHM_UNLOCK = 1

FILE_LAYER = "file layer"
SYSTEM = "system"


UNLOCK = 8
"""`fcntl.LOCK_UN`."""
EVENTS = frozenset(
    {"open", "os.mkdir", "os.remove", "os.truncate", "os.rename", "os.listdir", "os.scandir", "fcntl.flock"}
    | {"mmap.__new__", "os.chmod", "os.utime"}
)
"""The events of Python's auditing that stand for a call on a file or folder."""
CREATING = frozenset({"os.mkdir", "os.truncate"})
"""Those that take space, next to an `open` that creates its file."""
ERRORS = ["EIO", "EIO from here"]
FULL = ["ENOSPC", "ENOSPC from here"]


def layer_modes(operation: str, flags: int) -> list[str]:
    """Return what can befall a call of the file layer."""
    modes = ["die"]
    if operation == "write":
        modes += ["die halfway", "die after"]
    if operation in FAILS and not (operation == "shm_lock" and flags & SHM_UNLOCK):
        modes += ERRORS
    return modes + FULL if operation in FILLS else modes


def system_modes(event: str, flags: int) -> list[str]:
    """Return what can befall a call of the system."""
    modes = ["die"]
    if not (event == "fcntl.flock" and flags & UNLOCK):
        modes += ERRORS
    return modes + FULL if event in CREATING or (event == "open" and flags & os.O_CREAT) else modes


class Trouble:
    """Counts calls, and lets one of them go wrong.

    Args:
        source: whose calls: `FILE_LAYER` or `SYSTEM`.
        queue: the queue's file; of the system's calls only those on it and its side folder count.
        point: the number of the call, from 1; 0 for none.
        mode: what befalls it; as `layer_modes` or `system_modes` name it.

    Attributes:
        calls: what was called, as text, and what can befall it.
        reached: whether it happened.
    """

    def __init__(self, source: str, queue: Path, point: int = 0, mode: str = "") -> None:
        self.calls: list[tuple[str, list[str]]] = []
        self.reached = False
        self._queue = os.fspath(queue)
        self._point = point
        self._mode = mode
        self._armed = False
        self.layer: FileLayer | None = None
        if source == FILE_LAYER:
            self.layer = FileLayer()
            self.layer.handler = self._around
        else:
            sys.addaudithook(self._audit)

    def arm(self) -> None:
        self._armed = True

    def disarm(self) -> None:
        self._armed = False

    def _is_here(self) -> bool:
        at = len(self.calls)
        lasting = self._mode.endswith("from here")
        here = bool(self._point) and (at == self._point or (lasting and at > self._point))
        self.reached |= here
        return here

    # ---- the file layer --------------------------------------------------------------------------

    def _around(self, call: Call, proceed: Proceed) -> int:
        if not self._armed:
            return proceed()
        modes = layer_modes(call.operation, call.flags)
        self.calls.append((str(call), modes))
        if not self._is_here():
            return proceed()
        kind = self._mode.partition(" ")[0]
        if kind == "die":
            if self._mode == "die halfway":
                proceed(call.size // 2)
            elif self._mode == "die after":
                proceed()
            die()
        codes = FAILS if kind == "EIO" else FILLS
        return codes[call.operation] if self._mode in modes else proceed()

    # ---- liteq's own calls -----------------------------------------------------------------------

    def _audit(self, event: str, arguments: Sequence[object]) -> None:
        if not self._armed or event not in EVENTS:
            return
        path = _path_of(event, arguments)
        if not path.startswith(self._queue):
            return
        flags = arguments[2] if event == "open" else arguments[1] if event == "fcntl.flock" else 0
        modes = system_modes(event, flags if isinstance(flags, int) else 0)
        self.calls.append((f"{event} of {path[len(self._queue) :] or 'the file'}", modes))
        if not self._is_here():
            return
        kind = self._mode.partition(" ")[0]
        if kind == "die":
            die()
        if self._mode in modes:
            code = errno.EIO if kind == "EIO" else errno.ENOSPC
            raise OSError(code, os.strerror(code), path)


def _path_of(event: str, arguments: Sequence[object]) -> str:
    """Return the path that an event is about; "" where it has none."""
    target = arguments[0] if arguments else None
    if isinstance(target, int):
        try:
            return str(Path(f"/proc/self/fd/{target}").readlink())
        except OSError:
            return ""
    return os.fsdecode(target) if isinstance(target, str | bytes | os.PathLike) else ""
