"""A process may die at any statement: its file is as before the step or after it, and can be worked with."""

from __future__ import annotations

import pytest

from chaos.nursery import can_fork
from chaos.points import cover
from chaos.proof import PROOFS, check, prove

pytestmark = pytest.mark.skipif(not can_fork(), reason="there is no fork here")


def test_a_death_at_any_statement_of_any_verb_leaves_all_or_nothing(seed: int) -> None:
    proof = prove("statements", PROOFS["statements"].short, seed)
    check(proof)
    assert proof.figures["visited"] == proof.figures["points"]


@pytest.mark.parametrize(
    ("verb", "fault", "told"),
    [
        ("settle many", "a settle in two transactions", "the file is neither as after"),
        ("enqueue many", "a body stored after its job was committed", "a job's payload is nowhere"),
        (
            "enqueue one",
            "an answer before the commit",
            "1 of its 1 steps had returned, and the file is neither",
        ),
        ("fire", "a tick in two transactions", "the file is neither as after"),
        ("fire", "a tick that asks for no revision", "a job of a tick that was fired before"),
        ("create it", "a migration in two transactions", "the file cannot be worked with"),
    ],
)
def test_a_seeded_fault_is_found(seed: int, verb: str, fault: str, told: str) -> None:
    assert not cover([verb], 1, seed).problems
    assert any(told in problem for problem in cover([verb], 1, seed, fault).problems)
