"""Moves are killed at random moments and called again, and nothing is lost and nothing doubled."""

from __future__ import annotations

import random
import sys
from collections import Counter
from collections.abc import Sequence
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from chaos.move import OTHERS, Ledger, Worker, fill, judge, judge_left
from chaos.proof import PROOFS, check, prove
from liteq.app.mover import CHECK, Mover
from liteq.job import Job, JobFilter
from liteq.moving import StoredJob
from liteq.transport import Transport
from liteq.transports.memory import MemoryTransport
from liteq.transports.sqlite.transport import SqliteTransport


@pytest.mark.skipif(sys.platform != "linux", reason="pidfds")
def test_a_move_that_is_killed_again_and_again_loses_and_doubles_nothing(seed: int):
    check(prove("move", PROOFS["move"].short, seed))


class Killed(BaseException):
    """The move ends here."""


class Dying(SqliteTransport):
    """A target on which the move dies right after each batch was stored."""

    def adopt(self, move_id: str, seen: bytes | None, progress: bytes, *what: Any) -> bool:
        if super().adopt(move_id, seen, progress, *what) and move_id != CHECK:
            raise Killed
        return False


class Forgetful(SqliteTransport):
    """One that dies between a batch and the note of how far the move has come, once."""

    died = False

    def adopt(
        self, move_id: str, seen: bytes | None, progress: bytes, jobs: Sequence[StoredJob] = (), *what: Any
    ) -> bool:
        if jobs and "waiting" in jobs[0].id and not self.died:
            self.died = super().adopt("another move", None, progress, jobs, *what)
            raise Killed
        return super().adopt(move_id, seen, progress, jobs, *what)


class Hasty(Dying):
    """One that notes how far the move has come, and stores the half of it."""

    def adopt(
        self, move_id: str, seen: bytes | None, progress: bytes, jobs: Sequence[StoredJob] = (), *what: Any
    ) -> bool:
        return super().adopt(move_id, seen, progress, jobs[::2], *what)


@pytest.mark.parametrize(("kind", "said"), [(Dying, ""), (Forgetful, "ran 2 times"), (Hasty, "was lost")])
def test_a_target_that_does_not_store_both_together_is_found_out(
    kind: type[SqliteTransport], said: str, tmp_path: Path
):
    ledger = Ledger()
    with MemoryTransport() as source, closing(kind(tmp_path / "queue.db")) as target:
        fill(source, ledger, 0)
        worker = Worker(target, ledger, random.Random(1))
        for _ in range(30):
            try:
                Mover(source, target, batch=OTHERS).run()
                break
            except Killed:
                while worker.run_some():
                    pass
                for job_id in ledger.ran:
                    target.forget(job_id)
        while worker.run_some():
            pass
        problems = judge(ledger, target.find(JobFilter(limit=1000)), target.schedules())
    assert bool(problems) is bool(said)
    assert not said or any(said in problem for problem in problems)


@pytest.fixture
def filled() -> tuple[Ledger, Transport]:
    ledger, store = Ledger(), MemoryTransport()
    fill(store, ledger, 0)
    ledger.ran = Counter(ledger.waiting)
    store.revoke(ledger.waiting, 0.0, "it ran, and left no record")
    for job_id in ledger.waiting:
        store.forget(job_id)
    return ledger, store


def changed(jobs: list[Job], index: int, **fields: Any) -> list[Job]:
    return [*jobs[:index], jobs[index]._replace(**fields), *jobs[index + 1 :]]


def test_what_is_lost_doubled_or_changed_is_noticed(filled: tuple[Ledger, Transport]):
    ledger, store = filled
    jobs, schedules = store.find(JobFilter(limit=1000)), store.schedules()
    assert judge(ledger, jobs, schedules) == []
    for there, recurring, said in [
        (jobs[1:], schedules, "was lost"),
        ([*jobs, jobs[0]], schedules, "is there 2 times"),
        (changed(jobs, 0, due=1.0), schedules, "has changed"),
        (changed(jobs, 0, id="another"), schedules, "another is there"),
        (jobs, schedules[1:], "was lost"),
        (jobs, [*schedules[1:], replace(schedules[0], runs=1)], "has changed"),
    ]:
        assert any(said in problem for problem in judge(ledger, there, recurring))
    once = ledger.waiting[0]
    for times, said in ((0, "was lost"), (2, "ran 2 times")):
        ledger.ran[once] = times
        assert any(said in problem for problem in judge(ledger, jobs, schedules))


def test_a_store_that_is_left_open_or_full_is_noticed(filled: tuple[Ledger, Transport]):
    _, store = filled
    assert any("is open" in problem for problem in judge_left(store, "a"))
    store.begin_move("a move", "elsewhere", 0.0)
    assert any("is open" in problem for problem in judge_left(store, "a"))
    store.end_move("a move", 0.0)
    [problem] = judge_left(store, "a")
    assert "still has" in problem
    while store.discard_moved("a move", 100):
        pass
    assert judge_left(store, "a") == []
