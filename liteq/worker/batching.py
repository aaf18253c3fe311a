"""How much of each task a worker claims at once: by how long that task has taken lately.

Pure: no clock, no I/O. Jobs stuck in a worker behind a long one could run elsewhere, so only short
tasks are claimed in batches. A task that turns out long is believed at once; one that turns out short
has to show it several times.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

__all__ = ["BATCH_BUDGET", "Durations"]

BATCH_BUDGET = 20_000
"""The microseconds of work that one claim may bring; a job that takes as long is claimed alone."""

_DECAY = 0.1
_CEILING = 10
"""How many budgets one outlier can teach at most: 22 short jobs later the task comes in batches again."""


class Durations:
    """Remembers how long each task takes, as its cost in a claim.

    A task that has not run yet costs the whole budget, so that its first job is claimed alone.

    Args:
        tasks: the names of the tasks that may be claimed.
        budget: the microseconds of work in one claim.
    """

    def __init__(self, tasks: Iterable[str], budget: int = BATCH_BUDGET) -> None:
        self._budget = budget
        self._ceiling = float(_CEILING * budget)
        self._learned: dict[str, float] = {}
        self._costs = dict.fromkeys(tasks, budget)

    @property
    def costs(self) -> Mapping[str, int]:
        """Return the cost of every task in microseconds, for `ClaimRequest.tasks`; follows `observe`."""
        return self._costs

    def cost(self, task: str) -> int:
        """Return the cost of one job of this task: from 1 to the budget, in microseconds."""
        return self._costs.get(task, self._budget)

    def observe(self, task: str, seconds: float) -> None:
        """Learn from one job: a longer one counts in full at once, a shorter one by a tenth."""
        taken = seconds * 1_000_000
        learned = self._learned.get(task, 0.0)
        if taken >= learned:
            learned = taken if taken < self._ceiling else self._ceiling
        else:
            learned += (taken - learned) * _DECAY
        self._learned[task] = learned
        cost = int(learned)
        self._costs[task] = 1 if cost < 1 else min(cost, self._budget)
