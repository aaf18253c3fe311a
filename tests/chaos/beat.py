"""The beat: many schedulers on one file are killed, suspended and restarted at random, and no tick suffers.

Beats, and supervisors with a worker that knows none of the tasks, share a file with schedules of one second.
Mostly the one that leads is hit. When it is over, the rows of the jobs are compared with the grid: each tick
of each schedule is there exactly once, and how late it was enqueued says what a handover costs.
"""

from __future__ import annotations

import random
import time
from collections import Counter
from collections.abc import Sequence
from typing import NamedTuple

from chaos.crew import Crew, CrewError, Member
from chaos.ground import ground
from chaos.proof import Proof
from liteq.calls.options import decode_options
from liteq.firing import Policy, encode_policy, first_run
from liteq.job import JobFilter, NewJob
from liteq.schedule import encode, every
from liteq.timetable import ScheduleRecord
from liteq.transport import Transport

__all__ = ["Row", "add_schedules", "judge", "prove", "read_rows"]

SCHEDULES = 20
PERIOD = 1.0
FEW = (*("beat",) * 3, "small supervisor")
MANY = ("small supervisor",) * 10
"""Who takes part in a short run, and in a long one."""
LONG = 60.0
"""Seconds from which a run is a long one."""
PAUSE = (0.8, 2.5)
"""Seconds between two signals."""
AT_THE_LEADER = 0.75
SHARE_OF_STOPS = 0.2
STOPPED_FOR = 2.5
HANDOVER = {"sqlite": 2.0, "redis": 3.0}
"""Seconds within which somebody else fires once the leader is dead: longer where no lock shows that it is."""


class Row(NamedTuple):
    """A job of a tick."""

    schedule: str
    tick: float
    enqueued: float


def judge(rows: list[Row], records: list[ScheduleRecord], until: float) -> list[str]:
    """Say which ticks are missing, doubled, or none of their schedule's.

    Args:
        rows: the jobs that are there.
        records: the schedules as the store has them, each begun at `created`.
        until: the time up to which each tick must be there.
    """
    problems = []
    for record in records:
        found = Counter(row.tick for row in rows if row.schedule == record.name)
        # Ticks are whole microseconds.
        wanted = {round((record.created + number * PERIOD) * 1e6) for number in range(1, record.runs + 1)}
        seen = {round(tick * 1e6) for tick in found}
        problems += [f"{record.name}: tick {tick} is there {n} times" for tick, n in found.items() if n > 1]
        problems += [f"{record.name}: tick {tick / 1e6} is missing" for tick in sorted(wanted - seen)]
        problems += [f"{record.name}: {tick / 1e6} is no tick" for tick in sorted(seen - wanted)]
        if record.next_run is None or record.next_run <= until:
            problems.append(f"{record.name}: stands still at {record.next_run}")
    return problems


def prove(size: int, seed: int, transport: str = "sqlite") -> Proof:
    """Let schedulers be killed for so many seconds, and compare the ticks with the grid."""
    chooser = random.Random(seed)
    problems: list[str] = []
    figures: dict[str, int | float | str] = {}
    # Longer than anybody is suspended who may hold the write lock.
    with ground(transport, CHAOS_DURABILITY="normal", CHAOS_BUSY="30") as crew:
        store = crew.store.open()
        try:
            add_schedules(store, time.time())
            season = _Season(crew, chooser, MANY if size >= LONG else FEW)
            season.run(size)
            until = time.time()
            _wait_for_ticks(crew, store, until)
            season.end()
            rows, records = read_rows(store), store.schedules()
            problems += judge(rows, records, until)
            handovers = [_handover(rows, killed) for killed in season.leaders_killed]
            late = [row.enqueued - row.tick for row in rows]
            if max(handovers, default=0.0) > HANDOVER[transport]:
                problems.append(f"a handover took {max(handovers):.2f} s")
            figures = {
                "ticks": len(rows),
                "kills": season.kills,
                "of them leaders": len(handovers),
                "suspended": season.stops,
                "longest handover": f"{max(handovers, default=0.0):.2f} s",
                "latest tick after": f"{max(late, default=0.0):.2f} s",
            }
        except CrewError as error:
            problems.append(str(error))
        finally:
            store.close()
    return Proof("beat", seed, figures, problems, transport)


class _Season:
    """Who is there, and what befalls them."""

    def __init__(self, crew: Crew, chooser: random.Random, roles: Sequence[str]) -> None:
        self.kills = self.stops = 0
        self.leaders_killed: list[float] = []
        self._crew = crew
        self._random = chooser
        self._roles = roles

    def run(self, seconds: float) -> None:
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            self._fill_places()
            self._wait(min(self._random.uniform(*PAUSE), max(0.0, end - time.monotonic())))
            self._strike()
        self._crew.resume_due(everybody=True)
        self._fill_places()

    def end(self) -> None:
        crew = self._crew
        crew.wait_until(lambda: not any(member.condemned for member in crew.members), "the killed do not die")
        for member in list(crew.members):
            crew.dismiss(member)

    def _wait(self, seconds: float) -> None:
        end = time.monotonic() + seconds
        while (left := end - time.monotonic()) > 0:
            self._crew.listen(min(0.02, left))
            self._crew.resume_due()

    def _fill_places(self) -> None:
        present = Counter(member.role for member in self._crew.members if not member.condemned)
        for role, wanted in Counter(self._roles).items():
            for _ in range(wanted - present[role]):
                self._crew.start(role)

    def _strike(self) -> None:
        members = [
            member
            for member in self._crew.members
            if not member.condemned and not self._crew.has_stopped(member)
        ]
        leading = self._crew.store.leader()
        leaders = [member for member in members if member.target.pid == leading]
        chosen = leaders if leaders and self._random.random() < AT_THE_LEADER else members
        if not chosen:
            return
        member = self._random.choice(chosen)
        if self._random.random() < SHARE_OF_STOPS:
            self.stops += self._crew.stop(member.target, STOPPED_FOR)
        elif self._crew.kill(member.target):
            self._note(member, leading)

    def _note(self, member: Member, leading: int | None) -> None:
        self.kills += 1
        # While another is suspended, it may be the one that leads next.
        if member.target.pid == leading and not self._crew.stopped:
            self.leaders_killed.append(time.time())


def add_schedules(transport: Transport, now: float) -> None:
    """Store the schedules as of a moment, with ticks at different fractions of the second."""
    records = []
    for number in range(SCHEDULES):
        begins = int(now) - 1 + number / SCHEDULES
        schedule = every(PERIOD, anchor=begins)
        first = first_run(schedule, Policy(), now)
        assert first is not None
        records.append(
            ScheduleRecord(
                name=f"schedule {number}",
                task="nobody knows this",
                spec=encode(schedule),
                policy=encode_policy(Policy()),
                job=NewJob("", "nobody knows this", b""),
                next_run=first,
                created=first - PERIOD,
            )
        )
    assert all(transport.save_schedules(records))


def _wait_for_ticks(crew: Crew, transport: Transport, until: float) -> None:
    def have_come() -> bool:
        next_run = transport.next_tick()
        return next_run is not None and next_run > until

    crew.wait_until(have_come, "the last ticks were not fired")


def read_rows(transport: Transport) -> list[Row]:
    """Return the jobs of all ticks."""
    rows = []
    for job in transport.find(JobFilter(limit=1_000_000)):
        headers = decode_options(job.options).headers
        rows.append(Row(headers["schedule"], headers["tick"], job.enqueued))
    return rows


def _handover(rows: list[Row], killed: float) -> float:
    """Return the seconds from a leader's death to the next tick that anybody fired."""
    return min((row.enqueued for row in rows if row.enqueued > killed), default=killed) - killed
