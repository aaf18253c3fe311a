"""What carries a ring to a sleeping process: a named pipe on POSIX, a loopback datagram on Windows.

A pipe's path may be as long as any file's, where that of a Unix socket ends at about 100 bytes; and a
pipe that nobody reads says so at once (ENXIO), which tells a dead listener.
"""

from __future__ import annotations

import contextlib
import math
import os
import secrets
import select
import socket
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Protocol

from liteq.transports.local.sidefile import change_mode, hand_over, is_own_pipe, mode_of_files_in

__all__ = ["Bell", "DatagramBell", "PipeBell", "open_bell", "ring"]


class Bell(Protocol):
    """The listening end."""

    address: int
    """What the other side needs to find it, next to its place."""

    def wait(self, timeout: float) -> bool:
        """Sleep until rung or for `timeout` seconds; tell whether it rang, and forget the rings."""

    def ring(self) -> None:
        """Ring it from inside its own process."""

    def close(self) -> None:
        """Close it; idempotent."""


def open_bell(path: Path) -> Bell:
    """Open the bell that this system offers; raises OSError where that fails."""
    return DatagramBell() if sys.platform == "win32" else PipeBell(path)


def ring(path: Path, address: int) -> bool:
    """Ring somebody else's bell; False if nobody listens there any more."""
    return DatagramBell.ring_at(address) if sys.platform == "win32" else PipeBell.ring_at(path)


class PipeBell:
    """A named pipe; its one reader keeps a writing end open too, or the pipe would always look ended."""

    address = 0

    def __init__(self, path: Path) -> None:
        """Open the pipe, creating it with the mode of its folder; raises OSError for what is no such pipe."""
        with contextlib.suppress(FileExistsError):
            os.mkfifo(path, 0o600)
            folder = path.parent.stat()
            change_mode(path, mode_of_files_in(folder))
            hand_over(path, folder.st_uid, folder.st_gid)
        self._read = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_NOFOLLOW)
        try:
            if not is_own_pipe(self._read, path):
                raise OSError(f"{path}: is no pipe of this queue's users")
            self._write = os.open(path, os.O_WRONLY | os.O_NONBLOCK | os.O_NOFOLLOW)
        except OSError:
            os.close(self._read)
            raise
        self._poll = _poll_of(self._read)

    def wait(self, timeout: float) -> bool:
        """Sleep until rung or for `timeout` seconds."""
        # The system counts this wait in whole milliseconds; whoever rings in the rest is heard after it.
        whole = math.floor(timeout * 1000)
        rest = timeout - whole / 1000
        rang = self._poll(whole)
        if not rang and rest > 0:
            time.sleep(rest)
            rang = self._poll(0)
        if rang:
            self._forget()
        return rang

    def _forget(self) -> None:
        with contextlib.suppress(BlockingIOError):
            os.read(self._read, 4096)

    def ring(self) -> None:
        """Ring it from inside its own process."""
        # A pipe that is full of rings will wake its reader as it is.
        with contextlib.suppress(BlockingIOError):
            os.write(self._write, b"!")

    @staticmethod
    def ring_at(path: Path) -> bool:
        """Ring the pipe at this path; False if nobody reads it."""
        try:
            fd = os.open(path, os.O_WRONLY | os.O_NONBLOCK | os.O_NOFOLLOW)
        except OSError:
            return False
        try:
            # Anything else that somebody has put there is not to be written to.
            if not is_own_pipe(fd, path):
                return False
            os.write(fd, b"!")
        except BlockingIOError:
            pass
        except OSError:
            return False
        finally:
            os.close(fd)
        return True

    def close(self) -> None:
        """Close both ends; idempotent."""
        if self._read >= 0:
            os.close(self._read)
            os.close(self._write)
            self._read = self._write = -1


def _poll_of(descriptor: int) -> Callable[[int], bool]:
    """Return what waits so many milliseconds for a descriptor to become readable."""
    if not hasattr(select, "poll"):
        # Eventlet takes it away, for it cannot make it switch.
        return lambda timeout: bool(select.select([descriptor], [], [], timeout / 1000)[0])
    poll = select.poll()
    poll.register(descriptor, select.POLLIN)
    return lambda timeout: bool(poll.poll(timeout))


class DatagramBell:
    """A UDP socket on the loopback address; rings without its secret are ignored."""

    def __init__(self) -> None:
        self._socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self._socket.bind(("127.0.0.1", 0))
        self._socket.setblocking(False)
        self._secret = secrets.randbits(48)
        # The port in the low 16 bits, the secret above.
        self.address = self._secret << 16 | self._socket.getsockname()[1]

    def wait(self, timeout: float) -> bool:
        """Sleep until rung or for `timeout` seconds."""
        ready, _, _ = select.select([self._socket], [], [], timeout)
        if not ready:
            return False
        rang = False
        with contextlib.suppress(OSError):
            while True:
                rang |= self._socket.recv(16) == self._secret.to_bytes(8, "little")
        return rang

    def ring(self) -> None:
        """Ring it from inside its own process."""
        self.ring_at(self.address)

    @staticmethod
    def ring_at(address: int) -> bool:
        """Ring the bell of this address; whether anybody listens there, a datagram cannot tell."""
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sender, contextlib.suppress(OSError):
            sender.sendto((address >> 16).to_bytes(8, "little"), ("127.0.0.1", address & 0xFFFF))
        return True

    def close(self) -> None:
        """Close the socket; idempotent."""
        self._socket.close()
