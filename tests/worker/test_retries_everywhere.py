"""Retries from the raise to the last attempt, on every transport: what is promised holds on each."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from liteq import Queue
from liteq.errors import Retry
from liteq.job import ClaimRequest, Job, WorkerInfo
from liteq.testing import ManualClock
from liteq.worker.executor import Executor

MANY = 50
"""More attempts than any of these policies allows."""


class Busy(Exception):
    """Worth another attempt."""


class Broken(Busy):
    """Not worth another attempt, although its parent is."""


@contextmanager
def queue_on(kind: str) -> Iterator[Queue]:
    with tempfile.TemporaryDirectory() as folder:
        url = "memory://" if kind == "memory" else str(Path(folder, "queue.db"))
        with Queue(url, durability="normal") as q:
            yield q


def run_to_the_end(q: Queue, task_id: str, draw: float) -> tuple[Job, list[float]]:
    """Run one job attempt by attempt on a clock turned by hand; return it and the delays between attempts."""
    clock = ManualClock(wall=2e9)
    executor = Executor(q.tasks, q.transport, clock, lambda: draw)
    holder = q.transport.register(WorkerInfo("w", "host", 1, 1), 60.0, clock.wall())
    request = ClaimRequest(dict.fromkeys(q.tasks, 1))
    delays: list[float] = []
    for _ in range(MANY):
        [claim] = q.transport.claim(holder, request, clock.wall())
        decided = executor.run(claim)
        assert q.transport.settle(holder, [decided], clock.wall()) == []
        if decided.due is None:
            break
        delays.append(decided.due - clock.wall())
        if delays[-1] > 0:
            assert q.transport.claim(holder, request, decided.due - 0.001) == []
        clock.advance(decided.due - clock.wall())
    [job] = q.transport.get([task_id])
    assert job is not None
    return job, delays


@pytest.mark.parametrize("kind", ["memory", "sqlite"])
@given(
    failures=st.integers(0, 8),
    max_retries=st.integers(0, 6),
    backoff=st.sampled_from([False, True, 3]),
    maximum=st.integers(1, 60),
    jitter=st.booleans(),
    draw=st.floats(0, 1, exclude_max=True),
)
def test_automatic_retries_come_when_promised_and_end_when_exhausted(
    kind: str, failures: int, max_retries: int, backoff: bool | int, maximum: int, jitter: bool, draw: float
) -> None:
    with queue_on(kind) as q:

        @q.task(
            bind=True,
            name="tasks.flaky",
            autoretry_for=(Busy,),
            max_retries=max_retries,
            default_retry_delay=7,
            retry_backoff=backoff,
            retry_backoff_max=maximum,
            retry_jitter=jitter,
        )
        def flaky(self) -> list[int]:
            if self.request.retries < failures:
                raise Busy(self.request.retries)
            return [self.request.attempt, self.request.retries]

        result = flaky.delay()
        job, delays = run_to_the_end(q, result.id, draw)

        retried = min(failures, max_retries)
        assert (job.attempts, job.retries, job.crashes) == (retried + 1, retried, 0)
        if failures <= max_retries:
            assert result.get(timeout=0) == [retried + 1, retried]
        else:
            with pytest.raises(Busy) as raised:
                result.get(timeout=0)
            assert raised.value.args == (max_retries,)
        for number, delay in enumerate(delays):
            most = min(maximum, int(backoff or 0) * 2**number) if backoff else 7
            assert delay == pytest.approx(most, abs=0.01) or (
                jitter and backoff and -0.01 <= delay <= most + 0.01
            )


@pytest.mark.parametrize("kind", ["memory", "sqlite"])
def test_an_exception_that_must_not_be_retried_fails_at_once(kind: str) -> None:
    with queue_on(kind) as q:

        @q.task(name="tasks.broken", autoretry_for=(Busy,), dont_autoretry_for=(Broken,))
        def broken() -> None:
            raise Broken

        result = broken.delay()
        job, delays = run_to_the_end(q, result.id, 0.5)
        assert (job.state, job.attempts, delays) == ("FAILURE", 1, [])
        with pytest.raises(Broken):
            result.get(timeout=0)


@pytest.mark.parametrize("kind", ["memory", "sqlite"])
@given(countdowns=st.lists(st.integers(0, 1000), max_size=5))
def test_a_task_chooses_when_its_next_attempt_comes(kind: str, countdowns: list[int]) -> None:
    with queue_on(kind) as q:

        @q.task(bind=True, name="tasks.patient", max_retries=None)
        def patient(self) -> str:
            retries = self.request.retries
            if retries < len(countdowns):
                retry = self.retry(countdown=countdowns[retries], throw=False)
                # The task's own clock is the machine's; here, time is turned by hand.
                raise Retry(retry.message, retry.exc, due_at(retries), retry.max_retries)
            return "done"

        at = [2e9]

        def due_at(retries: int) -> float:
            at.append(at[-1] + countdowns[retries])
            return at[-1]

        result = patient.delay()
        job, delays = run_to_the_end(q, result.id, 0.5)
        assert result.get(timeout=0) == "done"
        assert job.retries == len(countdowns)
        assert delays == pytest.approx(countdowns, abs=0.01)
