"""The kill storm: programs that use one queue are killed and suspended at random, and nothing is lost.

Producers, workers, supervisors and workers without one share a queue under load. Again and again one of them
gets SIGKILL, or SIGSTOP and some time later SIGCONT, often later than its leases last. When it is over, a
fresh supervisor drains the queue, and the checker compares what everybody wrote down with what the queue
says.

    zygote     starts the processes, crew signals them, roles says what they are
    shop       their application; producing makes its calls, calling and observing write down what happens
    history    what was written down, rows and stores what the queue says, stories both, sorted by job
    checker    the rules, with counting and ordering

The seed decides whom each signal hits and what each program does; when that happens is up to the system.
"""

from __future__ import annotations

import random
import time
from collections import Counter
from dataclasses import dataclass, field
from typing import NamedTuple

from chaos.checker import check_history
from chaos.crew import Crew, CrewError, Target
from chaos.ground import drain, ground
from chaos.history import Refused, read_history
from chaos.proof import Proof
from chaos.stories import Case

__all__ = ["prove"]

KILLS_A_ROUND = 250
"""Each round has a file and a history of its own, so that a long storm eats neither memory nor disk."""
VISIBILITY = 1.0
"""Seconds that a lease lasts without renewal."""
PAUSE = 0.065
"""Seconds between two kills, on average."""
LONGEST_PAUSE = 0.15
WORK = 2_000
"""Bytes of history that workers write, by some four attempts, before the next is killed."""
SHARE_OF_STOPS = 0.25
"""How many signals of one suspend a process instead of killing one, while not too many are suspended."""
MOST_STOPPED = 4

TRIES = 5
UNBORN = 0.03
"""How often a worker may be hit before it is ready; its supervisor gives up after three in a row."""

BUSY = 0.7
"""How often one that is in the middle of a job or a call is chosen before others of its kind."""
STOPPED_TOO = 0.1
"""How often those who are suspended, and their supervisors, may be hit as well."""

CREW = (
    *("producer", "producer", "host", "supervisor", "supervisor", "pooling supervisor", "lone worker"),
    "veteran",
)
"""Who is there; whoever is killed is replaced by another one of its role.

The veteran is a supervisor that is seldom hit, because to take a lease over somebody has to live long enough
to see it run out twice.
"""


class Aim(NamedTuple):
    """Whom a signal is for: a process of this role, or one of its workers."""

    role: str
    to_kill: int
    to_stop: int
    """How often, beside the others."""
    worker: bool = False


AIMS = (
    Aim("producer", 22, 3),
    Aim("lone worker", 18, 5),
    Aim("host", 4, 1),
    Aim("supervisor", 5, 2),
    Aim("pooling supervisor", 5, 1),
    Aim("host", 5, 2, worker=True),
    Aim("supervisor", 30, 6, worker=True),
    Aim("pooling supervisor", 11, 3, worker=True),
    Aim("veteran", 1, 1),
    Aim("veteran", 5, 2, worker=True),
)


@dataclass
class Tally:
    """What a storm came to."""

    counts: Counter[str] = field(default_factory=Counter)
    problems: list[str] = field(default_factory=list)

    def add(self, case: Case) -> None:
        """Count what happened, and check it."""
        attempts = [attempt for story in case.stories.values() for attempt in story.attempts]
        repeats = sum(
            len(again) - 1
            for story in case.stories.values()
            if len(again := [attempt for attempt in story.attempts if attempt.effects]) > 1
        )
        self.counts.update(
            {
                "jobs": sum(story.was_stored for story in case.stories.values()),
                "attempts": len(attempts),
                "repeated effects, all explained": repeats,
                "leases superseded": len({attempt.began.holder for attempt in attempts if attempt.expelled}),
                "completions with their own row": len(case.contents.paid),
                "calls refused as busy": sum(isinstance(event, Refused) for event in case.history),
            }
        )
        self.problems += map(str, check_history(case))


class Storm:
    """One round on one file.

    Args:
        crew: the processes.
        seed: what decides whom each signal hits, and what the programs do.
    """

    def __init__(self, crew: Crew, seed: int) -> None:
        self.kills: Counter[str] = Counter()
        self.stops = 0
        self._crew = crew
        self._random = random.Random(seed)

    def rage(self, kills: int) -> None:
        """Kill so many processes, one after another, and suspend others meanwhile."""
        while self.kills.total() < kills:
            self._fill_places()
            self._pause()
            if self._random.random() < SHARE_OF_STOPS and self._crew.stopped < MOST_STOPPED:
                self._stop_one()
            else:
                self._kill_one()

    def _pause(self) -> None:
        """Wait for a moment; on a busy machine for longer, or nobody would get to do anything."""
        began = time.monotonic()
        wait = self._random.expovariate(1 / PAUSE)
        worked = self._crew.written() + WORK
        while (waited := time.monotonic() - began) < wait or (
            waited < LONGEST_PAUSE and self._crew.written() < worked
        ):
            self._crew.listen(max(0.005, min(0.02, wait - waited)))
            self._crew.resume_due()

    def calm(self) -> None:
        """Resume everybody, let them end, and let a fresh supervisor do what is left."""
        crew = self._crew
        crew.resume_due(everybody=True)
        crew.wait_until(lambda: not any(member.condemned for member in crew.members), "the killed do not die")
        for member in sorted(crew.members, key=lambda member: member.role != "producer"):
            crew.dismiss(member)
        supervisor = crew.start("large supervisor")
        drain(crew)
        crew.dismiss(supervisor)

    def _fill_places(self) -> None:
        present = Counter(member.role for member in self._crew.members if not member.condemned)
        for role, wanted in Counter(CREW).items():
            for _ in range(wanted - present[role]):
                self._crew.start(role, self._random.randrange(1_000_000))

    def _kill_one(self) -> None:
        target = self._target([aim.to_kill for aim in AIMS])
        if target is not None and self._crew.kill(target):
            self.kills[target.role] += 1

    def _stop_one(self) -> None:
        target = self._target([aim.to_stop for aim in AIMS])
        if target is not None:
            # Some shorter than a lease lasts, most of them long enough for others to take it over.
            self.stops += self._crew.stop(target, self._random.choice([0.3, 4.0, 4.0, 4.5]))

    def _target(self, weights: list[int]) -> Target | None:
        """Choose whom the next signal is for; None if nobody was there in some tries."""
        for aim in self._random.choices(AIMS, weights, k=TRIES):
            targets = self._targets(aim)
            if targets:
                # Mostly one of those that are in the middle of something.
                busy = [target for target in targets if self._crew.is_busy(target)]
                return self._random.choice(busy if busy and self._random.random() < BUSY else targets)
        return None

    def _targets(self, aim: Aim) -> list[Target]:
        members = [
            member for member in self._crew.members if member.role == aim.role and not member.condemned
        ]
        # Left alone for the most part, or none would wake up as one whose lease has passed to another.
        if self._random.random() >= STOPPED_TOO:
            members = [member for member in members if not self._crew.has_stopped(member)]
        if not aim.worker:
            return [member.target for member in members]
        workers = [worker for member in members for worker in self._crew.workers(member)]
        if self._random.random() < UNBORN:
            return workers
        return [worker for worker in workers if self._crew.has_recorded(worker)]


def _round(tally: Tally, transport: str, kills: int, seed: int) -> None:
    # Shorter or longer than anybody is suspended who may hold the write lock.
    busy_timeout = 2.0 if seed % 3 else 30.0
    environment = {
        "CHAOS_VISIBILITY": str(VISIBILITY),
        "CHAOS_BUSY": str(busy_timeout),
        "CHAOS_DURABILITY": "full" if seed % 2 else "normal",
    }
    if seed % 5 < 2:
        environment["CHAOS_KEY"] = "a key that is long enough for every signature"
    with ground(transport, **environment) as crew:
        storm = Storm(crew, seed)
        try:
            storm.rage(kills)
            storm.calm()
        except CrewError as error:
            tally.problems.append(str(error))
        crew.end()
        tally.counts.update({"kills": storm.kills.total(), "stops": storm.stops})
        history, contents = read_history(crew.folder), crew.store.contents()
        tally.add(Case(history, contents, visibility_timeout=VISIBILITY, busy_timeout=busy_timeout))


def _orderly_round(tally: Tally, transport: str, seed: int) -> None:
    """Let one worker do everything, and nobody be killed: then the order can be seen from outside."""
    with ground(transport, CHAOS_DURABILITY="normal") as crew:
        try:
            filler = crew.start("filler", seed)
            crew.wait_until(lambda: filler.status is not None, "the filler does not end")
            supervisor = crew.start("small supervisor")
            other = crew.start("filler", seed + 1)
            crew.wait_until(lambda: other.status is not None, "the filler does not end")
            drain(crew)
            crew.dismiss(supervisor)
        except CrewError as error:
            tally.problems.append(str(error))
        crew.end()
        case = Case(read_history(crew.folder), crew.store.contents(), orderly=True)
        tally.add(case)


def prove(size: int, seed: int, transport: str = "sqlite") -> Proof:
    """Kill so many processes, in rounds, and check after each."""
    tally = Tally()
    rounds = random.Random(seed)
    left = size
    while left > 0 and not tally.problems:
        kills = min(left, KILLS_A_ROUND)
        _round(tally, transport, kills, rounds.randrange(1_000_000))
        left -= kills
    if not tally.problems:
        _orderly_round(tally, transport, seed)
    return Proof("storm", seed, dict(tally.counts), tally.problems, transport)
