"""What a proof comes to, and the list of all of them."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from importlib import import_module
from typing import NamedTuple

__all__ = ["PROOFS", "Plan", "Proof", "check", "prove", "seen"]


@dataclass(frozen=True, slots=True)
class Proof:
    """One run of a proof.

    Attributes:
        name: which one, as in `PROOFS`.
        seed: what makes the same run again.
        figures: what was done and counted, in the order in which it is printed.
        problems: what broke a promise, one sentence each; empty if the promise held.
    """

    name: str
    seed: int
    figures: Mapping[str, int | float | str]
    problems: Sequence[str] = field(default=())

    def __str__(self) -> str:
        counted = ", ".join(
            f"{value:,} {what}" if isinstance(value, int) else f"{what} {value}"
            for what, value in self.figures.items()
        )
        verdict = "held" if not self.problems else f"BROKEN ({len(self.problems)})"
        return f"{self.name} (seed {self.seed}): {verdict}; {counted}"


class Plan(NamedTuple):
    """How a proof is run."""

    module: str
    """Has `prove(size, seed) -> Proof`."""
    unit: str
    """What the size counts."""
    short: int
    """The size in the default suite; 0: it is no part of it."""
    long: int
    """The size in `nox -s chaos`."""


PROOFS: dict[str, Plan] = {
    "storm": Plan("chaos.storm", "kills", 200, 5_000),
    "statements": Plan("chaos.points", "rounds over all points", 1, 3),
    "calls": Plan("chaos.calls", "rounds over all points", 0, 1),
    "powercut": Plan("chaos.powercut", "cuts", 200, 20_000),
    "model": Plan("chaos.model", "steps", 10_000, 1_000_000),
    "simulation": Plan("chaos.simulation", "steps", 100_000, 10_000_000),
    "fuzz": Plan("chaos.fuzz", "cases", 20_000, 5_000_000),
    "beat": Plan("chaos.beat", "seconds", 15, 120),
    "soak": Plan("chaos.soak", "seconds", 0, 1_800),
}

seen: list[Proof] = []
"""The proofs that this process has checked, for the summary."""


def prove(name: str, size: int, seed: int) -> Proof:
    """Run a proof."""
    run: Callable[[int, int], Proof] = import_module(PROOFS[name].module).prove
    return run(size, seed)


def check(proof: Proof) -> None:
    """Demand that a proof held; remember it for the summary."""
    seen.append(proof)
    problems = "\n".join(f"- {problem}" for problem in proof.problems[:20])
    assert not proof.problems, (
        f"{proof}\n{problems}\nAgain: PYTHONPATH=tests python -m chaos {proof.name} --seed {proof.seed}"
    )
