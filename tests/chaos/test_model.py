"""The transports say the same, whatever is asked of them; and a file that differs is noticed."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from chaos.model import SqliteStore, run_model
from chaos.proof import PROOFS, check, prove
from liteq.transport import Transport
from liteq.transports.memory import MemoryTransport
from liteq.transports.sqlite import claiming, managing, registry, settling

SHORT = PROOFS["model"].short


class MemoryStore:
    def __init__(self) -> None:
        self.transport = MemoryTransport()

    def open(self) -> Transport:
        return self.transport

    def dispose(self) -> None:
        self.transport.close()


def test_a_file_says_the_same_as_memory(seed: int) -> None:
    check(prove("model", SHORT, seed))


def test_the_model_agrees_with_itself(seed: int) -> None:
    counts, problems = run_model(MemoryStore, 700, seed)
    assert problems == []
    assert counts.steps >= 700


def test_a_seed_makes_the_same_steps_again(seed: int) -> None:
    first, second = (vars(run_model(MemoryStore, 400, seed)[0]) for _ in range(2))
    assert first == second


Patch = Callable[[pytest.MonkeyPatch], None]


def altered(module: object, name: str, before: str, after: str) -> Patch:
    """Return a patch of one SQL statement."""

    def patch(monkeypatch: pytest.MonkeyPatch) -> None:
        statement = getattr(module, name)
        assert before in statement
        monkeypatch.setattr(module, name, statement.replace(before, after))

    return patch


FAULTS: dict[str, Patch] = {
    "a fence that looks at the job only": altered(
        settling, "FINISH", "token = ?9", "?9 IS NOT NULL AND stage = 2"
    ),
    "a job that is stored as waiting under any token": altered(
        settling, "WAIT", "AND token = ?", "AND ? IS NOT NULL AND stage = 2"
    ),
    "an attempt that is not counted": altered(
        claiming, "TAKE_FROM_LANE", "attempts = attempts + 1", "attempts = max(attempts, 1)"
    ),
    "an order without priorities": altered(claiming, "LANE_HEAD", "priority DESC, due", "due"),
    "an expired job that runs": altered(claiming, "ANY_EXPIRED", "expires <= ?", "expires < ? - 1"),
    "a delayed job that stays delayed when its time has come": altered(
        claiming, "ANY_DUE", "due <= ?", "due < ?"
    ),
    "a result of the attempt before that is kept": altered(claiming, "TAKE_FROM_LANE", "result = NULL, ", ""),
    "a revoked job that ran": altered(managing, "REVOKE", "stage < 2", "stage < 3"),
    "a worker that is expelled although it has renewed": altered(
        registry, "EXPEL", "AND (?2 IS NULL OR expires = ?2)", "AND (?2 IS NULL OR ?2 = ?2)"
    ),
    "renewals that do nothing": altered(registry, "RENEW", "expires = ?", "expires = expires + 0 * ?"),
}


@pytest.mark.parametrize("name", FAULTS)
def test_a_file_that_differs_is_noticed(name: str, monkeypatch: pytest.MonkeyPatch, seed: int) -> None:
    FAULTS[name](monkeypatch)
    counts, problems = run_model(SqliteStore, SHORT, seed, shrink=False)
    assert problems, f"{name} went unnoticed in {counts.steps:,} steps"
