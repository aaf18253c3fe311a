"""Opening what stands in a queue's side folder: for those who may use the queue, and never through a link.

A side file has the mode of its folder: 0600 in one that is open to its owner alone, 0660 in one that a group
shares, whatever the umask. One that is no plain file of its own (a symbolic link, a second name of some other
file, a pipe, somebody else's) is refused before anything is written to it.
"""

from __future__ import annotations

import contextlib
import errno
import os
import stat
import sys
import time
from pathlib import Path

from liteq.errors import StoreFullError, StoreUnavailableError
from liteq.transports.local.room import NO_ROOM

__all__ = ["change_mode", "hand_over", "is_own_pipe", "mode_of_files_in", "open_existing", "open_side_file"]

_FLAGS = (
    os.O_RDWR
    | getattr(os, "O_NOFOLLOW", 0)
    | getattr(os, "O_CLOEXEC", 0)
    # A pipe in the place of a file is not to be waited for.
    | getattr(os, "O_NONBLOCK", 0)
    | getattr(os, "O_BINARY", 0)
)
_LINK = {errno.ELOOP, getattr(errno, "EMLINK", errno.ELOOP), getattr(errno, "EFTYPE", errno.ELOOP)}
"""What systems say of O_NOFOLLOW and a symbolic link."""
_ATTEMPTS = 200
"""How often a file is looked at that another process makes or removes at this moment, a millisecond apart."""


def open_side_file(path: Path) -> int:
    """Open a side file for reading and writing, creating it if need be; return the descriptor.

    Raises:
        StoreUnavailableError: it cannot be opened, or is not a plain file that may be used.
        StoreFullError: there is no room to create it.
    """
    for attempt in range(_ATTEMPTS):
        if attempt:
            time.sleep(0.001)
        try:
            fd = open_existing(path)
        except FileNotFoundError:
            created = _create(path)
            if created is not None:
                return created
            continue
        except PermissionError as error:
            # Its maker may have a umask that takes its own bits away, and be about to put that right.
            if attempt < _ATTEMPTS - 1 and _is_ours(path):
                continue
            raise _cannot_open(path, error) from error
        except OSError as error:
            raise _cannot_open(path, error) from error
        about = os.fstat(fd)
        wrong = _what_is_wrong(path, about)
        if wrong is None:
            _adapt(fd, path, about)
            return fd
        os.close(fd)
        raise StoreUnavailableError(f"{path}: {wrong}; remove it, and nothing is lost.")
    raise StoreUnavailableError(f"{path}: cannot be opened: it comes and goes. Another program removes it.")


def open_existing(path: Path) -> int:
    """Open a side file that is there, for reading and writing; raises OSError, also for a symbolic link."""
    if sys.platform == "win32" and path.is_symlink():
        raise OSError(errno.ELOOP, "is a symbolic link", str(path))
    return os.open(path, _FLAGS)


def _create(path: Path) -> int | None:
    """Create a side file; None if somebody else has done so meanwhile."""
    try:
        fd = os.open(path, _FLAGS | os.O_CREAT | os.O_EXCL, 0o600)
    except FileExistsError:
        return None
    except OSError as error:
        raise _cannot_open(path, error) from error
    if sys.platform != "win32":
        folder = path.parent.stat()
        os.fchmod(fd, mode_of_files_in(folder))
        hand_over(fd, folder.st_uid, folder.st_gid)
    return fd


def _adapt(fd: int, path: Path, about: os.stat_result) -> None:
    """Give a file of this user the mode of its folder, which may have been shared, or closed, since."""
    if sys.platform != "win32" and about.st_uid == os.geteuid():
        mode = mode_of_files_in(path.parent.stat())
        if stat.S_IMODE(about.st_mode) != mode:
            os.fchmod(fd, mode)


def mode_of_files_in(folder: os.stat_result) -> int:
    """Return the mode of the files in a side folder."""
    return 0o660 if folder.st_mode & stat.S_IWGRP else 0o600


def hand_over(made: int | Path, owner: int, group: int) -> None:
    """Give what this process has made to those whose queue it is, as far as it may.

    Root has to, as SQLite does with its own files; others can give it to a group of theirs.
    """
    if sys.platform == "win32":
        return
    if os.geteuid() != 0:
        owner = -1
    with contextlib.suppress(OSError):
        if isinstance(made, int):
            os.fchown(made, owner, group)
        else:
            os.chown(made, owner, group, follow_symlinks=False)


def _what_is_wrong(path: Path, about: os.stat_result) -> str | None:
    """Return why a file must not be written to; None if it may."""
    if not stat.S_ISREG(about.st_mode):
        return "is not a plain file"
    if about.st_nlink > 1:
        return "is also the name of another file"
    return None if _may_belong(about, path.parent.stat()) else "belongs to another user"


def _may_belong(about: os.stat_result, folder: os.stat_result) -> bool:
    if sys.platform == "win32" or folder.st_mode & stat.S_IWGRP:
        return True
    return about.st_uid in (os.geteuid(), folder.st_uid, 0)


def _is_ours(path: Path) -> bool:
    if sys.platform == "win32":
        return False
    with contextlib.suppress(OSError):
        return path.lstat().st_uid == os.geteuid()
    return False


def _cannot_open(path: Path, error: OSError) -> StoreUnavailableError | StoreFullError:
    if error.errno in NO_ROOM:
        return StoreFullError(
            f"{path}: cannot be created: the disk is full, or out of inodes. Free some space and try again."
        )
    if error.errno in _LINK:
        return StoreUnavailableError(
            f"{path}: is a symbolic link, and liteq follows none here; remove it, and nothing is lost."
        )
    return StoreUnavailableError(
        f"{path}: cannot be opened ({error.strerror}). The folder of a queue must be writable, and shared "
        "with all who use the queue."
    )


def is_own_pipe(fd: int, path: Path) -> bool:
    """Tell whether a descriptor is that of a named pipe that may be used as a bell."""
    about = os.fstat(fd)
    return stat.S_ISFIFO(about.st_mode) and about.st_nlink == 1 and _may_belong(about, path.parent.stat())


def change_mode(path: Path, mode: int) -> None:
    """Set the mode of what this process has just made, and of nothing that somebody has put in its place.

    Raises:
        OSError: it cannot be set, or is a symbolic link by now.
    """
    if os.chmod in os.supports_follow_symlinks:
        with contextlib.suppress(NotImplementedError):
            os.chmod(path, mode, follow_symlinks=False)  # noqa: PTH101 (Path.chmod follows)
            return
    if not hasattr(os, "O_PATH"):
        path.chmod(mode)
        return
    fd = os.open(path, os.O_PATH | os.O_NOFOLLOW)
    try:
        if stat.S_ISLNK(os.fstat(fd).st_mode):
            raise OSError(errno.ELOOP, "is a symbolic link", str(path))
        Path(f"/proc/self/fd/{fd}").chmod(mode)
    finally:
        os.close(fd)
