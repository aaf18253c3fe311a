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
        transport: what kind of store it was about; "" where it is about one kind only.
    """

    name: str
    seed: int
    figures: Mapping[str, int | float | str]
    problems: Sequence[str] = field(default=())
    transport: str = ""

    def __str__(self) -> str:
        counted = ", ".join(
            f"{value:,} {what}" if isinstance(value, int) else f"{what} {value}"
            for what, value in self.figures.items()
        )
        verdict = "held" if not self.problems else f"BROKEN ({len(self.problems)})"
        where = f" on {self.transport}" if self.transport else ""
        return f"{self.name}{where} (seed {self.seed}): {verdict}; {counted}"


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
    transports: Sequence[str] = ()
    """The kinds of store that it can be about, the usual one first; none: it is about files."""


PROOFS: dict[str, Plan] = {
    "storm": Plan("chaos.storm", "kills", 200, 5_000, ("sqlite", "redis")),
    "statements": Plan("chaos.points", "rounds over all points", 1, 3),
    "calls": Plan("chaos.calls", "rounds over all points", 0, 1),
    "powercut": Plan("chaos.powercut", "cuts", 200, 20_000),
    "model": Plan("chaos.model", "steps", 10_000, 1_000_000, ("sqlite", "redis")),
    "simulation": Plan("chaos.simulation", "steps", 100_000, 10_000_000, ("memory", "redis")),
    "fuzz": Plan("chaos.fuzz", "cases", 20_000, 5_000_000),
    "beat": Plan("chaos.beat", "seconds", 15, 120, ("sqlite", "redis")),
    "move": Plan("chaos.move", "kills", 50, 2_000, ("sqlite", "redis")),
    "soak": Plan("chaos.soak", "seconds", 0, 1_800),
}

seen: list[Proof] = []
"""The proofs that this process has checked, for the summary."""


def prove(name: str, size: int, seed: int, transport: str | None = None) -> Proof:
    """Run a proof, on the usual kind of store or on another one that it can be about."""
    run: Callable[..., Proof] = import_module(PROOFS[name].module).prove
    return run(size, seed) if transport is None else run(size, seed, transport)


def check(proof: Proof) -> None:
    """Demand that a proof held; remember it for the summary."""
    seen.append(proof)
    problems = "\n".join(f"- {problem}" for problem in proof.problems[:20])
    on = f" --transport {proof.transport}" if proof.transport else ""
    assert not proof.problems, (
        f"{proof}\n{problems}\nAgain: PYTHONPATH=tests python -m chaos {proof.name}{on} --seed {proof.seed}"
    )
