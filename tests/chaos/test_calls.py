"""A call of the disk may fail or be the last one: the verb says so, the file is whole, the process goes on.

Here each verb is broken at a few calls drawn at random; `python -m chaos calls` takes all.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from chaos.calls import cover, why_not
from chaos.nursery import Nursery, Report
from chaos.proof import check
from chaos.verbs import VERBS
from chaos.vfs import Call, FileLayer, Proceed
from liteq.job import NewJob
from liteq.transports.sqlite.transport import SqliteTransport

SAMPLE = 2
"""Points of each verb and of each kind of call."""


@pytest.fixture(scope="module", autouse=True)
def reachable() -> None:
    if why := why_not():
        pytest.skip(why)


def test_a_call_that_fails_or_kills_harms_nothing_beyond_its_verb(seed: int) -> None:
    proof = cover(list(VERBS), 1, seed, sample=SAMPLE)
    check(proof)
    assert proof.figures["visited"] == proof.figures["points"]


@pytest.mark.parametrize(
    ("fault", "told"),
    [
        (
            "an error of the commit that is swallowed",
            "1 of its 1 steps had returned, and the file is neither",
        ),
        ("an error that is not translated", "it raised no error of the store but OperationalError"),
    ],
)
def test_a_seeded_fault_is_found(seed: int, fault: str, told: str) -> None:
    assert any(told in problem for problem in cover(["enqueue one"], 1, seed, fault=fault).problems)


@pytest.fixture
def nursery() -> Iterator[Nursery]:
    with Nursery("chaos.test_calls") as nursery:
        yield nursery


def log_an_enqueue(report: Report, path: str) -> None:
    """In a child: enqueue, and report what SQLite asked of the file layer."""
    layer = FileLayer()

    def note(call: Call, proceed: Proceed) -> int:
        content = call.content() if call.operation == "write" else b""
        code = proceed()
        report([call.operation, call.file, code, b"payload of this job" in content])
        return code

    with SqliteTransport(Path(path)) as transport:
        layer.handler = note
        transport.enqueue([NewJob("id", "tasks.noop", b"payload of this job")], 0.0)
        layer.handler = None


def test_the_file_layer_sees_a_job_go_to_the_wal_and_its_sync(nursery: Nursery, tmp_path: Path) -> None:
    ended = nursery.run("chaos.test_calls:log_an_enqueue", str(tmp_path / "queue.db"))
    assert ended.trouble == ""
    stored = [number for number, (*_, is_job) in enumerate(ended.reports) if is_job]
    assert stored
    assert ended.reports[stored[0]][:3] == ["write", "wal", 0]
    assert ["sync", "wal", 0, False] in ended.reports[stored[0] :]
    assert {"read", "shm_lock", "shm_barrier", "unlock"} & {operation for operation, *_ in ended.reports}


def hang_or_fail(report: Report, how: str) -> None:
    report("begun")
    if how == "fail":
        raise ZeroDivisionError("as it should")


def test_a_child_that_fails_says_why_and_the_next_is_unharmed(nursery: Nursery) -> None:
    failed = nursery.run("chaos.test_calls:hang_or_fail", "fail")
    assert failed.reports == ["begun"]
    assert "ZeroDivisionError: as it should" in failed.trouble
    assert nursery.run("chaos.test_calls:hang_or_fail", "") == (False, ["begun"], "")
