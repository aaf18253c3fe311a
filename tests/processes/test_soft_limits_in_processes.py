"""Soft time limits in worker processes, whose main thread runs the jobs."""

from __future__ import annotations

import pytest
from programs import Program

from liteq import SoftTimeLimitExceeded, TimeLimitExceeded

TASKS = """
    import asyncio
    import time
    from pathlib import Path
    from liteq import Queue, SoftTimeLimitExceeded

    HERE = Path(__file__).parent
    q = Queue(HERE / "queue.db", durability="normal")

    @q.task(soft_time_limit=0.1, time_limit=20)
    def naps() -> str:
        try:
            time.sleep(60)
        except SoftTimeLimitExceeded:
            return "tidied up"
        return "slept"

    @q.task
    async def naps_asynchronously() -> None:
        await asyncio.sleep(60)

    @q.task(soft_time_limit=0.1, time_limit=0.5)
    def does_not_listen() -> None:
        while True:
            try:
                time.sleep(60)
            except SoftTimeLimitExceeded:
                pass

    @q.task(soft_time_limit=0.1, autoretry_for=(SoftTimeLimitExceeded,), default_retry_delay=0)
    def slow_at_first() -> str:
        if (HERE / "seen").exists():
            return "done"
        (HERE / "seen").touch()
        time.sleep(60)
        return "not reached"

    @q.task(soft_time_limit=0.1)
    def calls_others() -> str:
        try:
            while True:
                quick.delay()
        except SoftTimeLimitExceeded:
            return quick.delay().id

    @q.task(ignore_result=True)
    def quick() -> None:
        pass
"""


def test_a_job_is_told_before_it_is_ended(program: Program) -> None:
    app = program.module("limited", TASKS)
    with app.q.start_workers(1):
        stubborn = app.does_not_listen.delay()
        assert app.naps.delay().get(timeout=20) == "tidied up"
        with pytest.raises(SoftTimeLimitExceeded, match=r"0\.1 s"):
            app.naps_asynchronously.options(soft_time_limit=0.1).delay().get(timeout=20)
        assert app.slow_at_first.delay().get(timeout=20) == "done"
        with pytest.raises(TimeLimitExceeded):
            stubborn.get(timeout=20)


def test_a_limit_that_comes_while_the_task_writes_to_the_queue_leaves_the_queue_usable(
    program: Program,
) -> None:
    app = program.module("limited", TASKS)
    with app.q.start_workers(1):
        for _ in range(3):
            assert app.calls_others.delay().get(timeout=20)
        app.q.transport.purge(None, 0.0)
        assert app.naps.delay().get(timeout=20) == "tidied up"
