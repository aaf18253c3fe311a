"""What it costs to start: a worker from the shell until its first job is done, and the import."""

from __future__ import annotations

import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path

from liteq.bench.measuring import Spread
from liteq.bench.plan import Plan, fresh_folder
from liteq.bench.tasks import open_bench
from liteq.bench.workloads import PATIENCE

__all__ = ["Startup", "measure_startup"]


@dataclass(frozen=True, slots=True)
class Startup:
    """Milliseconds.

    Attributes:
        first_job: from launching `liteq worker` on a file with a job in it until the caller has its result.
        importing: `import liteq`, beyond what Python itself takes to start.
        python: what Python itself takes.
    """

    first_job: Spread
    importing: Spread
    python: Spread

    def rows(self) -> list[list[str]]:
        """Return a line for each."""
        rows = [["milliseconds", "median", "range"]]
        for name, spread in (
            ("liteq worker to first job done", self.first_job),
            ("import liteq", self.importing),
            ("Python itself", self.python),
        ):
            rows.append([name, f"{spread.median:.0f}", f"{spread.low:.0f} - {spread.high:.0f}"])
        return rows


def measure_startup(plan: Plan) -> Startup:
    """Start workers and interpreters, each as often as there are rounds, after one that is not counted."""
    rounds = [(first_job(plan), run("import liteq"), run("pass")) for _ in range(plan.rounds + 1)][1:]
    jobs, imports, bare = zip(*rounds, strict=True)
    base = Spread.of(bare)
    return Startup(Spread.of(jobs), Spread.of([each - base.median for each in imports]), base)


def first_job(plan: Plan) -> float:
    """Launch one worker on a file with one job, and return the milliseconds until that is done."""
    with fresh_folder(plan) as folder, open_bench(plan, folder) as bench:
        result = bench.nothing.delay()
        command = [sys.executable, "-m", "liteq", "worker", str(bench.path), "-c", "1"]
        with Path(folder, "log").open("wb") as log:
            began = time.perf_counter()
            worker = subprocess.Popen(command, stdout=log, stderr=log)
            try:
                result.get(timeout=PATIENCE)
                return (time.perf_counter() - began) * 1000
            finally:
                worker.terminate()
                worker.wait(PATIENCE)


def run(code: str) -> float:
    """Return the milliseconds that a fresh interpreter takes for a piece of code."""
    began = time.perf_counter()
    subprocess.run([sys.executable, "-c", code], check=True)
    return (time.perf_counter() - began) * 1000
