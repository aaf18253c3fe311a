"""A history sorted by what it is about: each job's story, and the ends of the processes that ran it."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, field

from chaos.history import (
    Began,
    Born,
    Called,
    Effect,
    Ended,
    Event,
    Expelled,
    JobSpec,
    Refused,
    Returned,
    RolledBack,
    Sent,
    evidence,
)
from chaos.rows import Contents, Row

__all__ = ["FAILURE", "LOST", "RETRY", "REVOKED", "SUCCESS", "Attempt", "Case", "Story"]

SUCCESS, FAILURE, REVOKED, RETRY = "SUCCESS", "FAILURE", "REVOKED", "RETRY"
LOST = "WorkerLostError"
"""The exception's type of a job that was given up because its workers died."""


@dataclass(slots=True)
class Attempt:
    """One run of a job by one worker.

    Attributes:
        began: its beginning.
        evidence: what it leaves as its result.
        effects: how often it did what cannot be undone.
        ended: its end, unless it was cut short.
        killed: when its process was killed, if it was.
        expelled: when its worker may have been expelled because its lease had run out, if it was.
    """

    began: Began
    evidence: str
    effects: int = 0
    ended: Ended | None = None
    killed: float | None = None
    expelled: float | None = None

    @property
    def claimed_after(self) -> float:
        """The earliest moment at which it may have been claimed."""
        return self.began.asked or self.began.token / 1e9

    @property
    def claimed(self) -> float:
        """When it had been claimed; in a file the token is the time of the claim."""
        return self.began.given or self.began.token / 1e9

    def was_cut_before(self, moment: float) -> bool:
        """Tell whether its worker was killed or expelled before that moment."""
        return any(cut is not None and cut <= moment for cut in (self.killed, self.expelled))

    @property
    def facts(self) -> str:
        """All of it in short."""
        end = "cut" if self.ended is None else self.ended.state
        cuts = [name for name in ("killed", "expelled") if getattr(self, name) is not None]
        return " ".join((self.began.who, f"a{self.began.attempt} t{self.began.token}", end, *cuts))

    def __str__(self) -> str:
        return f"attempt {self.began.attempt} of {self.began.tag} by {self.began.who}"


@dataclass(slots=True)
class Story:
    """All that is known about one job.

    Attributes:
        tag: which.
        spec: how it was asked for; None: nobody asked for it.
        call: the call that asked.
        answer: how that call ended; None: its process did not live to say so.
        row: what the file says.
        attempts: its runs, in the order in which they were claimed.
    """

    tag: str
    spec: JobSpec | None = None
    call: Called | None = None
    answer: Returned | Refused | RolledBack | None = None
    row: Row | None = None
    attempts: list[Attempt] = field(default_factory=list)

    @property
    def id(self) -> str | None:
        """Its id, where anybody has seen it."""
        if self.row is not None:
            return self.row.id
        if self.attempts:
            return self.attempts[0].began.id
        return None if self.spec is None else self.spec.id

    @property
    def last(self) -> Attempt | None:
        """The attempt under the newest lease."""
        return self.attempts[-1] if self.attempts else None

    @property
    def facts(self) -> str:
        """All of it in short, for whoever has to find out."""
        answer = "cut" if self.answer is None else type(self.answer).__name__
        row = self.row
        stored = "no row" if row is None else f"{row.state} a{row.attempts} r{row.retries} c{row.crashes}"
        runs = "; ".join(attempt.facts for attempt in self.attempts) or "never begun"
        return f"[{'not called' if self.call is None else f'called, {answer}'}; {stored}; {runs}]"

    @property
    def was_stored(self) -> bool:
        """Whether it has left a trace in the file, or with a worker."""
        return self.row is not None or bool(self.attempts)


class Case:
    """A history and a file, as the checker looks at them.

    Args:
        history: everything that happened, in order.
        contents: what the file says in the end.
        visibility_timeout: seconds that a lease lasted without renewal.
        busy_timeout: seconds that a call may wait for the write lock.
        orderly: one worker did everything, and nothing was killed.
        answers_get_lost: a call that raised may have been carried out, because the link to the store broke.
        outcomes_wait: seconds for which an outcome may wait to be stored; a job is done when it was decided.
    """

    def __init__(
        self,
        history: Sequence[Event],
        contents: Contents,
        *,
        visibility_timeout: float = 60.0,
        busy_timeout: float = 30.0,
        orderly: bool = False,
        answers_get_lost: bool = False,
        outcomes_wait: float = 0.0,
    ) -> None:
        self.history = history
        self.contents = contents
        self.visibility_timeout = visibility_timeout
        self.busy_timeout = busy_timeout
        self.orderly = orderly
        self.answers_get_lost = answers_get_lost
        self.outcomes_wait = outcomes_wait
        self.stories: dict[str, Story] = {}
        self.doubled: list[str] = []
        """Tags of which the file has more than one row."""
        self._killed = _deaths(history)
        self._expelled = _expulsions(history)
        self._add_calls()
        self._add_rows()
        self._add_attempts()
        self.by_id: dict[str, list[Story]] = defaultdict(list)
        for story in self.stories.values():
            if story.id is not None:
                self.by_id[story.id].append(story)
        self.cuts = sorted([*self._killed.values(), *self._expelled.values()])
        """When workers were killed or expelled."""

    def was_cut_between(self, begin: float, end: float) -> bool:
        """Tell whether any worker was killed or expelled in that time."""
        return any(begin <= cut <= end for cut in self.cuts)

    def _story(self, tag: str) -> Story:
        return self.stories.setdefault(tag, Story(tag))

    def _add_calls(self) -> None:
        calls: dict[tuple[str, str], Called] = {}
        for event in self.history:
            if isinstance(event, Called):
                calls[event.who, event.call] = event
                for spec in event.jobs:
                    story = self._story(spec.tag)
                    story.spec, story.call = spec, event
            elif isinstance(event, Returned | Refused | RolledBack):
                for spec in calls[event.who, event.call].jobs:
                    self._story(spec.tag).answer = event

    def _add_rows(self) -> None:
        for row in self.contents.rows:
            story = self._story(row.tag)
            if story.row is not None:
                self.doubled.append(row.tag)
            story.row = row

    def _add_attempts(self) -> None:
        pids = {event.who: event.pid for event in self.history if isinstance(event, Born)}
        running: dict[tuple[str, int, str], Attempt] = {}
        for event in self.history:
            if isinstance(event, Began):
                left = evidence(event.tag, event.attempt, pids.get(event.who, 0), event.token)
                attempt = Attempt(event, left)
                attempt.killed = self._killed.get(event.who)
                attempt.expelled = self._expelled.get(event.holder)
                running[event.who, event.token, event.tag] = attempt
                self._story(event.tag).attempts.append(attempt)
            elif isinstance(event, Effect | Ended):
                attempt = running[event.who, event.token, event.tag]
                if isinstance(event, Ended):
                    attempt.ended = event
                else:
                    attempt.effects += 1
        for story in self.stories.values():
            story.attempts.sort(key=lambda attempt: attempt.began.token)


def _deaths(history: Sequence[Event]) -> dict[str, float]:
    """Return which processes were killed and when: by a signal to them, or to the parent they die with."""
    born = [event for event in history if isinstance(event, Born)]
    parents = {event.who: _named(born, event.parent, event.mono) for event in born}
    killed: dict[str, float] = {}
    for event in history:
        if not isinstance(event, Sent) or event.signal != "KILL":
            continue
        victim = _named(born, event.pid, event.mono)
        if victim is not None:
            for who in (victim, *(child for child, parent in parents.items() if parent == victim)):
                killed.setdefault(who, event.at)
    return killed


def _named(born: Sequence[Born], pid: int, mono: float) -> str | None:
    """Return the name of the process that had this id at that moment."""
    found = [event.who for event in born if event.pid == pid and event.mono <= mono]
    return found[-1] if found else None


def _expulsions(history: Sequence[Event]) -> dict[int, float]:
    """Return which holders may have been expelled because their lease ran out, and when that began.

    One whose expulsion was begun by a process that did not live to tell the answer may have been.
    """
    asked: dict[tuple[str, int], float] = {}
    expelled: dict[int, float] = {}
    for event in history:
        if not isinstance(event, Expelled) or event.seen is None:
            continue
        if event.done is None:
            asked[event.who, event.holder] = event.at
        else:
            at = asked.pop((event.who, event.holder), event.at)
            if event.done:
                expelled.setdefault(event.holder, at)
    for (_, holder), at in asked.items():
        expelled[holder] = min(at, expelled.get(holder, at))
    return expelled
