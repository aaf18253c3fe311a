"""What must hold of every job, written down by an observer at the port who shares nothing with the store.

The ledger hears each verb after the store has answered. It says by itself what the answer had to be, and
looks into the store at each job that a verb concerns. What is wrong it collects and does not raise, because
the engine would take an exception for one of a task's.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Collection, Iterable, Sequence
from typing import Protocol

from chaos.simulation.jobs import FINISHED, GONE, LEASED, WAITING, Entry, How, Lease
from chaos.simulation.judging import facts, fits, misjudged
from chaos.simulation.tasks import KINDS
from liteq.job import Claim, ClaimRequest, Job, NewJob, Transition, Turn
from liteq.states import FAILURE, PENDING, REVOKED, STARTED, SUCCESS
from liteq.transport import EXPIRED, PURGED

__all__ = ["Ledger", "Trace"]


class Trace(Protocol):
    """Takes down what happens."""

    def __call__(self, what: str) -> str:
        """Add an event to the trace; return it as a report shows it."""


class Ledger:
    """All jobs of one store, and what has become of them.

    Args:
        peek: reads a job from the store, unseen.
        trace: takes down what happens.
        rights: says by which rights the acting process may end a lease.
    """

    def __init__(
        self,
        peek: Callable[[Sequence[str]], list[Job | None]],
        trace: Trace,
        rights: Callable[[Lease], Collection[How]],
    ) -> None:
        self._peek = peek
        self._trace = trace
        self._rights = rights
        self.entries: dict[str, Entry] = {}
        self.waiting: dict[str, Entry] = {}
        self.leased: dict[str, Entry] = {}
        self.leases: dict[tuple[int, int], Lease] = {}
        self.registered: set[int] = set()
        self.problems: list[str] = []
        self.counts: Counter[str] = Counter()
        self._stored = 0

    def complain(self, sentence: str, entry: Entry | None = None) -> None:
        """Take down that a promise was broken, with the last events of the job concerned."""
        told = "" if entry is None else "".join(f"\n    {line}" for line in entry.history)
        self.problems.append(f"{sentence}{told}")

    def tell(self, entry: Entry, what: str) -> None:
        """Take down what happened to a job."""
        entry.history.append(self._trace(f"{entry.new.id} {what}"))

    @property
    def unfinished(self) -> list[Entry]:
        """The jobs that wait or run."""
        return [*self.waiting.values(), *self.leased.values()]

    # ---- producing ---------------------------------------------------------------------------------

    def stored(
        self, jobs: Sequence[NewJob], answers: Sequence[bool], now: float, acts: Sequence[str]
    ) -> None:
        """Jobs were published; all of a call have the same acts."""
        for job, answer in zip(jobs, answers, strict=True):
            earlier = self.entries.get(job.id)
            is_free = earlier is None or earlier.station in (FINISHED, GONE)
            if answer is not is_free:
                self.complain(f"enqueue of {job.id} answered {answer}.", earlier)
            if not answer:
                continue
            self._stored += 1
            self.counts["jobs"] += 1
            due = now if job.eta is None else max(now, job.eta)
            entry = Entry(
                job, KINDS[job.task], acts, self._stored, due, due <= now, job.expires, job.ignore_result, now
            )
            self.entries[job.id] = self.waiting[job.id] = entry
            self.tell(
                entry, f"stored: {job.task}, priority {job.priority}, eta {job.eta}, expires {job.expires}"
            )
            self._compare(entry)

    # ---- working -----------------------------------------------------------------------------------

    def turned(
        self,
        holder: int,
        now: float,
        settlements: Sequence[Transition],
        request: ClaimRequest | None,
        turn: Turn,
    ) -> None:
        """A turn was made."""
        touched: list[Entry] = []
        refused = {(to.seq, to.token) for to in turn.refused}
        for to in settlements:
            lease = self.leases[to.seq, to.token]
            is_current = lease.entry.lease is lease
            if is_current is ((to.seq, to.token) in refused):
                verdict = (
                    "refused, and its lease is the current one" if is_current else "accepted, and it has none"
                )
                self.complain(f"A settlement of {to.id} by worker {lease.holder} was {verdict}.", lease.entry)
            if is_current:
                self._settled(lease, to, now)
                touched.append(lease.entry)
            else:
                self.counts["refused settlements"] += 1
                self.tell(lease.entry, f"settlement by worker {lease.holder} refused")
        for entry in [*self.waiting.values()]:
            if entry.expires is not None and entry.expires <= now:
                self._finish(entry, REVOKED, now, None, EXPIRED)
                touched.append(entry)
            elif entry.due <= now:
                entry.ready = True
        if request is not None:
            touched += self._claimed(holder, now, request, turn.claimed)
        for entry in touched:
            self._compare(entry)

    def _claimed(
        self, holder: int, now: float, request: ClaimRequest, claimed: Sequence[Claim]
    ) -> Iterable[Entry]:
        expected = self._expected(request) if holder in self.registered else []
        if [entry.id for entry in expected] != [claim.id for claim in claimed]:
            self.complain(
                f"Worker {holder} claimed {[claim.id for claim in claimed]}, and the next ones were "
                f"{[entry.id for entry in expected]}.",
                next((self.entries[claim.id] for claim in claimed), None) or next(iter(expected), None),
            )
            return []
        for entry, claim in zip(expected, claimed, strict=True):
            self._lease(entry, claim, holder, now)
        return expected

    def _expected(self, request: ClaimRequest) -> list[Entry]:
        """Return the jobs that a request takes, in order."""
        wanted = [
            entry
            for entry in self.waiting.values()
            if entry.ready
            and entry.new.task in request.tasks
            and (request.queues is None or entry.new.queue in request.queues)
        ]
        wanted.sort(key=lambda entry: (-entry.new.priority, entry.due, entry.order))
        spent = 0
        for taken, entry in enumerate(wanted):
            spent += request.tasks[entry.new.task]
            if taken >= request.limit or (taken and spent > request.budget):
                return wanted[:taken]
        return wanted

    def _lease(self, entry: Entry, claim: Claim, holder: int, now: float) -> None:
        self.counts["claims"] += 1
        if (claim.seq, claim.token) in self.leases:
            self.complain(f"{entry.id} was given out twice under token {claim.token}.", entry)
        if entry.expires is not None and entry.expires <= now:
            self.complain(f"{entry.id} was claimed at {now}, after it had expired.", entry)
        entry.attempts += 1
        facts = (claim.attempts, claim.retries, claim.crashes, claim.due, claim.max_crashes)
        if facts != (entry.attempts, entry.retries, entry.crashes, entry.due, entry.kind.max_crashes):
            self.complain(f"{entry.id} was claimed as {facts}, after {entry.attempts} claims.", entry)
        del self.waiting[entry.id]
        self.leased[entry.id] = entry
        entry.station, entry.state, entry.result, entry.reason = LEASED, STARTED, None, None
        entry.lease = self.leases[claim.seq, claim.token] = Lease(entry, claim, holder, entry.requeued)
        self.tell(
            entry, f"claimed by worker {holder} at {now}: attempt {entry.attempts}, token {claim.token}"
        )

    def began(self, lease: Lease, facts: tuple[str | None, int, int]) -> int:
        """A task begins under a lease, and sees these facts; return the number of this run."""
        entry = lease.entry
        self.counts["runs"] += 1
        lease.run = self.counts["runs"]
        self.tell(entry, f"begins in worker {lease.holder}: run {lease.run}")
        if facts != (entry.id, lease.claim.attempts, lease.claim.retries):
            self.complain(f"{entry.id} runs and sees itself as {facts}.", entry)
        if lease.requeued == entry.requeued:
            # What was taken away as begun will not run elsewhere, so it may still begin here.
            is_elsewhere = lease.ended not in (None, How.LOST_BEGUN)
            if entry.kind.max_crashes == 0 and (entry.unsettled or is_elsewhere):
                self.complain(f"{entry.id} must run at most once, and runs twice.", entry)
            if lease.ended is How.TAKEN:
                self.complain(f"{entry.id} was taken back from worker {lease.holder}, and runs there.", entry)
            entry.unsettled = True
        return lease.run

    def ran(self, lease: Lease, decided: Transition, now: float) -> None:
        """The executor has run a job and decided what the store is to record."""
        lease.outcome = decided
        entry, claim = lease.entry, lease.claim
        wrong = misjudged(entry, lease, decided, now)
        if wrong:
            act = entry.acts[min(claim.attempts, len(entry.acts)) - 1]
            self.complain(f"{entry.id} was to {act}, and {wrong}: {facts(decided)}.", entry)
        self.tell(entry, f"ran in worker {lease.holder}: {decided.state}, due {decided.due}")

    def _settled(self, lease: Lease, to: Transition, now: float) -> None:
        entry = lease.entry
        rights = self._rights(lease)
        how = next((how for how in rights if fits(how, lease, to, now)), None)
        if how is None:
            self.complain(
                f"{entry.id} may be settled as {[str(right) for right in rights]}, and was as {facts(to)}.",
                entry,
            )
            how = How.RETURNED
        self.counts["crashes charged"] += how is How.CHARGED
        self.tell(entry, f"{how}: {to.state}, due {to.due}, attempts {to.attempts}, crashes {to.crashes}")
        entry.attempts, entry.retries, entry.crashes = to.attempts, to.retries, to.crashes
        if how in (How.OUTCOME, How.LATE):
            entry.unsettled = False
        entry.lease, lease.ended = None, how
        del self.leased[entry.id]
        if to.due is None:
            self._finish(entry, to.state, to.at, to.result, to.reason)
            if not to.keep or (entry.ignored and to.state == SUCCESS):
                self._drop(entry)
        else:
            self._wait(entry, to.due, now)
            entry.state, entry.result, entry.reason = to.state, to.result, to.reason

    def reported(self, seq: int, token: int, state: str, result: bytes | None, answer: bool) -> None:
        """A job has set a state of its own."""
        lease = self.leases[seq, token]
        entry = lease.entry
        if answer is not (entry.lease is lease):
            self.complain(f"A state of {entry.id} by worker {lease.holder} was answered {answer}.", entry)
        if entry.lease is lease:
            entry.state, entry.result = state, result
            self._compare(entry)

    # ---- managing ----------------------------------------------------------------------------------

    def revoked(self, job_ids: Sequence[str], now: float, reason: str, answers: Sequence[bool]) -> None:
        """Jobs were revoked."""
        for job_id, answer in zip(job_ids, answers, strict=True):
            entry = self.entries.get(job_id)
            waits = entry is not None and entry.station == WAITING
            if answer is not waits:
                self.complain(f"revoke of {job_id} answered {answer}.", entry)
            if waits and entry is not None:
                self._finish(entry, REVOKED, now, None, reason)
                self._compare(entry)

    def purged(self, queues: Sequence[str] | None, now: float, answer: int) -> None:
        """Queue names were purged."""
        hit = [entry for entry in self.waiting.values() if queues is None or entry.new.queue in queues]
        if answer != len(hit):
            self.complain(f"purge of {queues} answered {answer} and not {len(hit)}.")
        for entry in hit:
            self._finish(entry, REVOKED, now, None, PURGED)
            self._compare(entry)

    def requeued(self, job_ids: Sequence[str], now: float, answers: Sequence[bool]) -> None:
        """Jobs were put back by somebody."""
        for job_id, answer in zip(job_ids, answers, strict=True):
            entry = self.entries.get(job_id)
            may = entry is not None and entry.station == FINISHED and entry.state in (FAILURE, REVOKED)
            if answer is not may:
                self.complain(f"requeue of {job_id} answered {answer}.", entry)
            if may and entry is not None:
                self.tell(entry, "requeued")
                entry.attempts = entry.retries = entry.crashes = 0
                entry.unsettled = False
                entry.requeued += 1
                if entry.expires is not None and entry.expires <= now:
                    entry.expires = None
                self._wait(entry, now, now)
                entry.state, entry.result, entry.reason, entry.done = PENDING, None, None, None
                self._compare(entry)

    def forgotten(self, job_id: str, answer: bool) -> None:
        """A job was forgotten."""
        entry = self.entries.get(job_id)
        if answer is not (entry is not None and entry.station != GONE):
            self.complain(f"forget of {job_id} answered {answer}.", entry)
        if entry is not None and entry.station != GONE:
            self.tell(entry, "forgotten")
            if entry.station == FINISHED:
                self._drop(entry)
            entry.ignored = True
            self._compare(entry)

    def swept(self, now: float, answer: int) -> None:
        """What is out of date was swept; it has to be less than the sweep's limit."""
        outdated = [
            entry
            for entry in self.entries.values()
            if entry.station == FINISHED
            and entry.kind.kept
            and entry.done is not None
            and entry.done + entry.kind.kept <= now
        ]
        expired = [
            entry for entry in self.waiting.values() if entry.expires is not None and entry.expires <= now
        ]
        if answer != len(outdated) + len(expired):
            self.complain(f"sweep at {now} answered {answer} and not {len(outdated)} + {len(expired)}.")
        for entry in outdated:
            self._drop(entry)
        for entry in expired:
            self._finish(entry, REVOKED, now, None, EXPIRED)
        for entry in (*outdated, *expired):
            self._compare(entry)

    # ---- the moves ---------------------------------------------------------------------------------

    def _wait(self, entry: Entry, due: float, now: float) -> None:
        entry.station, entry.due, entry.ready = WAITING, due, due <= now
        self.waiting[entry.id] = entry

    def _finish(self, entry: Entry, state: str, at: float, result: bytes | None, reason: str | None) -> None:
        self.waiting.pop(entry.id, None)
        entry.station, entry.state, entry.done = FINISHED, state, at
        entry.result, entry.reason = result, reason
        self.tell(entry, f"finished: {state} {reason or ''}")

    def _drop(self, entry: Entry) -> None:
        entry.station = GONE
        self.tell(entry, "its record is gone")

    # ---- looking into the store --------------------------------------------------------------------

    def _compare(self, entry: Entry) -> None:
        """Demand that the store has this very job as the ledger has it."""
        if self.entries[entry.id] is not entry:
            return
        [job] = self._peek([entry.id])
        if job is None or entry.station == GONE:
            if (job is None) is not (entry.station == GONE):
                self.complain(f"{entry.id} is {entry.station}, and the store says {job}.", entry)
            return
        is_finished = entry.station == FINISHED
        stored = (job.state, job.finished, job.attempts, job.retries, job.crashes, job.due, job.expires)
        expected = (
            *(
                entry.state,
                is_finished,
                entry.attempts,
                entry.retries,
                entry.crashes,
                entry.due,
                entry.expires,
            ),
        )
        holder = None if entry.lease is None else entry.lease.holder
        if stored != expected or (job.holder, job.result, job.reason) != (holder, entry.result, entry.reason):
            self.complain(
                f"{entry.id} is {(*expected, holder, entry.reason)}, and the store says "
                f"{(*stored, job.holder, job.reason)}.",
                entry,
            )

    def audit(self, all_ids: Collection[str]) -> None:
        """Compare every job with the store; `all_ids` are those that it lists."""
        present = [entry.id for entry in self.entries.values() if entry.station != GONE]
        for job_id in sorted({*present} ^ {*all_ids}):
            known = "lost" if job_id in present else "there, and should be gone"
            self.complain(f"{job_id} is {known}.", self.entries.get(job_id))
        for entry in self.entries.values():
            self._compare(entry)
