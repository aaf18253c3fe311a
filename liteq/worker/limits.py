"""Ending the processes whose job has passed its time limit.

A worker says when it begins jobs with a time limit; from then on its slot is looked at, until none has run
there for a while.
"""

from __future__ import annotations

from collections.abc import Collection

from liteq.clock import Clock
from liteq.job import Running
from liteq.transport import Transport
from liteq.worker.process import WorkerProcess
from liteq.worker.recovery import find_running

__all__ = ["TimeLimits"]

LIMIT_LOOK_INTERVAL = 0.05
"""Seconds between looks at a worker that runs time-limited jobs; such a job ends at most this late."""
LIMIT_WATCH = 1.0
"""Seconds for which a worker is watched after it was last seen with a time-limited job."""


class TimeLimits:
    """Watches worker processes that run time-limited jobs.

    Args:
        transport: the store, which knows what each worker has published.
        clock: tells monotonic time.
    """

    def __init__(self, transport: Transport, clock: Clock) -> None:
        self._transport = transport
        self._clock = clock
        self._looks: dict[WorkerProcess, float] = {}

    def watch(self, process: WorkerProcess) -> None:
        """Begin to watch a process, or go on: a time-limited job has begun there."""
        self._looks[process] = process.limited_at = self._clock.monotonic()

    def forget(self, process: WorkerProcess) -> None:
        """Watch a process no more."""
        self._looks.pop(process, None)

    @property
    def looks(self) -> Collection[float]:
        """When each of the watched processes is to be looked at next, on the monotonic clock."""
        return self._looks.values()

    def look(self) -> None:
        """End the processes whose job has run for too long."""
        now = self._clock.monotonic()
        for process, look_at in list(self._looks.items()):
            if look_at > now or process.holder is None:
                continue
            running = self._transport.running(process.holder)
            if running is not None and running.deadline is not None:
                process.limited_at = now
                if running.deadline <= now:
                    self._end(process, process.holder, running)
                    continue
                self._looks[process] = min(running.deadline, now + LIMIT_LOOK_INTERVAL)
            elif now - process.limited_at > LIMIT_WATCH:
                del self._looks[process]
            else:
                self._looks[process] = now + LIMIT_LOOK_INTERVAL

    def _end(self, process: WorkerProcess, holder: int, running: Running) -> None:
        """Kill the process, unless the job has ended at this very moment."""
        process.suspend()
        found = find_running(self._transport.running(holder), running.seq, running.token)
        if found is not None and found.deadline == running.deadline:
            process.over_limit = running
            del self._looks[process]
            process.kill()
        else:
            process.resume()
            self._looks[process] = self._clock.monotonic() + LIMIT_LOOK_INTERVAL
