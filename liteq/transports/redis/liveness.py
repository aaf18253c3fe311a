"""Which workers live and what they run, as far as this machine can tell.

The processes of one user on one machine share a runtime folder for each store. In it a worker holds a lock
that the system frees when it dies, and publishes what it runs. Of workers elsewhere nothing of that is known.

Two processes are on the same machine exactly when they see the same folder and run on the same kernel: the
folder has an id drawn at random, and the machine tells its own and that of its present run. So containers and
network namespaces are apart unless they share the folder, whatever they call themselves.
"""

from __future__ import annotations

import contextlib
import os
import re
import secrets
import stat
import sys
import tempfile
import threading
import time
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from hashlib import sha256
from pathlib import Path

from liteq.errors import StoreFullError, StoreUnavailableError
from liteq.job import Running
from liteq.transport import RunningSlot
from liteq.transports.local.machine import boot_id, machine_id
from liteq.transports.local.oslock import OsLock, is_free
from liteq.transports.local.room import NO_ROOM
from liteq.transports.local.slot import FileSlot, read_slot

__all__ = ["FOLDER_VARIABLE", "Liveness"]

FOLDER_VARIABLE = "LITEQ_RUNTIME_DIR"
"""Names the folder for runtime folders; else `XDG_RUNTIME_DIR` does, or it is that for temporary files."""
SETTLED_AFTER = 10.0
"""Seconds; a file younger than this may be that of a worker that is just starting."""
LOOKED_AT_FOR = 5.0
"""Seconds; nobody looks at a lock for longer."""
_LIVES = b"1"
"""What the life file says once its lock is held."""
_ID = re.compile(r"[0-9a-f]{32}")


class Liveness:
    """The lives and slots of the workers of one store on this machine.

    Args:
        place: what names the store, the same for all of its users.
    """

    def __init__(self, place: str) -> None:
        self._name = sha256(place.encode("utf-8", "surrogateescape")).hexdigest()[:24]
        self._lock = threading.Lock()
        self._folder: Path | None = None
        self._id = ""
        self._held: dict[int, OsLock] = {}

    @property
    def host_id(self) -> str:
        """What the records of workers of this machine have in common; tells apart its restarts.

        Raises:
            StoreUnavailableError: there is no place for the runtime folder.
        """
        self._open()
        return f"{self._id}/{machine_id()}/{boot_id()}"

    # ---- a worker of this process ----------------------------------------------------------------

    def claim(self, holder: int) -> None:
        """Show that a worker of this process lives, until `release` or until the process ends.

        Raises:
            StoreUnavailableError: there is no place for the runtime folder, or the worker's lock is held.
            StoreFullError: its disk is full.
        """
        path = self._life(self._open(), holder)
        give_up = time.monotonic() + LOOKED_AT_FOR
        with _told(path):
            lock = OsLock(path)
            try:
                while not lock.try_acquire():
                    # Somebody looks at this very moment whether it is free.
                    if time.monotonic() > give_up:
                        raise StoreUnavailableError(
                            f"{path}: is locked by another process, so worker {holder} cannot show that it "
                            "lives. Start it again; it gets another number."
                        )
                    time.sleep(0.001)
                # Until here, a free lock proves nothing.
                os.write(lock.descriptor, _LIVES)
            except BaseException as error:
                # Not that of somebody else.
                if not isinstance(error, StoreUnavailableError):
                    _remove(path)
                lock.close()
                raise
        with self._lock:
            before, self._held[holder] = self._held.get(holder), lock
        if before is not None:
            before.close()

    def release(self, holder: int) -> None:
        """Take back what `claim` and `slot` have made; idempotent."""
        with self._lock:
            lock = self._held.pop(holder, None)
        if lock is not None:
            _remove(lock.path)
            lock.close()
            _remove(lock.path.with_name(f"slot-{holder}"))

    def slot(self, holder: int, places: int = 1) -> RunningSlot:
        """Open the slot where a worker of this process publishes what it runs, so many jobs at once.

        Raises:
            StoreUnavailableError: there is no place for the runtime folder.
            StoreFullError: its disk is full.
        """
        path = self._slot(self._open(), holder)
        with _told(path):
            return FileSlot(path, places)

    # ---- any worker ------------------------------------------------------------------------------

    def is_alive(self, holder: int, host_id: str) -> bool | None:
        """Tell whether a worker lives; None if this machine cannot know.

        Args:
            holder: its number.
            host_id: that of the process that registered it.
        """
        folder = self._look()
        folder_id, _, machine = host_id.partition("/")
        here, _, boot = machine.partition("/")
        if folder is None or folder_id != self._id or here != machine_id():
            return None
        if boot != boot_id():
            # It ended with the run of the machine that it was started in; if that can be told from another.
            return False if here else None
        path = self._life(folder, holder)
        try:
            return None if not path.stat().st_size else not is_free(path)
        except OSError:
            # A lock that is not there, or cannot be looked at, proves nothing; the expiry of leases decides.
            return None

    def running(self, holder: int, host_id: str | None = None) -> Running | None:
        """Read what a worker has published; None if nothing runs there, or it is on another machine.

        Args:
            holder: its number.
            host_id: that of the process that registered it, if it is known.
        """
        folder = self._look()
        if folder is None or (host_id is not None and not self._is_here(host_id)):
            return None
        return read_slot(self._slot(folder, holder))

    def is_trusted(self, holder: int, host_id: str) -> bool:
        """Tell whether what `running` says of a worker is all that there is to know."""
        return self.has_slot(holder) and self._is_here(host_id)

    def has_slot(self, holder: int) -> bool:
        """Tell whether there is what a worker has published, where nobody knows any more where it was."""
        folder = self._look()
        return folder is not None and self._slot(folder, holder).exists()

    def _is_here(self, host_id: str) -> bool:
        return host_id == f"{self._id}/{machine_id()}/{boot_id()}"

    # ---- the folder ------------------------------------------------------------------------------

    def tidy(self, holders: Collection[int]) -> None:
        """Remove the files of workers that are neither among these nor alive."""
        folder = self._look()
        for entry in _entries(folder) if folder is not None else ():
            kind, _, number = entry.name.partition("-")
            if kind not in ("life", "slot") or not number.isdecimal() or int(number) in holders:
                continue
            with contextlib.suppress(OSError):
                if time.time() - entry.lstat().st_mtime > SETTLED_AFTER and (
                    kind == "slot" or is_free(entry)
                ):
                    _remove(entry)

    def close(self) -> None:
        """Let go of all lives; idempotent. Files of those that are still registered stay, and say so."""
        with self._lock:
            held, self._held = self._held, {}
        for lock in held.values():
            lock.close()

    def _life(self, folder: Path, holder: int) -> Path:
        return folder / f"life-{holder}"

    def _slot(self, folder: Path, holder: int) -> Path:
        return folder / f"slot-{holder}"

    def _look(self) -> Path | None:
        """Return the runtime folder if there is one."""
        if self._folder is None:
            folder = _base() / self._name
            try:
                _check(folder.parent)
                _check(folder)
                self._id = _read_id(folder)
            except (OSError, StoreUnavailableError):
                return None
            self._folder = folder
        return self._folder

    def _open(self) -> Path:
        """Return the runtime folder, which is made if need be."""
        with self._lock:
            found = self._look()
            if found is not None:
                return found
            folder = _base() / self._name
            with _told(folder):
                for each in (folder.parent, folder):
                    with contextlib.suppress(FileExistsError):
                        each.mkdir(mode=0o700)
                    _check(each)
                self._id = _make_id(folder)
            self._folder = folder
            return folder


def _base() -> Path:
    """Return the folder of this user's runtime folders."""
    named = os.environ.get(FOLDER_VARIABLE) or os.environ.get("XDG_RUNTIME_DIR")
    place = Path(named) if named and Path(named).is_dir() else Path(tempfile.gettempdir())
    user = "" if sys.platform == "win32" else f"-{os.geteuid()}"
    return place.absolute() / f"liteq{user}"


def _check(folder: Path) -> None:
    """Refuse a folder that others could have made, or can write.

    Raises:
        OSError: there is none.
        StoreUnavailableError: it is no folder, or not this user's alone.
    """
    about = folder.lstat()
    if not stat.S_ISDIR(about.st_mode):
        raise StoreUnavailableError(f"{folder}: is not a real folder; remove it, or set {FOLDER_VARIABLE}.")
    if sys.platform != "win32" and (about.st_uid != os.geteuid() or about.st_mode & 0o077):
        raise StoreUnavailableError(
            f"{folder}: belongs to another user, or is open to others; remove it, or set {FOLDER_VARIABLE}."
        )


def _read_id(folder: Path) -> str:
    text = (folder / "id").read_text(encoding="ascii", errors="replace")
    if not _ID.fullmatch(text):
        raise StoreUnavailableError(f"{folder / 'id'}: is damaged; remove the folder while nothing uses it.")
    return text


def _make_id(folder: Path) -> str:
    """Give the folder an id, unless it has one; the first of several that try at once has its way."""
    new = folder / f"new-{secrets.token_hex(8)}"
    new.write_text(secrets.token_hex(16), encoding="ascii")
    try:
        with contextlib.suppress(FileExistsError):
            if hasattr(os, "link"):
                (folder / "id").hardlink_to(new)
            else:
                new.rename(folder / "id")
    finally:
        _remove(new)
    return _read_id(folder)


@contextmanager
def _told(path: Path) -> Iterator[None]:
    """Raise what the system says inside the block as an error of ours."""
    try:
        yield
    except StoreUnavailableError:
        raise
    except OSError as error:
        if error.errno in NO_ROOM:
            raise StoreFullError(f"{path}: the disk is full, or out of inodes; free some space.") from error
        raise StoreUnavailableError(
            f"{path}: cannot be used ({error.strerror or error}). Workers on one machine keep some small "
            f"files in a common folder; {FOLDER_VARIABLE} may name one that this user can write."
        ) from error


def _entries(folder: Path) -> list[Path]:
    try:
        return sorted(folder.iterdir())
    except OSError:
        return []


def _remove(path: Path) -> None:
    with contextlib.suppress(OSError):
        path.unlink()
