"""What liteq costs while workers wait: the latency of a call, and what idleness uses."""

from __future__ import annotations

import os
import sys
import time
from dataclasses import dataclass
from pathlib import Path

from liteq.bench.measuring import percentile
from liteq.bench.plan import Plan, fresh_folder
from liteq.bench.tasks import Bench, open_bench
from liteq.bench.workloads import PATIENCE, warm_up_workers

__all__ = ["Idleness", "Latency", "Percentiles", "measure_idleness", "measure_latency"]

UNKNOWN = "not known on this system"
PAUSE = 0.005
"""Seconds between two calls, in which the workers fall asleep again."""
CALM_DOWN = 2.0
"""Seconds after the last job; a checkpoint may follow it by one."""


@dataclass(frozen=True, slots=True)
class Percentiles:
    """Milliseconds that half of the calls, and 99 in 100 of them, did not exceed."""

    p50: float
    p99: float


@dataclass(frozen=True, slots=True)
class Latency:
    """How long calls take while the workers are idle, counted from before `delay()`.

    Attributes:
        calls: how many were measured.
        start: until the task began.
        result: until `get()` returned.
    """

    calls: int
    start: Percentiles
    result: Percentiles

    def rows(self) -> list[list[str]]:
        """Return a line for each."""
        rows = [["milliseconds", "calls", "p50", "p99"]]
        for name, figures in (("call to start", self.start), ("call to result", self.result)):
            rows.append([name, f"{self.calls:,}", f"{figures.p50:.2f}", f"{figures.p99:.2f}"])
        return rows


@dataclass(frozen=True, slots=True)
class Idleness:
    """What a supervisor and its workers do while there is nothing to do.

    Attributes:
        seconds: for how long they were watched.
        supervisor_cpu: CPU seconds used by the process with the supervisor.
        workers_cpu: CPU seconds used by all worker processes; None where this system cannot tell.
        supervisor_memory: bytes that the process with the supervisor (and the benchmark) shares with no
            other; None where this system cannot tell.
        worker_memory: the same of the largest worker process.
        written: whether the queue's file or its log was written to.
    """

    seconds: float
    supervisor_cpu: float
    workers_cpu: float | None
    supervisor_memory: int | None
    worker_memory: int | None
    written: bool

    def rows(self) -> list[list[str]]:
        """Return a line for each kind of process, and one for the file."""
        return [
            [f"idle for {self.seconds:g} s", "of one core", "private memory"],
            ["supervisor's process", self._share(self.supervisor_cpu), megabytes(self.supervisor_memory)],
            ["worker processes", self._share(self.workers_cpu), megabytes(self.worker_memory)],
            ["writes to the file", "some" if self.written else "none", ""],
        ]

    def _share(self, cpu: float | None) -> str:
        return UNKNOWN if cpu is None else f"{100 * cpu / self.seconds:.3f} %"


def measure_latency(plan: Plan) -> Latency:
    """Call a task that returns when it began, again and again, on workers that are asleep."""
    with (
        fresh_folder(plan) as folder,
        open_bench(plan, folder) as bench,
        bench.queue.start_workers(plan.workers),
    ):
        warm_up_workers(bench)
        calls = []
        for _ in range(plan.calls):
            time.sleep(PAUSE)
            calls.append(call_once(bench))
    return Latency(
        plan.calls,
        Percentiles(*(percentile([start for start, _ in calls], percent) for percent in (50, 99))),
        Percentiles(*(percentile([result for _, result in calls], percent) for percent in (50, 99))),
    )


def call_once(bench: Bench) -> tuple[float, float]:
    """Return the milliseconds from the call to the task's start, and to the result in hand."""
    # The wall clock, because it is the one clock that all processes of a machine share everywhere.
    called = time.time()
    started = bench.clock.delay().get(timeout=PATIENCE)
    finished = time.time()
    return (started - called) * 1000, (finished - called) * 1000


def measure_idleness(plan: Plan) -> Idleness:
    """Watch workers that have nothing to do."""
    with (
        fresh_folder(plan) as folder,
        open_bench(plan, folder) as bench,
        bench.queue.start_workers(plan.workers),
    ):
        warm_up_workers(bench)
        pids = [record.info.pid for record in bench.queue.transport.workers()]
        time.sleep(CALM_DOWN)
        files, own, workers = look_at_files(bench.path), time.process_time(), cpu_of(pids)
        time.sleep(plan.idle)
        own, used = time.process_time() - own, cpu_of(pids)
        written = look_at_files(bench.path) != files
        memory = private_memory(os.getpid())
        largest = max((private_memory(pid) or 0 for pid in pids), default=0)
    workers_cpu = None if used is None or workers is None else used - workers
    return Idleness(plan.idle, own, workers_cpu, memory, largest or None, written)


def look_at_files(path: Path) -> list[tuple[int, int]]:
    """Return what would change if the database or its log were written to."""
    files = [path, path.with_name(f"{path.name}-wal")]
    return [(about.st_size, about.st_mtime_ns) for about in (file.stat() for file in files if file.exists())]


def cpu_of(pids: list[int]) -> float | None:
    """Return the CPU seconds that other processes have used; None where the system does not tell exactly."""
    if sys.platform != "linux":
        return None
    nanoseconds = 0
    try:
        for pid in pids:
            # `stat` counts in steps of 10 ms, which is more than an idle worker uses in a minute.
            for thread in os.listdir(f"/proc/{pid}/task"):  # noqa: PTH208
                statistics = Path(f"/proc/{pid}/task/{thread}/schedstat").read_text(encoding="ascii")
                nanoseconds += int(statistics.split()[0])
    except (OSError, ValueError, IndexError):
        return None
    return nanoseconds / 1e9


def private_memory(pid: int) -> int | None:
    """Return the bytes that a process shares with no other; None where the system does not tell."""
    if sys.platform != "linux":
        return None
    try:
        lines = Path(f"/proc/{pid}/smaps_rollup").read_text(encoding="ascii").splitlines()
    except OSError:
        return None
    return sum(int(line.split()[1]) * 1024 for line in lines if line.startswith("Private_"))


def megabytes(size: int | None) -> str:
    """Return a size as text."""
    return UNKNOWN if size is None else f"{size / 2**20:.1f} MiB"
