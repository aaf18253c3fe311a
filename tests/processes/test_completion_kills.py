"""A task's writes and its job's end happen together, even when its worker is killed at the worst moment."""

from __future__ import annotations

import os
import signal
import sys

import pytest
from programs import Program, wait_until

from liteq.states import FAILURE, SUCCESS

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="POSIX signals")

TASKS = """
    import os
    import time
    from pathlib import Path
    from liteq import Queue

    HERE = Path(__file__).parent
    q = Queue(HERE / "queue.db", durability="normal", visibility_timeout=60)

    def hold(self, where: str) -> None:
        if self.request.attempt == 1:
            (HERE / where).write_text(str(os.getpid()))
            time.sleep(60)

    @q.task(bind=True)
    def pay(self, where: str) -> None:
        with self.transaction() as connection:
            connection.execute("INSERT INTO paid VALUES (?)", (self.request.id,))
            self.complete(self.request.attempt)
            if where == "inside":
                hold(self, where)
        if where == "after":
            hold(self, where)

    @q.task(bind=True, time_limit=0.3)
    def pays_and_hangs(self) -> None:
        with self.transaction() as connection:
            connection.execute("INSERT INTO paid VALUES (?)", (self.request.id,))
            self.complete("paid")
        time.sleep(60)

    @q.task
    def quick() -> int:
        return os.getpid()
"""


@pytest.fixture
def shop(program: Program):
    module = program.module("paying", TASKS)
    with module.q.transaction() as connection:
        connection.execute("CREATE TABLE paid (job TEXT)")
    return module


def paid(shop) -> list[str]:
    with shop.q.transaction() as connection:
        return [job for (job,) in connection.execute("SELECT job FROM paid")]


@pytest.mark.parametrize(("where", "attempt"), [("inside", 2), ("after", 1)])
def test_a_kill_inside_the_block_undoes_it_and_one_after_it_changes_nothing(
    program: Program, shop, where: str, attempt: int
) -> None:
    with shop.q.start_workers(1):
        result = shop.pay.delay(where)
        wait_until((program.folder / where).exists)
        wait_until((program.folder / where).read_text)
        os.kill(int((program.folder / where).read_text()), signal.SIGKILL)
        assert result.get(30) == attempt
        # The next worker has judged what the dead one held by the time at which it runs something.
        assert shop.quick.delay().get(30)
    assert (result.status, paid(shop)) == (SUCCESS, [result.id])
    (job,) = shop.q.transport.get([result.id])
    assert (job.attempts, job.crashes) == (attempt, attempt - 1)


def test_a_time_limit_after_the_block_ends_the_process_and_not_the_job(shop) -> None:
    with shop.q.start_workers(1):
        result = shop.pays_and_hangs.delay()
        assert result.get(30) == "paid"
        assert shop.quick.delay().get(30)
    assert (result.status, paid(shop)) == (SUCCESS, [result.id])
    assert result.status != FAILURE
