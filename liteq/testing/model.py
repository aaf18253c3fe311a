"""A state machine that drives a transport beside the memory one and demands the same answers.

Hypothesis draws sequences of calls; after each, both are asked about everything that can be read. What
may differ is left out: the numbers that a transport gives to jobs, leases and workers.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import NamedTuple, Protocol

from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from liteq.job import Claim, ClaimRequest, Job, JobFilter, NewJob, Transition, WorkerInfo, WorkerRecord
from liteq.lifecycle import Lost, Outcome, decide
from liteq.states import FAILURE, PENDING, RETRY, REVOKED, STARTED, SUCCESS
from liteq.testing.strategies import (
    JOB_IDS,
    START,
    VISIBILITY,
    acts,
    blobs,
    everything,
    offsets,
    pauses,
    picks,
    requests,
    rounds,
    settlements,
    some_ids,
    some_jobs,
    some_queues,
)
from liteq.transport import Transport
from liteq.transports.memory import MemoryTransport

__all__ = ["Store", "TransportMachine", "transport_machine"]

REQUESTS = (everything, ClaimRequest({"add": 1}), everything._replace(queues=["x"]))


class Store(Protocol):
    """Where the transport under test keeps its jobs; the machine makes a fresh one for each run."""

    def open(self) -> Transport:
        """Open one more handle on this store."""

    def dispose(self) -> None:
        """Remove the store; all its handles are closed."""


class _Lease(NamedTuple):
    """One lease, as each side knows it; it may have ended long ago."""

    model: Claim
    real: Claim


class _Holder(NamedTuple):
    """One worker, by each side's number."""

    model: int
    real: int


class TransportMachine(RuleBasedStateMachine):
    """Calls both transports alike; `make_store` is what a subclass from `transport_machine` sets."""

    make_store: Callable[[], Store]

    def __init__(self) -> None:
        super().__init__()
        self.store = type(self).make_store()
        self.real = self.store.open()
        self.handles = [self.real]
        self.model = MemoryTransport()
        self.now = START
        self.holders: list[_Holder] = []
        self.claims: list[_Lease] = []
        self.tokens: set[tuple[int, int]] = set()
        self.asked = 0

    def teardown(self) -> None:
        """Close and remove what the run has made."""
        for handle in self.handles:
            handle.close()
        self.store.dispose()

    # ---- producing -------------------------------------------------------------------------------

    @rule(jobs=some_jobs)
    def enqueue(self, jobs: list[NewJob]) -> None:
        """Store jobs, some under ids that are in use or twice in the call."""
        jobs = [job._replace(eta=self._later(job.eta), expires=self._later(job.expires)) for job in jobs]
        _same("enqueue", self.model.enqueue(jobs, self.now), self.real.enqueue(jobs, self.now))

    def _later(self, offset: float | None) -> float | None:
        return None if offset is None else self.now + offset

    # ---- working ---------------------------------------------------------------------------------

    @initialize()
    def first_worker(self) -> None:
        """Begin with a worker, so that most runs claim something."""
        self.register(2.0)

    @rule(share=st.sampled_from([0.5, 1.0, 2.0]))
    def register(self, share: float) -> None:
        """Add a worker."""
        info = WorkerInfo(f"worker {len(self.holders)}", "host", 100, 99, ("x",) if share == 1.0 else None)
        timeout = VISIBILITY * share
        holders = (transport.register(info, timeout, self.now) for transport in (self.model, self.real))
        self.holders.append(_Holder(*holders))

    @rule(pick=picks, settled=settlements, request=st.none() | requests)
    def turn(self, pick: int, settled: list[tuple[int, Outcome]], request: ClaimRequest | None) -> None:
        """Settle what was claimed at some time, stale or not, and claim what is next."""
        holder = self._worker(pick)
        decided = self._decide(settled)
        model = self.model.turn(holder.model, self.now, [to for to, _ in decided], request)
        real = self.real.turn(holder.real, self.now, [to for _, to in decided], request)
        expected = [to for to in decided if to[0] in model.refused]
        _same("refused settlements", sorted(to for _, to in expected), sorted(real.refused))
        self._remember(model.claimed, real.claimed)

    @rule(jobs=some_jobs, pick=picks, request=st.just(everything) | requests)
    def claim(self, jobs: list[NewJob], pick: int, request: ClaimRequest) -> None:
        """Store jobs that are ready at once, and claim."""
        self.enqueue([job._replace(eta=None, expires=None) for job in jobs])
        self.turn(pick, [], request)

    @rule(
        jobs=some_jobs,
        pick=picks,
        request=st.just(everything) | requests,
        rounds=rounds,
        last=st.sampled_from([0, 0, 2, 5]),
        pause=pauses,
        act=st.none() | acts,
    )
    def work(
        self,
        jobs: list[NewJob],
        pick: int,
        request: ClaimRequest,
        rounds: list[list[Outcome]],
        last: int,
        pause: float,
        act: str | None,
    ) -> None:
        """Store jobs, and again and again claim some and settle the last ones; then manage these jobs.

        With `last`, those that were claimed before that many others, whose leases may have passed on.
        """
        self.enqueue(jobs)
        for ends in rounds:
            self.turn(pick, [], request)
            self.turn(pick, list(enumerate(ends, last)), None)
            self.now += pause
        if act is not None:
            self.manage([job.id for job in jobs], act)

    @precondition(lambda self: self.claims)
    @rule(
        pick=picks,
        state=st.sampled_from([SUCCESS, FAILURE, RETRY, PENDING, "PROGRESS"]),
        due=st.none() | offsets,
        counts=st.tuples(*[st.integers(0, 3)] * 3),
        keep=st.booleans(),
    )
    def settle_anyhow(
        self, pick: int, state: str, due: float | None, counts: tuple[int, int, int], keep: bool
    ) -> None:
        """Settle with values that no decision would give; a transport stores what it is told."""
        lease = self._lease(pick)
        to = Transition(0, 0, str(state), self.now - 1, self._later(due), *counts, b"r", "reason", keep)
        refused = [
            transport.settle(0, [to._replace(seq=claim.seq, token=claim.token, id=claim.id)], self.now)
            for transport, claim in ((self.model, lease.model), (self.real, lease.real))
        ]
        _same("refused settlements", len(refused[0]), len(refused[1]))

    @precondition(lambda self: self.claims)
    @rule(pick=picks, state=st.sampled_from(["PROGRESS", FAILURE]), result=st.none() | blobs)
    def update_state(self, pick: int, state: str, result: bytes | None) -> None:
        """Report progress under some lease, stale or not."""
        model, real = self._lease(pick)
        expected = self.model.update_state(model.seq, model.token, str(state), result)
        _same("update_state", expected, self.real.update_state(real.seq, real.token, str(state), result))

    def _lease(self, pick: int) -> _Lease:
        """Return one of the leases there were; small picks mean late ones, which may be alive."""
        return self.claims[-1 - pick % len(self.claims)]

    def _worker(self, pick: int) -> _Holder:
        """Return a registered worker in most cases, if there is one."""
        registered = [holder for holder in self.holders if self.model.is_registered(holder.model)]
        among = registered if registered and pick < 14 else self.holders
        return among[pick % len(among)]

    def _decide(self, settled: Iterable[tuple[int, Outcome]]) -> list[tuple[Transition, Transition]]:
        if not self.claims:
            return []
        # A worker settles each of its leases once in a turn.
        chosen = {self._lease(pick): outcome for pick, outcome in settled}
        return [
            (decide(model, outcome, self.now, lambda: 0.6), decide(real, outcome, self.now, lambda: 0.6))
            for (model, real), outcome in chosen.items()
        ]

    def _remember(self, model: Sequence[Claim], real: Sequence[Claim]) -> None:
        _same("claimed", [_plain_claim(claim) for claim in model], [_plain_claim(claim) for claim in real])
        for lease in map(_Lease, model, real):
            key = (lease.real.seq, lease.real.token)
            assert key not in self.tokens, (
                f"two leases of job {lease.real.id} share the token {lease.real.token}"
            )
            self.tokens.add(key)
            self.claims.append(lease)

    # ---- workers ---------------------------------------------------------------------------------

    @rule(picked=st.lists(picks, min_size=1, max_size=3))
    def renew(self, picked: list[int]) -> None:
        """Renew some workers, registered or not."""
        chosen = {self.holders[pick % len(self.holders)] for pick in picked}
        self.model.renew([holder.model for holder in chosen], VISIBILITY, self.now)
        self.real.renew([holder.real for holder in chosen], VISIBILITY, self.now)

    @rule(pick=picks, seen=st.none() | st.sampled_from([0.0, -1.0]), recover=st.booleans())
    def expel(self, pick: int, seen: float | None, recover: bool) -> None:
        """Expel a worker, having seen its expiry rightly or wrongly, and perhaps take its leases."""
        holder = self.holders[pick % len(self.holders)]
        expiries = {record.holder: record.expires for record in self.model.workers()}
        expires = None if seen is None else expiries.get(holder.model, self.now) + seen
        _same("expel", self.model.expel(holder.model, expires), self.real.expel(holder.real, expires))
        if recover:
            for transport, number in ((self.model, holder.model), (self.real, holder.real)):
                lost = Lost(pick % 2 == 0, b"gone", "its worker is gone")
                freed = [decide(claim, lost, self.now, lambda: 0.6) for claim in transport.leases(number)]
                _same("refused recoveries", [], transport.settle(0, freed, self.now))
                transport.unregister(number)

    @precondition(lambda self: self.real.crosses_processes)
    @rule(close=st.booleans())
    def reopen(self, close: bool) -> None:
        """Go on through another handle; with `close`, once no handle and no worker is left."""
        if close:
            for holder in self.holders:
                self.model.expel(holder.model, None)
                self.real.expel(holder.real, None)
            while self.handles:
                self.handles.pop().close()
        self.real = self.store.open()
        self.handles.append(self.real)
        self.register(1.0)

    # ---- managing and time -----------------------------------------------------------------------

    @rule(seconds=st.sampled_from([0.25, 1.0, 5.0, 10.0, 45.0, 100_000.0, -3.0, -3600.0]))
    def pass_time(self, seconds: float) -> None:
        """Let time pass, or set the clock back."""
        self.now += seconds

    @rule(job_ids=some_ids, act=acts)
    def manage(self, job_ids: list[str], act: str) -> None:
        """Revoke, put back or forget some jobs, whatever they are doing, there or not."""
        calls: dict[str, Callable[[Transport], list[bool]]] = {
            "revoke": lambda transport: transport.revoke(job_ids, self.now, "not wanted"),
            "requeue": lambda transport: transport.requeue(job_ids, self.now),
            "forget": lambda transport: [transport.forget(job_id) for job_id in job_ids],
        }
        _same(act, calls[act](self.model), calls[act](self.real))

    @rule(queues=some_queues)
    def purge_or_sweep(self, queues: list[str] | None) -> None:
        """Purge some queues, or expire what is out of date."""
        if queues is None:
            _same("sweep", self.model.sweep(self.now), self.real.sweep(self.now))
        else:
            _same("purge", self.model.purge(queues, self.now), self.real.purge(queues, self.now))

    # ---- demands ---------------------------------------------------------------------------------

    @invariant()
    def jobs_are_the_same(self) -> None:
        """Compare every job, and how many there are of each kind."""
        model, real = ([*transport.find(JobFilter())] for transport in (self.model, self.real))
        expected = [self._plain_job(job, "model") for job in model]
        _same("jobs", expected, [self._plain_job(job, "real") for job in real])
        _same("count", sorted(self.model.count()), sorted(self.real.count()))

    @invariant()
    def answers_are_the_same(self) -> None:
        """Compare one of the other questions about jobs; what differs is asked about soon enough."""
        self.asked += 1
        number = self.asked % 7
        if number < 3:
            request = REQUESTS[number]
            _same(f"next_due {request}", self.model.next_due(request), self.real.next_due(request))
            _same("next_sweep", self.model.next_sweep(), self.real.next_sweep())
        elif number < 6:
            which = (
                JobFilter(states=[SUCCESS, REVOKED, STARTED], limit=2),
                JobFilter(tasks=["add", "mul"], queues=["x", "default"]),
                JobFilter(done_since=self.now - 5),
            )[number - 3]
            model, real = ([job.id for job in one.find(which)] for one in (self.model, self.real))
            _same(f"find {which}", model, real)
        else:
            expected = [self._plain_job(job, "model") for job in self.model.get(JOB_IDS)]
            _same("get", expected, [self._plain_job(job, "real") for job in self.real.get(JOB_IDS)])

    @invariant()
    def workers_are_the_same(self) -> None:
        """Compare workers and their leases."""
        model = [self._plain_worker(record, "model") for record in self.model.workers()]
        real = [self._plain_worker(record, "real") for record in self.real.workers()]
        _same("workers", sorted(model), sorted(real))
        for holder in self.holders:
            expected = self.model.is_registered(holder.model)
            _same("is_registered", expected, self.real.is_registered(holder.real))
            leases = (self.model.leases(holder.model), self.real.leases(holder.real))
            expected_leases, real_leases = ([_plain_claim(claim) for claim in claims] for claims in leases)
            _same("leases", expected_leases, real_leases)

    def _place(self, holder: int, side: str) -> int:
        """Return which of our workers a side's holder number means."""
        return [getattr(pair, side) for pair in self.holders].index(holder)

    def _plain_job(self, job: Job | None, side: str) -> Job | None:
        if job is None:
            return None
        holder = None if job.holder is None else self._place(job.holder, side)
        return job._replace(seq=0, holder=holder)

    def _plain_worker(self, record: WorkerRecord, side: str) -> tuple[object, ...]:
        """Return what has to agree; of those who are gone, only that they hold leases."""
        registered = record.alive is not False
        times = (record.started, record.expires, record.visibility_timeout)
        about = (repr(record.info), *times) if registered else ()
        return (self._place(record.holder, side), record.leases, registered, about)


def _plain_claim(claim: Claim) -> Claim:
    return claim._replace(seq=0, token=0)


def _same(what: str, model: object, real: object) -> None:
    assert real == model, f"{what}: the model says {model!r}, the transport {real!r}"


def transport_machine(make_store: Callable[[], Store]) -> type[TransportMachine]:
    """Return a state machine class for the transport that these stores open.

    Its `TestCase` attribute is what pytest collects, with `settings` of its own::

        TestMyTransport = transport_machine(MyStore).TestCase
        TestMyTransport.settings = settings(max_examples=50, stateful_step_count=30, deadline=None)

    Args:
        make_store: makes a fresh, empty store for each run.
    """
    return type("TransportMachine", (TransportMachine,), {"make_store": staticmethod(make_store)})
