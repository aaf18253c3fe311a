"""Fuzzing: hostile bytes for everything that decodes, hostile rows for everything that reads the file.

What must hold of bytes: they come out as a value that can be encoded again, or `DecodingError` (a
`LiteqError` where a result is read) says that they cannot. Nothing is imported, opened or run. The memory
that it takes is bounded by the size of the bytes, and so is the time.

What must hold of rows: nothing but a `LiteqError` leaves a reader; a worker ends what cannot run as FAILURE,
with its reason, and everybody else's jobs run.

The cases run in child processes with a limit on memory, so that a crash, a hang and an allocation without
end are found like everything else. A case is made from the seed and its number alone::

    PYTHONPATH=tests python -m chaos.fuzz.child '{"seed": 1, "kind": "bytes", "first": 4711, "count": 1}'
"""

from __future__ import annotations

import json
import mmap
import os
import struct
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from chaos.proof import Proof

__all__ = ["Run", "prove"]

ROWS_SHARE = 16
"""One case in so many is a row."""
AT_ONCE = {"bytes": 50_000, "rows": 20_000}
"""Cases for one child; what it may have leaked ends with it."""
HANG = 60.0
"""Seconds without a new case after which a child hangs."""


@dataclass
class Run:
    """Children that run cases of one kind, one after the other.

    Attributes:
        kind: `bytes` or `rows`.
        seed: what makes the same cases again.
        fault: a fault to plant, for the tests of this proof; see `chaos.fuzz.faults`.
        most: after how many problems they end.
        problems: what was found.
        figures: what was counted.
    """

    kind: str
    seed: int
    fault: str | None = None
    most: int = 20
    problems: list[str] = field(default_factory=list)
    figures: Counter[str] = field(default_factory=Counter)

    def through(self, count: int) -> None:
        """Run cases 0 to `count`; a child that dies is told of, and the next one goes on behind its case."""
        case = 0
        with tempfile.TemporaryDirectory(prefix="liteq-fuzz-", dir=_memory()) as folder:
            while case < count and len(self.problems) < self.most:
                case = self._child(case, min(AT_ONCE[self.kind], count - case), Path(folder))

    def _child(self, first: int, count: int, folder: Path) -> int:
        """Run some cases in a child; return the number of the first that has not been run."""
        place = folder / "case"
        place.write_bytes(struct.pack("q", first))
        order = {
            "kind": self.kind,
            "seed": self.seed,
            "first": first,
            "count": count,
            "fault": self.fault,
            "most": self.most - len(self.problems),
            "folder": str(folder),
        }
        with place.open("r+b") as file, mmap.mmap(file.fileno(), 8) as current:
            process = subprocess.Popen(
                [sys.executable, "-m", "chaos.fuzz.child", json.dumps(order)],
                env={
                    **os.environ,
                    "PYTHONPATH": os.pathsep.join(_import_path()),
                    "PYTHONHASHSEED": "0",
                },
                stdout=subprocess.PIPE,
                text=True,
            )
            try:
                hung = self._watch(process, current)
                said = process.communicate()[0]
            finally:
                process.kill()
                process.wait()
            (last,) = struct.unpack("q", current)
        for line in said.splitlines():
            told = json.loads(line)
            self.problems += told.get("problems", [])
            self.figures.update(told.get("figures", {}))
        if process.returncode == 0:
            return first + count
        end = "hangs" if hung else f"ends the process with status {process.returncode}"
        self.problems.append(f"{self.kind} case {last} (seed {self.seed}): {end}")
        return last + 1

    def _watch(self, process: subprocess.Popen[str], current: mmap.mmap) -> bool:
        """Wait for the child; kill it and return True if it comes to no new case for too long."""
        seen, since = current[:], time.monotonic()
        while True:
            try:
                process.wait(timeout=0.2)
                return False
            except subprocess.TimeoutExpired:
                if current[:] != seen:
                    seen, since = current[:], time.monotonic()
                elif time.monotonic() - since > HANG:
                    process.kill()
                    return True


def _memory() -> str | None:
    """Return a folder that needs no disk, where there is one: files come and go by the thousand."""
    return "/dev/shm" if os.access("/dev/shm", os.W_OK) else None


def _import_path() -> Iterator[str]:
    yield str(Path(__file__).parents[2])
    if os.environ.get("PYTHONPATH"):
        yield os.environ["PYTHONPATH"]


def prove(size: int, seed: int) -> Proof:
    """Run `size` cases."""
    rows = size // ROWS_SHARE
    runs = [Run("bytes", seed), Run("rows", seed)]
    for run, count in zip(runs, (size - rows, rows), strict=True):
        run.through(count)
    figures = runs[0].figures + runs[1].figures
    return Proof(
        name="fuzz",
        seed=seed,
        figures={
            "cases": figures["cases"],
            "payloads decoded": figures["decoded"],
            "payloads refused": figures["refused"],
            "rows damaged": figures["damaged"],
            "jobs quarantined or failed": figures["failed"],
            "jobs beside them that ran": figures["ran"],
        },
        problems=[*runs[0].problems, *runs[1].problems],
    )
