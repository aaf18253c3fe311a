"""A small disk of its own for a test, which can be filled and emptied; Linux, and root, only."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

__all__ = ["Disk", "small_disk"]

MEBIBYTE = 1024 * 1024


class Disk:
    """A tmpfs: real blocks, a real end to them.

    Attributes:
        folder: where it is mounted.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._filler = folder / "somebody-elses-file"

    def fill(self, leave: int = 0) -> None:
        """Use up all room but so many bytes, as another program would."""
        with self._filler.open("ab", buffering=0) as filler:
            chunk = MEBIBYTE
            while chunk:
                room = self.free() - leave
                try:
                    written = filler.write(bytes(min(chunk, max(0, room))))
                except OSError:
                    written = 0
                if not written:
                    chunk //= 2

    def empty(self) -> None:
        """Give the room back."""
        self._filler.unlink(missing_ok=True)

    def free(self) -> int:
        about = os.statvfs(self.folder)
        return about.f_bavail * about.f_frsize

    def resize(self, options: str) -> None:
        """Change the size, or the number of inodes, while it is in use."""
        subprocess.run(["mount", "-o", f"remount,{options}", self.folder], check=True)


@contextmanager
def small_disk(folder: Path, options: str) -> Iterator[Disk]:
    """Mount a tmpfs on a new folder; skip the test where that cannot be."""
    if sys.platform != "linux":
        pytest.skip("mounting a small disk takes Linux")
    if os.geteuid() != 0:
        pytest.skip("mounting a small disk takes root")
    folder.mkdir()
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", f"mode=0700,{options}", "tmpfs", folder],
        capture_output=True,
        text=True,
        check=False,
    )
    if mounted.returncode:
        pytest.skip(f"no disk can be mounted here: {mounted.stderr.strip()}")
    # Its input ends when this process does, so that no mount outlives a test that was killed. Lazily:
    # whatever a failed test has left open there goes with the program that has it open.
    guardian = subprocess.Popen(
        ["sh", "-c", 'read line; umount -l "$0"', folder], stdin=subprocess.PIPE, start_new_session=True
    )
    try:
        yield Disk(folder)
    finally:
        guardian.communicate()
        folder.rmdir()
