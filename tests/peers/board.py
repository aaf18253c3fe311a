"""A file that the measuring process and all workers have mapped: what ran, when, and whether to go on.

It costs every peer the same, and it tells what ran without asking the store that is measured.
"""

from __future__ import annotations

import mmap
import os
import time
from pathlib import Path
from struct import Struct

__all__ = ["Board"]

VARIABLE = "PEERS_BOARD"
HOLDS = 64
"""Where the marks of held workers begin; the gate is the first byte of all."""
JOBS = 4096
"""Where the marks of jobs begin: nine bytes each, the time and how often it ran."""
LONGEST_HOLD = 120.0
"""Seconds after which a held worker goes on, if whoever held it has gone."""
STAMP = Struct("<dB")


class Board:
    """Marks of jobs, which are numbered from 0."""

    def __init__(self, path: Path) -> None:
        """Map a board that `make` made."""
        with path.open("r+b") as file:
            self._bytes = mmap.mmap(file.fileno(), 0)
        self._jobs = (len(self._bytes) - JOBS) // STAMP.size

    @classmethod
    def make(cls, path: Path, jobs: int) -> Board:
        """Make a new board for so many jobs, and name it to the processes that this one will start."""
        path.write_bytes(bytes(JOBS + jobs * STAMP.size))
        os.environ[VARIABLE] = str(path)
        return cls(path)

    @classmethod
    def of_this_run(cls) -> Board:
        """Map the board that the measuring process has made."""
        return cls(Path(os.environ[VARIABLE]))

    def mark(self, job: int) -> None:
        """Note that a job runs now."""
        at = JOBS + job * STAMP.size
        _, times = STAMP.unpack_from(self._bytes, at)
        STAMP.pack_into(self._bytes, at, time.time(), min(times + 1, 255))

    def hold(self, place: int) -> None:
        """Occupy a worker until the gate is open."""
        self._bytes[HOLDS + place] = 1
        give_up = time.monotonic() + LONGEST_HOLD
        while not self._bytes[0] and time.monotonic() < give_up:
            time.sleep(0.001)
        self._bytes[HOLDS + place] = 2

    def held(self) -> int:
        """Count the workers that are held now."""
        return self._bytes[HOLDS:JOBS].count(1)

    def open_gate(self) -> None:
        """Let the held workers go."""
        self._bytes[0] = 1

    def close_gate(self) -> None:
        """Make ready for other holds."""
        self._bytes[0] = 0
        self._bytes[HOLDS:JOBS] = bytes(JOBS - HOLDS)

    def runs(self, jobs: range) -> list[int]:
        """Return how often each of these jobs ran."""
        return list(
            self._bytes[JOBS + 8 + jobs.start * STAMP.size : JOBS + jobs.stop * STAMP.size : STAMP.size]
        )

    def missing(self, jobs: range) -> int:
        """Count those of these jobs that have not run."""
        begin, end = JOBS + 8 + jobs.start * STAMP.size, JOBS + jobs.stop * STAMP.size
        return self._bytes[begin : end : STAMP.size].count(0)

    def started(self, job: int) -> float:
        """Return the wall time at which a job began."""
        began: float = STAMP.unpack_from(self._bytes, JOBS + job * STAMP.size)[0]
        return began
