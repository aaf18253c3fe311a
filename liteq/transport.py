"""The port: what a transport must do, in prose; every transport passes `liteq.testing.TransportContract`.

A transport stores jobs and hands them out under leases. It decides nothing: what a job becomes is
decided by `liteq.lifecycle` and arrives here as a `Transition`. It has no clock: callers pass `now`
(UTC seconds since the epoch). Each verb is atomic, and durable when it returns as far as the
transport promises.

**A job's stations.** *ready* (claimable), *delayed* (claimable once `due` has come), *leased* (held by
a worker) and *finished*. Ready and delayed jobs are *waiting*. A finished job is kept until
`result_expires` seconds after it finished. A job changes its station only in a verb: one whose `due` or
`expires` has passed stays where it is until the next turn or sweep moves it. A moment has come when
`now` is equal to it or later.

**Order.** Within a queue name, ready jobs are claimed by priority (higher first), then by `due` (when
they became ready), then by the order in which they were stored. Over several queue names the order is
the same, as if they were one. `due` of a new job is its `eta`, or now where that is later; a job that is
handed back keeps the `due` that its settlement says; an id that is published again is stored anew, last.

**Leases.** A lease is a holder (a registered worker), a token that no other lease of that job ever
had, and an expiry that belongs to the holder: renewing a worker renews every lease it holds. A job
leaves a lease only by a settlement that matches `seq` **and** `token`; any other is refused and
changes nothing. A worker that is not registered (any more) can neither claim nor renew, but its
settlements still count as long as nobody else has taken the jobs. Whoever has the token may settle.

**Records.** A claim sets `started`, and clears the `result` and `reason` of the attempt before; a settlement
stores both as it says. A job that is revoked, purged or expired ends with state REVOKED, no result, a
reason, and its counts as they were. Only a leased job has a `holder`.

**Threads.** A transport may be used from any number of threads.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable, Collection, Iterable, Sequence
from contextlib import AbstractContextManager
from typing import Protocol, Self

from liteq.errors import NotSupportedError
from liteq.job import (
    Claim,
    ClaimRequest,
    Finding,
    Job,
    JobFilter,
    LaneCount,
    NewJob,
    Running,
    TaskOrigin,
    Transition,
    Turn,
    WorkerInfo,
    WorkerRecord,
)
from liteq.move_store import MoveStore
from liteq.remote_store import RemoteStore
from liteq.schedule_store import ScheduleStore

__all__ = ["EXPIRED", "PURGED", "Listener", "RunningSlot", "Transport"]

EXPIRED = "expired before it ran"
"""The reason of a job that became REVOKED because its `expires` came."""

PURGED = "purged"
"""The reason of a job that became REVOKED by `purge`."""


class Listener(Protocol):
    """Somebody who sleeps until a doorbell rings; used by one thread at a time.

    The order is: `arm()`, look at the store once more, `wait()`. A ring between `arm` and `wait` is not
    lost. A ring may be spurious, and one that is lost costs latency only: nobody may wait for longer
    than a second without looking again.
    """

    def arm(self) -> None:
        """Ask to be rung from now on."""

    def wait(self, timeout: float) -> bool:
        """Sleep until rung or for `timeout` seconds; tell whether it rang. Disarms."""

    def ring(self) -> None:
        """Wake this listener; callable from any thread of its process."""

    def attend(self, interests: int, seconds: float) -> None:
        """Say that its owner takes what comes of these interests, and comes back within so many seconds."""

    def is_attended(self, interests: int) -> bool:
        """Tell whether somebody before it says so, and keeps to it; cheap, and may err for a moment.

        Listeners stand in some order, so that of two that attend to the same only one is told so.
        """

    def close(self) -> None:
        """Give up the place; idempotent."""


class RunningSlot(Protocol):
    """Where a worker publishes what it runs, without a write to the store.

    It can be read by others while the worker is busy, stopped or dead.
    """

    def begin(self, seq: int, token: int, deadline: float | None, place: int = 0) -> None:
        """Publish that this job starts now, and the monotonic time at which it is to be killed, if any."""

    def clear(self, place: int | None = None) -> None:
        """Publish that nothing runs in that place; in none, without one."""

    def close(self) -> None:
        """Give up the slot; idempotent."""


class Transport(ScheduleStore, MoveStore, RemoteStore):
    """Stores jobs and hands them out under leases; see the module's text, and those of its bases."""

    url: str
    """What `liteq.Queue` was given, made absolute."""

    crosses_processes: bool
    """Whether another process can open the same store."""

    # ---- producing -------------------------------------------------------------------------------

    @abstractmethod
    def declare(self, origin: TaskOrigin) -> None:
        """Remember where a task lives; stored with the next job or schedule of that task. No I/O."""

    @abstractmethod
    def enqueue(self, jobs: Sequence[NewJob], now: float) -> list[bool]:
        """Store jobs in one transaction, all or none, and wake workers after the commit.

        For each job, True if it was stored; False if an unfinished job has its id already, and then
        nothing of it is stored; the second of one id in the same call is such a case. A finished job of
        that id gives way to the new one. A job that has expired already is stored, and ends REVOKED at
        the next turn or sweep.
        """

    # ---- working ---------------------------------------------------------------------------------

    @abstractmethod
    def register(self, worker: WorkerInfo, visibility_timeout: float, now: float) -> int:
        """Add a worker and return its holder number, which is never used again.

        The calling process (for memory: the transport object) is the one whose life counts.
        """

    @abstractmethod
    def unregister(self, holder: int) -> None:
        """Remove a worker that holds no lease any more; its leases, if any, are left for recovery.

        Does nothing if the holder is not registered.
        """

    @abstractmethod
    def turn(
        self,
        holder: int,
        now: float,
        settlements: Sequence[Transition] = (),
        request: ClaimRequest | None = None,
    ) -> Turn:
        """Settle what is finished and claim what is next, in one transaction.

        Settlements come first, at most one for each lease. Those that the lease refuses are returned and
        the others stored. One with a `due` makes the job wait again, ready if `due` has come, else
        delayed; one without finishes it, at its `at`. It leaves no record if it says so, or if it is a
        SUCCESS of a job whose result is to be ignored (which `forget` may have asked since the claim).
        Then delayed jobs that are due become ready, waiting jobs that have expired become REVOKED, and, if
        there is a request and the holder is registered, jobs are claimed: state STARTED, attempts + 1,
        a new token. The waiting jobs that the request names are taken in their order until one does not
        fit into the budget (the first always does) or the limit is reached; none is skipped. Where payloads
        are large, a transport may bring fewer.
        A turn with a request renews the holder's leases, by the visibility timeout it registered with, when
        more than a third of their time has passed (that all of it has is no obstacle), or when they would
        end later than if they were renewed now, because the clock was set back.
        A worker that is not registered claims nothing (`is_registered` tells).
        A store that has run out of room may settle and claim nothing; with nothing to settle it then raises
        StoreFullError.
        Waiters are woken after the commit.
        """

    @abstractmethod
    def is_registered(self, holder: int) -> bool:
        """Tell whether the holder may claim and renew."""

    @abstractmethod
    def update_state(self, seq: int, token: int, state: str, result: bytes | None) -> bool:
        """Store a running job's own state and its encoded meta; False if the lease is superseded.

        The job stays leased, and may be settled as before.
        """

    @abstractmethod
    def renew(self, holders: Collection[int], visibility_timeout: float, now: float) -> None:
        """Renew the leases of those holders that have any; writes nothing when none has.

        Their expiry becomes `now + visibility_timeout`. Holders without leases, or not registered, are left
        as they are.
        """

    @abstractmethod
    def next_due(self, request: ClaimRequest) -> float | None:
        """Return when something that the request would take is next claimable.

        0.0 if something that it would take is ready, else the earliest `due` of all the store's delayed
        jobs (of any lane), None if there are none. Reads only.
        """

    @abstractmethod
    def slot(self, holder: int, places: int = 1) -> RunningSlot:
        """Open the slot where this holder, in this process, publishes what it runs, so many jobs at once."""

    @abstractmethod
    def running(self, holder: int) -> Running | None:
        """Read what a holder has published in its slot; None if nothing runs there.

        Of several jobs the one with the earliest deadline comes first, and the others are `beside` it.
        """

    # ---- recovering ------------------------------------------------------------------------------

    @abstractmethod
    def workers(self) -> list[WorkerRecord]:
        """List the registered workers, and unregistered holders that still hold leases (as dead)."""

    @abstractmethod
    def expel(self, holder: int, seen_expires: float | None) -> bool:
        """Unregister a worker from outside, so that it can claim and renew no more.

        With `seen_expires`, only if its expiry is still exactly that; False if it renewed meanwhile.
        True if it is out, also when it was out before. Its leases are left for recovery.
        """

    @abstractmethod
    def leases(self, holder: int) -> list[Claim]:
        """List the jobs that a holder has under lease, in the order in which it claimed them."""

    # ---- reading and managing --------------------------------------------------------------------

    @abstractmethod
    def get(self, job_ids: Sequence[str]) -> list[Job | None]:
        """Read jobs by id, in the order asked; None for an id that is not there."""

    @abstractmethod
    def find(self, which: JobFilter) -> list[Job]:
        """Read jobs by a filter, the last stored first; an empty sequence in it matches nothing."""

    @abstractmethod
    def count(self) -> list[LaneCount]:
        """Count jobs by queue, task, state and station; nothing is listed with a count of 0."""

    @abstractmethod
    def origins(self) -> list[TaskOrigin]:
        """List where the tasks of this store live, as far as they were declared: the last origin of each."""

    @abstractmethod
    def revoke(self, job_ids: Sequence[str], now: float, reason: str) -> list[bool]:
        """Make waiting jobs REVOKED; False for those that run, are finished or are not there."""

    @abstractmethod
    def purge(self, queues: Sequence[str] | None, now: float) -> int:
        """Make all waiting jobs of these queue names (None: of all) REVOKED; return how many.

        Their reason is `PURGED`.
        """

    @abstractmethod
    def requeue(self, job_ids: Sequence[str], now: float) -> list[bool]:
        """Put FAILURE or REVOKED jobs back, ready, with their payload and options as they were.

        Attempts, retries and crashes start again, and it takes its place as due now; result, reason,
        `started` and `done` are cleared, and a past `expires` is dropped. False for other jobs.
        """

    @abstractmethod
    def forget(self, job_id: str) -> bool:
        """Drop a finished job's record; an unfinished one will keep none. False if it is not there.

        For an unfinished job it sets `ignore_result`: no SUCCESS of it is kept; a failure is all the same.
        """

    @abstractmethod
    def sweep(self, now: float, limit: int = 1000) -> int:
        """Expire results and waiting jobs, at most about `limit` of each; return how many it changed.

        An expired result's job is gone; a waiting one becomes REVOKED with the reason `EXPIRED`.
        Writes nothing when there is nothing to do.
        """

    @abstractmethod
    def next_sweep(self) -> float | None:
        """Return when `sweep` next has something to do; None for never. Reads only.

        That is the earliest `expires` of a waiting job or end of a finished one's keeping time.
        """

    # ---- waking ----------------------------------------------------------------------------------

    @abstractmethod
    def listen_for_jobs(self, queues: Sequence[str] | None = None) -> Listener:
        """Open a listener that rings when jobs of these queue names become ready, or due within a second.

        That is when they are stored, handed back or requeued. A delayed job whose time comes later need
        ring nobody: those who sleep look every second, and know it from `next_due`.
        """

    @abstractmethod
    def listen_for_result(self, job_id: str | None = None) -> Listener:
        """Open a listener that rings when this job (None: any job) finishes."""

    @abstractmethod
    def listen_for_schedules(self) -> Listener:
        """Open a listener that rings when schedules are saved or removed."""

    @abstractmethod
    def is_awaited(self) -> bool:
        """Tell whether anybody sleeps until a result comes; cheap, and may err for a moment."""

    # ---- the store itself ------------------------------------------------------------------------

    @abstractmethod
    def lead(self, office: str = "upkeep") -> AbstractContextManager[bool]:
        """Try to become the one holder of an office of this store; True inside the block if that worked.

        The offices are `upkeep` (the maintainer) and `scheduler`. Who dies, or leaves the block, gives it up.
        """

    def keeps(self, office: str) -> bool:
        """Tell whether an office that `lead` gave is still held; it is, where none is ever lost."""
        return True

    @abstractmethod
    def tend(self, now: float) -> None:
        """Do the storage's own upkeep (checkpoints, leftover side files); called by the maintainer."""

    @abstractmethod
    def diagnose(self, now: float) -> list[Finding]:
        """Look at everything that could bite."""

    @abstractmethod
    def describe(self) -> list[tuple[str, str]]:
        """Name and value pairs for a worker's banner."""

    @abstractmethod
    def close(self) -> None:
        """Release everything; idempotent."""

    def guard(self) -> Callable[[], object] | None:
        """Look after the descriptors that this process has open on the store, because it runs others' code.

        Every verb raises `DescriptorsLostError` from now on, and touches nothing, where that code has closed
        one of them, or made it lead to another file.

        Returns:
            What to ask after each piece of such code: raises OSError once it has closed descriptors in a row,
            and takes a fraction of a microsecond. None where there are none to lose.
        """
        return None

    def transaction(self) -> AbstractContextManager[object]:
        """Open a transaction on the store that the calling thread's `enqueue` joins."""
        raise NotSupportedError(f"{self.url} has no transactions that a caller can join; use a queue file.")

    def abandon(self) -> bool:
        """Roll back such a transaction if the calling thread has left one open; tell whether it had."""
        return False

    def completion(
        self, seq: int, token: int, settle: Callable[[], Transition]
    ) -> AbstractContextManager[object]:
        """Open such a transaction for a running job, which ends the job as it commits.

        The lease is looked at when the block begins and nobody can take it before the end, when what
        `settle` returns is stored in the same transaction.

        Raises:
            LeaseLostError: the lease is superseded; nothing of the block is stored.
        """
        raise NotSupportedError(f"{self.url} has no transactions that a job can end in; use a queue file.")

    # ---- conveniences, the same for every transport ----------------------------------------------

    def claim(self, holder: int, request: ClaimRequest, now: float) -> list[Claim]:
        """Claim without settling anything: a turn with a request only."""
        return self.turn(holder, now, (), request).claimed

    def settle(self, holder: int, settlements: Iterable[Transition], now: float) -> list[Transition]:
        """Settle without claiming; return the refused: a turn with settlements only."""
        return self.turn(holder, now, tuple(settlements)).refused

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *raised: object) -> None:
        self.close()
