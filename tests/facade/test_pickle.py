"""Pickles are read only where both ends accept them, and only what was signed with the queue's key."""

from __future__ import annotations

import pickle
import sqlite3
from collections.abc import Callable, Iterator
from fractions import Fraction
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from liteq import Queue
from liteq.cli.main import main
from liteq.errors import ConfigurationError, DecodingError, EncodingError, SecurityError
from liteq.job import Claim, ClaimRequest, Job, NewJob, WorkerInfo
from liteq.states import FAILURE, SUCCESS
from liteq.worker.executor import Executor

KEY = "a key for the tests, long enough"
PICKLE = {"msgpack", "pickle"}


class Burglar:
    """What must never be unpickled; nobody has the key that signed it."""

    ran = False

    @staticmethod
    def run() -> str:
        Burglar.ran = True
        return "pwned"

    def __reduce__(self) -> tuple[Callable[[], str], tuple[()]]:
        return Burglar.run, ()


HOSTILE = pickle.dumps(Burglar())
HOSTILE_CALL = pickle.dumps([[Burglar()], {}])


@pytest.fixture
def make(tmp_path: Path) -> Iterator[Callable[..., Queue]]:
    made: list[Queue] = []

    def make(**settings: Any) -> Queue:
        made.append(Queue(tmp_path / "queue.db", **settings))
        made[-1].task(name="half", serializer="pickle")(lambda number: number / 2)
        return made[-1]

    Burglar.ran = False
    yield make
    for queue in made:
        queue.close()


def work(queue: Queue) -> Job:
    transport = queue.transport
    holder = transport.register(WorkerInfo("w", "here", 1, 1), 60.0, 0.0)
    claims: list[Claim] = transport.claim(holder, ClaimRequest(dict.fromkeys(queue.tasks, 1)), 1e11)
    decided = Executor(queue.tasks, transport).run(claims[0])
    assert decided is not None
    assert transport.settle(holder, [decided], 1e11) == []
    [job] = transport.get([claims[0].id])
    assert job is not None
    return job


def change(queue: Queue, **columns: object) -> None:
    """Change the one job of a file by hand."""
    queue.transport.close()
    with sqlite3.connect(queue.url) as connection:
        for name, value in columns.items():
            connection.execute(f"UPDATE liteq_jobs SET {name} = ?", (value,))
    connection.close()
    queue.close()


def test_what_only_pickle_can_carry_comes_back(make: Callable[..., Queue]) -> None:
    queue = make(accept=PICKLE, signing_key=KEY, compression="zlib", compression_threshold=1)
    result = queue.tasks["half"].delay(Fraction(1, 3))
    assert (work(queue).state, result.get()) == (SUCCESS, Fraction(1, 6))


def test_pickle_has_to_be_asked_for_and_signed_or_waived(make: Callable[..., Queue]) -> None:
    for settings in ({}, {"signing_key": KEY}, {"accept": PICKLE}):
        with pytest.raises(ConfigurationError, match="pickle"):
            make(**settings)
    queue = make(accept=PICKLE, unsigned_pickle=True)
    result = queue.tasks["half"].delay(Fraction(1, 3))
    assert (work(queue).state, result.get()) == (SUCCESS, Fraction(1, 6))


def test_a_pickle_that_nobody_signed_is_not_unpickled_by_a_worker(make: Callable[..., Queue]) -> None:
    queue = make(accept=PICKLE, signing_key=KEY)
    queue.transport.enqueue([NewJob("burglar", "half", HOSTILE_CALL, "pickle")], 0.0)
    with pytest.raises(SecurityError, match="it is unsigned"):
        raise_(queue, work(queue))
    assert not Burglar.ran


def raise_(queue: Queue, job: Job) -> None:
    queue.AsyncResult(job.id).get()


@pytest.mark.parametrize(
    "put", ["in place of a result", "in place of one of another codec", "with a false mark"]
)
def test_a_pickle_that_nobody_signed_is_not_unpickled_by_a_reader(
    make: Callable[..., Queue], put: str
) -> None:
    queue = make(accept=PICKLE, signing_key=KEY)
    task = queue.tasks["half"]
    other = put == "in place of one of another codec"
    result = (task.options(serializer="msgpack") if other else task).delay(1)
    work(queue)
    mark = b"\xc1\x03" + bytes(32) if put == "with a false mark" else b""
    change(queue, result=mark + HOSTILE, codec="pickle")
    with pytest.raises(DecodingError, match="not signed with the key of this queue"):
        result.get()
    assert not Burglar.ran


def test_a_signed_result_is_bound_to_its_job_and_state(make: Callable[..., Queue]) -> None:
    queue = make(accept=PICKLE, signing_key=KEY)

    @queue.task(name="reports", bind=True, serializer="pickle")
    def reports(self: Any) -> int:
        self.update_state("PROGRESS", 5)
        reported.append(queue.transport.get([self.request.id])[0])
        return 6

    reported: list[Any] = []
    result = reports.delay()
    work(queue)
    assert result.get() == 6
    assert queue.settings.contents.read(reported[0], "PROGRESS", reported[0].result) == 5
    change(queue, result=reported[0].result)
    with pytest.raises(DecodingError, match="not signed"):
        result.get()


def test_a_pickle_is_never_decoded_to_be_shown(make: Callable[..., Queue], tmp_path: Path) -> None:
    queue = make(accept=PICKLE, unsigned_pickle=True)
    queue.schedules.add(3600, queue.tasks["half"].s(1), name="hourly")
    assert queue.schedules.get("hourly").args is None
    queue.transport.enqueue([NewJob("burglar", "half", HOSTILE_CALL, "pickle")], 0.0)
    queue.close()
    shown = CliRunner().invoke(main, ["jobs", "show", queue.url, "burglar"])
    assert shown.exit_code == 0, shown.output
    assert "It is a pickle, which is not read to be shown" in shown.output
    assert not Burglar.ran


def test_what_cannot_be_pickled_is_refused_at_the_call(make: Callable[..., Queue]) -> None:
    queue = make(accept=PICKLE, signing_key=KEY)
    with pytest.raises(EncodingError, match=r"Argument 'number', of type .*function, cannot be encoded"):
        queue.tasks["half"].delay(lambda: None)
    assert queue.transport.count() == []


def test_damaged_pickles_raise_a_decoding_error_and_end_their_own_job(make: Callable[..., Queue]) -> None:
    queue = make(accept=PICKLE, unsigned_pickle=True)
    queue.transport.enqueue([NewJob("bad", "half", b"no pickle", "pickle")], 0.0)
    job = work(queue)
    assert (job.state, str(job.reason).startswith("DecodingError")) == (FAILURE, True)
