"""How much a worker claims at once: of each task, and of jobs that come in a stream.

Pure: no clock, no I/O. Jobs stuck in a worker behind a long one could run elsewhere, so only short
tasks are claimed in batches. A task that turns out long is believed at once; one that turns out short
has to show it several times.

Jobs that are stored one after another would be claimed as singly, and each turn with the store costs as
much as many jobs do, and keeps their producer from the store meanwhile. So in a stream of short jobs a
worker lets some gather before each turn, and one worker attends to it while others of its kind stand by:
they look now and then, and help as soon as there is more than one can do.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

__all__ = [
    "ATTEND_FOR",
    "BATCH_BUDGET",
    "BEGIN_WITHIN",
    "GATHER_FOR",
    "STAND_BY_FOR",
    "TAKE_BACK_AFTER",
    "Durations",
    "Stream",
]

BATCH_BUDGET = 20_000
"""The microseconds of work that one claim may bring; a job that takes as long is claimed alone."""

BEGIN_WITHIN = 0.5
"""Seconds from the beginning of a batch in which its jobs must begin; one that comes later is handed back."""
TAKE_BACK_AFTER = 1.0
"""Seconds that a job may run before the supervisor takes back those behind it.

Their worker's keeper does that after 20 ms, unless the job holds the interpreter. That it is more than
`BEGIN_WITHIN` is what keeps a job from being run by its worker after the supervisor has taken it back: both
look at what is published as running and at the one monotonic clock of the machine.
"""

GATHER_FOR = 0.002
"""Seconds for which a worker lets jobs gather; of 0.5, 1, 2 and 4 ms this let the most through."""
STAND_BY_FOR = 0.02
"""Seconds between the turns of a worker while another one of its kind attends to the stream."""
ATTEND_FOR = 0.01
"""Seconds for which a worker attends to a stream with each of its turns."""

_FEW = 64
"""Jobs of a batch from which a turn is worth its cost."""
_SOON = BATCH_BUDGET / 2 / 1_000_000
"""Seconds; a small batch that is done sooner was small because no more jobs were ready."""
_TURNS_OF_A_STREAM = 2

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


class Stream:
    """Notices when jobs come in a stream: turn after turn brings a few, and they are soon done."""

    def __init__(self) -> None:
        self._turns = 0

    @property
    def flows(self) -> bool:
        """Whether it is better to let jobs gather before the next turn."""
        return self._turns >= _TURNS_OF_A_STREAM

    def observe(self, claimed: int, seconds: float) -> None:
        """Learn from one turn: how many jobs it brought, and how long they took together."""
        few = 0 < claimed < _FEW and seconds < _SOON
        self._turns = self._turns + 1 if few else 0
