"""Everything at once, at random: programs are killed and suspended, cables pulled, the server killed."""

from __future__ import annotations

import random
import time
from collections import Counter

from chaos.crew import Crew, Target
from redis_server import RedisServer

from hosts.network import Network
from hosts.trial import Trial

__all__ = ["Tempest"]

PAUSE = 0.4
"""Seconds between two strikes, on average."""
STRIKES = {"kill": 60, "stop": 15, "pull": 12, "crash": 5}
"""How often each, beside the others."""
LONGEST = {"stop": 4.0, "pull": 4.0, "crash": 2.0}
"""Seconds that it lasts at most; leases last for one and a half, and calls wait for as long."""


class Tempest:
    """What befalls the hosts of a trial.

    Args:
        network: the hosts.
        server: what all of them use.
        trial: the programs; they have started.
        seed: what decides what happens to whom; when it happens is up to the system.
    """

    def __init__(self, network: Network, server: RedisServer, trial: Trial, seed: int) -> None:
        self.counts: Counter[str] = Counter()
        # Those who wait may be suspended meanwhile.
        trial.late += 2 * LONGEST["stop"]
        self._network = network
        self._server = server
        self._trial = trial
        self._random = random.Random(seed)
        self._cut: dict[str, float] = {}
        """When each of the cables is put back that are not in."""
        self._down_until: float | None = None

    def rage(self, seconds: float) -> None:
        """Strike for so many seconds, and then let everybody be reached again."""
        acts = {"kill": self._kill, "stop": self._stop, "pull": self._pull, "crash": self._crash}
        strikes, weights = list(STRIKES), list(STRIKES.values())
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            self._trial.go_on(self._random.expovariate(1 / PAUSE))
            self._mend()
            for name in self._trial.crews:
                self._trial.replace(name, self._random.randrange(1_000_000))
            [strike] = self._random.choices(strikes, weights)
            self.counts[strike] += acts[strike]()
        self._mend(everything=True)

    def _mend(self, everything: bool = False) -> None:
        now = time.monotonic()
        for name, until in list(self._cut.items()):
            if everything or until <= now:
                del self._cut[name]
                self._network[name].heal()
        if self._down_until is not None and (everything or self._down_until <= now):
            self._down_until = None
            self._server.start()
        for crew in self._trial.crews.values():
            crew.resume_due(everybody=everything)

    def _lasts(self, strike: str) -> float:
        return time.monotonic() + self._random.uniform(0.2, LONGEST[strike])

    def _target(self) -> tuple[Crew, Target]:
        """Choose a program, or one of its workers that is ready."""
        crew = self._random.choice(list(self._trial.crews.values()))
        members = [member for member in crew.members if not member.condemned]
        workers = [one for member in members for one in crew.workers(member) if crew.has_recorded(one)]
        return crew, self._random.choice([*(member.target for member in members), *workers, *workers])

    def _kill(self) -> bool:
        crew, target = self._target()
        return crew.kill(target)

    def _stop(self) -> bool:
        crew, target = self._target()
        return crew.stop(target, self._random.uniform(0.2, LONGEST["stop"]))

    def _pull(self) -> bool:
        name = self._random.choice(list(self._network.hosts))
        if name in self._cut:
            return False
        self._cut[name] = self._lasts("pull")
        self._network[name].cut()
        return True

    def _crash(self) -> bool:
        if self._down_until is not None:
            return False
        self._down_until = self._lasts("crash")
        self._server.kill()
        return True
