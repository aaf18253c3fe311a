"""A store, a clock turned by hand, workers on it, and one who looks at them."""

from __future__ import annotations

from collections.abc import Callable

from liteq.job import Claim, ClaimRequest, NewJob, WorkerInfo
from liteq.testing import ManualClock
from liteq.transport import Transport
from liteq.worker.recovery import Recovery

ANY = ClaimRequest({"task": 1})


class Scene:
    """One store, one clock, and one who looks at the workers."""

    def __init__(self, transport: Transport) -> None:
        self.clock = ManualClock()
        self.transport = transport
        self.recovery = Recovery(transport, self.clock, lambda: 0.5)

    def worker(self, visibility_timeout: float = 60.0) -> int:
        info = WorkerInfo("worker", "host", 1, 1)
        holder = self.transport.register(info, visibility_timeout, self.clock.wall())
        self.transport.slot(holder)
        return holder

    def holds(self, holder: int, job_id: str = "job", max_crashes: int = 3) -> Claim:
        """Let a worker claim a job of that id."""
        self.transport.enqueue([NewJob(job_id, "task", b"", max_crashes=max_crashes)], self.clock.wall())
        (claim,) = self.transport.claim(holder, ANY, self.clock.wall())
        return claim

    def look_for(self, seconds: float, renew: Callable[[], None] | None = None, every: float = 20.0) -> int:
        """Look each second for so long while a worker renews as often as it must; count what was taken."""
        taken = 0
        for second in range(1, int(seconds) + 1):
            self.clock.advance(1.0)
            if renew is not None and second % every == 0:
                renew()
            taken += len(self.recovery.look())
        return taken

    def state(self, job_id: str = "job") -> tuple[str, int]:
        (job,) = self.transport.get([job_id])
        assert job is not None
        return job.state, job.attempts
