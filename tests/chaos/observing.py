"""Writes down what a worker and its supervisor do, where they do it.

Importing this changes nothing; `observe` wraps a few of liteq's own methods in the process that calls it.
What they do stays as it is.
"""

from __future__ import annotations

import os
import signal
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import wraps

from chaos.history import Began, Effect, Ended, Expelled, Recorder, Registered, Sent, evidence
from chaos.stores import LEADER
from liteq.codec import decode_call, get_codec
from liteq.job import Claim, ClaimRequest, Transition, Turn, WorkerInfo
from liteq.transport import Transport
from liteq.worker.executor import Executor

__all__ = ["Running", "observe"]

MOST_TURNS = 10_000


class _Attempt(threading.local):
    """What a thread runs now."""

    tag = ""
    claim: Claim | None = None


class Running:
    """The attempt that this thread runs now; there is one worker in a process.

    Args:
        recorder: where the history of this process goes.
    """

    def __init__(self, recorder: Recorder) -> None:
        self.recorder = recorder
        self.holder = 0
        self.turns: dict[tuple[int, int], tuple[float, float]] = {}
        """By number and token, when the last leases were asked for and given."""
        self._attempt = _Attempt()

    @property
    def evidence(self) -> str:
        """What the attempt is to leave as its result."""
        claim = self._must()
        return evidence(self._attempt.tag, claim.attempts, os.getpid(), claim.token)

    @property
    def token(self) -> int:
        """The token of its lease."""
        return self._must().token

    def has_effect(self) -> None:
        """Note that the attempt has done what cannot be undone."""
        self.recorder.write(Effect(tag=self._attempt.tag, token=self.token))

    def dies(self) -> None:
        """Kill this process, and say so first."""
        # The history tells of the signal before it is sent, because nobody is there to do so afterwards.
        now, mono = time.time(), time.monotonic()
        self.recorder.write(Sent(at=now, mono=mono, pid=os.getpid(), signal="KILL", role="itself"))
        os.kill(os.getpid(), signal.SIGKILL)

    def begins(self, claim: Claim) -> None:
        """Note that an attempt begins."""
        args, _ = decode_call(get_codec(claim.codec), claim.payload)
        self._attempt.tag, self._attempt.claim = str(args[0]), claim
        asked, given = self.turns.get((claim.seq, claim.token), (0.0, 0.0))
        self.recorder.write(
            Began(
                tag=self._attempt.tag,
                id=claim.id,
                token=claim.token,
                holder=self.holder,
                attempt=claim.attempts,
                retries=claim.retries,
                crashes=claim.crashes,
                asked=asked,
                given=given,
            )
        )

    def ends(self, decided: Transition | None) -> None:
        """Note what the worker has decided about the job; None: it has settled itself."""
        state = "SUCCESS" if decided is None else str(decided.state)
        self.recorder.write(Ended(tag=self._attempt.tag, token=self.token, state=state))
        self._attempt.claim = None

    def _must(self) -> Claim:
        assert self._attempt.claim is not None, "no job runs in this thread"
        return self._attempt.claim


def observe(running: Running, transport: type[Transport]) -> None:
    """Write down the attempts of this process, its registrations, and the workers that it expels."""
    recorder = running.recorder
    if not transport.__module__.startswith("liteq.transports.sqlite"):
        _observe_turns(running, transport)
        _observe_leaders(recorder, transport)
    run, register, expel = Executor.run, transport.register, transport.expel

    @wraps(run)
    def observed_run(self: Executor, job: Claim) -> Transition | None:
        running.begins(job)
        decided = run(self, job)
        running.ends(decided)
        return decided

    @wraps(register)
    def observed_register(self: Transport, worker: WorkerInfo, visibility_timeout: float, now: float) -> int:
        running.holder = register(self, worker, visibility_timeout, now)
        recorder.write(Registered(holder=running.holder))
        return running.holder

    @wraps(expel)
    def observed_expel(self: Transport, holder: int, seen_expires: float | None) -> bool:
        recorder.write(Expelled(holder=holder, seen=seen_expires))
        done = expel(self, holder, seen_expires)
        recorder.write(Expelled(holder=holder, seen=seen_expires, done=done))
        return done

    Executor.run = observed_run  # type: ignore[method-assign]
    transport.register = observed_register  # type: ignore[method-assign]
    transport.expel = observed_expel  # type: ignore[method-assign]


def _observe_turns(running: Running, transport: type[Transport]) -> None:
    """Take down when jobs are claimed, where their tokens do not say it."""
    turn = transport.turn

    @wraps(turn)
    def observed_turn(
        self: Transport,
        holder: int,
        now: float,
        settlements: Sequence[Transition] = (),
        request: ClaimRequest | None = None,
    ) -> Turn:
        asked = time.time()
        brought = turn(self, holder, now, settlements, request)
        given = time.time()
        while len(running.turns) > MOST_TURNS:
            del running.turns[next(iter(running.turns))]
        running.turns |= {(claim.seq, claim.token): (asked, given) for claim in brought.claimed}
        return brought

    transport.turn = observed_turn  # type: ignore[method-assign]


def _observe_leaders(recorder: Recorder, transport: type[Transport]) -> None:
    """Say in a file who leads the schedulers, where no lock of the system says it."""
    lead = transport.lead

    @contextmanager
    @wraps(lead)
    def observed_lead(self: Transport, office: str = "upkeep") -> Iterator[bool]:
        with lead(self, office) as leads:
            if leads and office == "scheduler":
                fresh = recorder.folder / f"{LEADER}.{os.getpid()}"
                fresh.write_text(str(os.getpid()))
                fresh.replace(recorder.folder / LEADER)
            yield leads

    transport.lead = observed_lead  # type: ignore[method-assign]
