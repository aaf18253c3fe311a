"""The engine on a clock turned by hand, against a store: events in any order, in one thread.

What runs is real: `liteq.worker`'s desk, executor, durations, recovery and verdicts, `liteq.lifecycle`, and
the transport. What is simulated is what surrounds them: processes that die and are suspended at any
point, several programs that look at each other's workers, the machine's clocks, and the order of it all. A
ledger beside the store says what had to happen. The same seed makes the same run, event by event.
"""

from __future__ import annotations

import hashlib
from collections import Counter

from chaos.proof import Proof
from chaos.simulation.episode import Episode
from chaos.simulation.store import MAKERS

__all__ = ["EPISODE", "prove"]

COUNTED = (
    "jobs",
    "claims",
    "runs",
    "worker crashes",
    "program crashes",
    "crashes charged",
    "jobs recovered",
    "workers taken for dead",
    "refused settlements",
    "clock steps",
)

EPISODE = 2500
"""Events of an episode before its drain; each begins with an empty store, so that memory stays flat."""


def prove(size: int, seed: int, transport: str = "memory") -> Proof:
    """Run at least so many steps; stop after the first episode with a problem."""
    digest = hashlib.blake2b(digest_size=8)
    counts: Counter[str] = Counter()
    steps = episodes = 0
    problems: list[str] = []
    with MAKERS[transport]() as make_store:
        while steps < size and not problems:
            episode = Episode(f"{seed}/{episodes}", make_store)
            episode.run(min(EPISODE, size - steps))
            problems = [f"Episode {episode.seed}: {problem}" for problem in episode.ledger.problems]
            digest.update(episode.digest.digest())
            counts += episode.ledger.counts
            steps += episode.steps
            episodes += 1
    figures = {what: counts[what] for what in COUNTED}
    return Proof(
        "simulation",
        seed,
        {"steps": steps, "episodes": episodes, **figures, "trace": digest.hexdigest()},
        problems,
        transport,
    )
