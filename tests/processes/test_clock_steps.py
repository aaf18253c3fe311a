"""Real programs whose wall clock is set while jobs run, beside one whose clock is right and who looks on."""

from __future__ import annotations

import os
import signal
import struct
import subprocess
import sys
import time
from types import ModuleType

import pytest
from programs import Program, wait_until

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="POSIX signals")

HOUR, YEAR = 3600.0, 365 * 86400.0
VISIBILITY = 1.8
RENEWALS = 3
"""So many heartbeats are one more than a looker waits before it takes a silent worker's jobs."""

TASKS = f"""
    import mmap
    import os
    import struct
    import sys
    import time
    from pathlib import Path
    from liteq import Queue
    from liteq.clock import SystemClock

    HERE = Path(__file__).parent

    if "stepped" in sys.argv:
        # Handed on to the worker processes.
        os.environ["STEPPED"] = "1"
    if "STEPPED" in os.environ:
        with open(HERE / "offset", "rb") as file:
            shared = mmap.mmap(file.fileno(), 8, access=mmap.ACCESS_READ)
        real, real_ns = time.time, time.time_ns
        offset = struct.Struct("=d").unpack_from
        time.time = lambda: real() + offset(shared)[0]
        time.time_ns = lambda: real_ns() + int(offset(shared)[0] * 1e9)
        SystemClock.wall = staticmethod(time.time)

    # Results are kept for ever: by one of the two clocks they would have expired at once.
    q = Queue(HERE / "queue.db", durability="normal", visibility_timeout={VISIBILITY}, result_expires=None)

    @q.task(bind=True)
    def hold(self, until: str) -> str:
        with open(HERE / "trace", "a") as trace:
            trace.write(f"{{os.getpid()}}\\n")
        while not (HERE / until).exists():
            time.sleep(0.005)
        return "STEPPED" if "STEPPED" in os.environ else "right"

    @q.task
    def quick(number: int) -> int:
        return number

    if __name__ == "__main__":
        with q.start_workers(2, queues=sys.argv[2].split(",")) as workers:
            print("ready", flush=True)
            time.sleep(300)
"""


class Clock:
    """The offset of the stepped program's clock, in seconds, shared with it."""

    def __init__(self, program: Program) -> None:
        self._path = program.folder / "offset"
        self.offset = 0.0
        self._path.write_bytes(struct.pack("=d", 0.0))

    def set(self, offset: float) -> None:
        self.offset = offset
        with self._path.open("r+b") as file:
            file.write(struct.pack("=d", offset))

    def wall(self) -> float:
        return time.time() + self.offset


def start(program: Program, app: ModuleType, kind: str, queues: str) -> subprocess.Popen[str]:
    process = program.start(app.__file__, kind, queues)
    assert process.stdout is not None
    assert process.stdout.readline() == "ready\n"
    return process


def begun(program: Program) -> int:
    """How many times the job that holds has begun."""
    path = program.folder / "trace"
    return len(path.read_text().splitlines()) if path.exists() else 0


def busy_expiry(app: ModuleType) -> float | None:
    """When the lease of whoever holds a job runs out."""
    expiries = [record.expires for record in app.q.transport.workers() if record.running is not None]
    return expiries[0] if expiries else None


def wait_for_renewals(app: ModuleType, clock: Clock) -> None:
    """Wait until the lease was renewed so many times, and demand that each is right by the new time."""
    seen: list[float] = []

    def renewed() -> bool:
        expires = busy_expiry(app)
        if expires is not None and abs(expires - clock.wall()) <= VISIBILITY and expires not in seen:
            seen.append(expires)
        return len(seen) == RENEWALS

    wait_until(renewed, timeout=30)


def test_workers_keep_their_jobs_when_the_clock_is_set_although_another_program_looks_on(
    program: Program,
) -> None:
    clock = Clock(program)
    app = program.module("stepping", TASKS)
    start(program, app, "stepped", "a")
    start(program, app, "right", "b")
    held = app.hold.options(queue="a").delay("go")
    wait_until(lambda: begun(program) == 1)
    results = []
    for offset in (HOUR, YEAR, -YEAR):
        clock.set(offset)
        results += [app.quick.options(queue=name).delay(7) for name in ("a", "b")]
        wait_for_renewals(app, clock)
    (program.folder / "go").touch()
    assert held.get(timeout=10) == "STEPPED"
    assert [result.get(timeout=10) for result in results] == [7] * 6
    assert begun(program) == 1
    jobs = app.q.transport.get([result.id for result in (held, *results)])
    assert {(job.attempts, job.crashes, job.retries) for job in jobs} == {(1, 0, 0)}


@pytest.mark.parametrize("offset", [YEAR, -YEAR], ids=["a year ahead", "a year back"])
def test_a_program_that_hangs_loses_its_jobs_whatever_its_clock_said(program: Program, offset: float) -> None:
    clock = Clock(program)
    app = program.module("stepping", TASKS)
    hanging = start(program, app, "stepped", "a")
    clock.set(offset)
    held = app.hold.options(queue="a").delay("go")
    wait_until(lambda: begun(program) == 1 and abs((busy_expiry(app) or 0) - clock.wall()) <= VISIBILITY)
    start(program, app, "right", "a,b")
    os.killpg(hanging.pid, signal.SIGSTOP)
    wait_until(lambda: begun(program) == 2, timeout=30)
    (program.folder / "go").touch()
    assert held.get(timeout=10) == "right"
    os.killpg(hanging.pid, signal.SIGCONT)
    # What comes back finds its lease gone, and goes on with what there is.
    assert app.quick.options(queue="a").delay(7).get(timeout=10) == 7
    [job] = app.q.transport.get([held.id])
    assert job is not None
    assert (job.attempts, job.crashes, begun(program)) == (2, 0, 2)
    assert held.get(timeout=1) == "right"
