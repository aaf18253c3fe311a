"""The soak: mixed jobs for half an hour, in which nothing may grow and nothing may slow down; Linux only.

The first third is for warming up; the last is compared with the second. The load is moderate, so that it may
run beside other things.
"""

from __future__ import annotations

import contextlib
import os
import signal
import sqlite3
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from statistics import median

from chaos.proof import Proof
from liteq.transports.sqlite.checkpoint import KEPT_WAL

__all__ = ["Sample", "judge", "measure", "prove"]

TESTS = Path(__file__).parents[1]
MB = 1024 * 1024
WORKERS = 2
INTERVAL = 1.0
"""Seconds between two samples."""
PATIENCE = 60.0

WAL_BOUND = KEPT_WAL
"""Bytes: a commit that finds 8 MB in the WAL checkpoints, and a WAL that has become longer is cut to 12."""
MEMORY_GROWTH, MEMORY_SLACK = 1.03, 1.0 * MB
"""A process may have so many times as much private memory in the last third, and so many bytes more."""
FILE_GROWTH, FILE_SLACK = 1.05, 0.25 * MB
SLOWEST = 0.8
"""How much of the second third's rate the last one has at least."""
WAITING_SLACK = 50
"""Jobs that may wait in the last third beyond those that waited in the second."""


@dataclass(frozen=True, slots=True)
class Sample:
    """What was seen at one moment.

    Attributes:
        wal: bytes in the WAL's file.
        file: bytes in the database's file.
        memory: the private memory of each process, in bytes.
        descriptors: the open descriptors of each process.
        rate: jobs finished a second since the sample before.
        waiting: jobs that were ready.
    """

    wal: int
    file: int
    memory: Mapping[str, int]
    descriptors: Mapping[str, int]
    rate: float
    waiting: int


def measure(seconds: float, seed: int) -> list[Sample]:
    """Let a producer, a supervisor and two workers run for so long, and look at them every second."""
    with tempfile.TemporaryDirectory(prefix="liteq-soak-") as name, ExitStack() as running:
        folder = Path(name)
        database = folder / "queue.db"
        producer = running.enter_context(_program(folder, "chaos.soak_app", str(seed)))
        _wait_until(database.exists, producer)
        connection = running.enter_context(closing(sqlite3.connect(database, timeout=PATIENCE)))
        connection.execute("PRAGMA wal_autocheckpoint = 0")
        _wait_until(lambda: _count(connection, "sqlite_master WHERE name = 'kept'") == 1, producer)
        command = ("liteq", "worker", "chaos.soak_app:q", "-c", str(WORKERS), "-l", "CRITICAL")
        supervisor = running.enter_context(_program(folder, *command))
        _wait_until(lambda: _count(connection, "liteq_workers") == WORKERS, supervisor)
        samples = list(_samples(connection, database, seconds, producer, supervisor))
        # The producer first: it may be waiting for a result.
        for process in (producer, supervisor):
            _end(process)
        return samples


@contextmanager
def _program(folder: Path, *module: str) -> Iterator[subprocess.Popen[bytes]]:
    """Run a program, and see to it that nothing of it is left."""
    process = subprocess.Popen(
        [sys.executable, "-m", *module],
        env={**os.environ, "CHAOS_FOLDER": str(folder), "PYTHONPATH": str(TESTS)},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        start_new_session=True,
    )
    try:
        yield process
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait(PATIENCE)


def _end(process: subprocess.Popen[bytes]) -> None:
    """Ask a program to end, which it must not have done by itself."""
    assert process.poll() is None, f"{process.args!r} ended by itself with status {process.returncode}"
    process.terminate()
    assert process.wait(PATIENCE) == 0, f"{process.args!r} ended with status {process.returncode}"


def _wait_until(holds: Callable[[], bool], process: subprocess.Popen[bytes]) -> None:
    deadline = time.monotonic() + PATIENCE
    while not holds():
        assert process.poll() is None
        assert time.monotonic() < deadline
        time.sleep(0.01)


def _samples(
    connection: sqlite3.Connection,
    database: Path,
    seconds: float,
    producer: subprocess.Popen[bytes],
    supervisor: subprocess.Popen[bytes],
) -> Iterator[Sample]:
    began = seen = time.time()
    while seen - began < seconds:
        time.sleep(INTERVAL)
        now = time.time()
        done = _count(connection, "liteq_jobs WHERE stage = 3 AND done >= ? AND done < ?", seen, now)
        workers = sorted(_children(supervisor.pid))
        pids = {"producer": producer.pid, "supervisor": supervisor.pid}
        pids |= {f"worker {number}": pid for number, pid in enumerate(workers, 1)}
        yield Sample(
            wal=Path(f"{database}-wal").stat().st_size,
            file=database.stat().st_size,
            memory={name: _private_memory(pid) for name, pid in pids.items()},
            descriptors={name: len(list(Path(f"/proc/{pid}/fd").iterdir())) for name, pid in pids.items()},
            rate=done / (now - seen),
            waiting=_count(connection, "liteq_jobs WHERE stage = 0"),
        )
        seen = now


def _count(connection: sqlite3.Connection, what: str, *parameters: float) -> int:
    (found,) = connection.execute(f"SELECT count(*) FROM {what}", parameters).fetchone()
    return int(found)


def _children(parent: int) -> list[int]:
    found = []
    for entry in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):
            fields = (entry / "stat").read_text(errors="replace").rpartition(")")[2].split()
            if int(fields[1]) == parent and fields[0] != "Z":
                found.append(int(entry.name))
    return found


def _private_memory(pid: int) -> int:
    """Return the bytes that a process shares with no other."""
    lines = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()
    return sum(int(line.split()[1]) * 1024 for line in lines if line.startswith("Private_"))


# ---- what it means -------------------------------------------------------------------------------


def judge(samples: Sequence[Sample]) -> list[str]:
    """Return what grew or slowed down, one sentence each."""
    problems = []
    highest = max(sample.wal for sample in samples)
    if highest > WAL_BOUND:
        problems.append(f"the WAL reached {highest:,} bytes; its bound is {WAL_BOUND:,}")
    second, last = _thirds(samples)
    for name in last[0].memory:
        before, after = (median(sample.memory.get(name, 0) for sample in third) for third in (second, last))
        if after > before * MEMORY_GROWTH + MEMORY_SLACK:
            problems.append(f"the {name}'s private memory grew from {before:,.0f} to {after:,.0f} bytes")
        open_before, open_after = (
            max(sample.descriptors.get(name, 0) for sample in third) for third in (second, last)
        )
        if open_after > open_before + 1:
            problems.append(f"the {name}'s open descriptors grew from {open_before} to {open_after}")
    before, after = (max(sample.file for sample in third) for third in (second, last))
    if after > before * FILE_GROWTH + FILE_SLACK:
        problems.append(f"the file grew from {before:,} to {after:,} bytes")
    rate_before, rate_after = (median(sample.rate for sample in third) for third in (second, last))
    if rate_after < rate_before * SLOWEST or not rate_after:
        problems.append(f"the rate fell from {rate_before:.0f} to {rate_after:.0f} jobs a second")
    before, after = (median(sample.waiting for sample in third) for third in (second, last))
    if after > before + WAITING_SLACK:
        problems.append(f"the jobs that wait grew from {before:.0f} to {after:.0f}")
    return problems


def _thirds(samples: Sequence[Sample]) -> tuple[Sequence[Sample], Sequence[Sample]]:
    third = max(1, len(samples) // 3)
    return samples[-2 * third : -third] or samples[:1], samples[-third:]


def prove(size: int, seed: int) -> Proof:
    """Soak for so many seconds, and compare its last third with its second."""
    samples = measure(size, seed)
    second, last = _thirds(samples)
    figures: dict[str, int | float | str] = {
        "jobs": round(sum(sample.rate for sample in samples) * INTERVAL),
        "highest WAL": f"{max(sample.wal for sample in samples) / MB:.1f} MB of {WAL_BOUND / MB:.0f}",
        "file": _change([sample.file for sample in second], [sample.file for sample in last]),
        "jobs a second": f"{median(s.rate for s in second):.0f} to {median(s.rate for s in last):.0f}",
    }
    for name in last[0].memory:
        memory = _change([s.memory.get(name, 0) for s in second], [s.memory.get(name, 0) for s in last])
        opened = max(sample.descriptors.get(name, 0) for sample in last)
        figures[name] = f"{memory}, {opened} descriptors"
    return Proof("soak", seed, figures, judge(samples))


def _change(before: Sequence[float], after: Sequence[float]) -> str:
    return f"{median(before) / MB:.2f} to {median(after) / MB:.2f} MB"
