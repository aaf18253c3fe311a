"""Runs one job: decode, call, classify what came of it, encode, decide.

Nothing that a task does gets out of `Executor.run`: it always returns what the store is to record.
"""

from __future__ import annotations

import math
import os
import random as random_module
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from threading import get_ident
from types import CoroutineType
from typing import Any, NamedTuple

from liteq.aio.transactions import abandon_blocks, open_blocks
from liteq.app.store import abandon_transactions, in_transactions
from liteq.calls.coroutines import close_loop, run_coroutine
from liteq.calls.options import decode_options
from liteq.calls.request import Request, pop_request, push_request
from liteq.clock import Clock, SystemClock
from liteq.codec import decode_call
from liteq.codec.accepting import Codecs
from liteq.codec.contents import Contents
from liteq.codec.protection import Protection
from liteq.errors import (
    ConfigurationError,
    DecodingError,
    EncodingError,
    EncryptionKeyError,
    Ignore,
    Reject,
    Retry,
    StoreFullError,
)
from liteq.failure import encode_failure, reason
from liteq.job import Claim, Transition
from liteq.lifecycle import Ignored, Outcome, Raised, Rejected, RetryAsked, Returned, Succeeded, decide
from liteq.retry import Random, RetryPolicy
from liteq.states import SUCCESS
from liteq.task import Task
from liteq.transport import Transport
from liteq.worker.acts import AttemptActs
from liteq.worker.faults import insecure, left_open, time_limit_of, unreadable, unwritable
from liteq.worker.log import JobLog
from liteq.worker.soft import run_limited

__all__ = ["Executor", "Plan", "Ready", "call_here"]

LEAVE_FOR = 30.0
"""Seconds that a job waits which is encrypted with a key that is not here."""
RESULT_LIMIT = 256 * 1024 * 1024
"""Bytes; SQLite itself gives up at 1,000,000,000, and a file with results of this size is no pleasure."""


class Plan(NamedTuple):
    """What is needed to run a job of one task, looked up once."""

    function: Callable[..., Any]
    policy: RetryPolicy
    time_limit: float | None
    soft_time_limit: float | None
    protection: Protection | None
    """The keys of its queue; None where there are none."""
    codecs: Codecs
    """Those that its queue accepts."""
    contents: Contents


class Ready(NamedTuple):
    """A job whose arguments have been read."""

    plan: Plan
    opened: Claim
    """The job as it was before it was encrypted and signed."""
    args: Sequence[Any]
    kwargs: Mapping[str, Any]
    soft: float | None
    """Seconds after which its task is told that its time is over; None for never."""
    began: float
    """When it was received, on the monotonic clock; 0.0 where nobody asks."""


def call_here(
    _job: Claim, function: Callable[..., Any], args: Sequence[Any], kwargs: Mapping[str, Any]
) -> Any:
    """Call a task's function in this thread, and run an async one on the thread's own event loop."""
    value = function(*args, **kwargs)
    return run_coroutine(value) if type(value) is CoroutineType else value


class Executor:
    """Runs claimed jobs in the calling thread; several threads may do so at once.

    Args:
        tasks: the tasks that can be run here, by name.
        transport: stores the states that tasks report themselves.
        clock: tells the time.
        random: a source of floats in [0, 1), for the jitter of retries; one of its own by default.
        hostname: the worker's name, as `self.request.hostname`.
        log: writes the log lines of jobs.
    """

    def __init__(
        self,
        tasks: Mapping[str, Task[..., Any]],
        transport: Transport,
        clock: Clock | None = None,
        random: Random | None = None,
        hostname: str = "",
        log: JobLog | None = None,
    ) -> None:
        self.tasks = tasks
        self.url = transport.url
        self.log = JobLog() if log is None else log
        self._transport = transport
        self._clock: Clock = SystemClock() if clock is None else clock
        # Not the generator that tasks share: one that seeds it would let all workers retry at one moment.
        self._random: Random = random_module.Random().random if random is None else random
        self._hostname = hostname
        self._pid = os.getpid()
        self._plans = {name: _plan(task) for name, task in tasks.items()}
        self._judged: tuple[Claim, str | None] | None = None
        self._untold: int | None = None
        self._left_tasks: set[str] = set()

    def time_limit(self, job: Claim) -> float | None:
        """Return the seconds that the job may take: those given at the call, else its task's own."""
        plan = self._plans[job.task]
        if job.options is None:
            return plan.time_limit
        if plan.protection is not None:
            if self._refusal(job, plan.protection):
                return plan.time_limit
            try:
                job = job._replace(options=plan.protection.options(job))
            except DecodingError:
                # `run` meets the same bytes.
                return plan.time_limit
        return time_limit_of(job, plan.time_limit)

    def run(self, job: Claim) -> Transition | None:
        """Run a job of one of `tasks`; raises nothing.

        Returns:
            What the store is to record; None if the job has ended in a transaction of its own.
        """
        ready = self.prepare(job)
        if not isinstance(ready, Ready):
            return ready
        acts = AttemptActs(self, job)
        token = push_request(self.request_of(job, ready), acts)
        try:
            function = ready.plan.function
            if ready.soft is not None:
                function = self._limited(ready.soft, function)
            value = self._call(job, function, ready.args, ready.kwargs)
        # SystemExit and KeyboardInterrupt too: what a task raises ends the job, never the worker.
        except BaseException as error:
            return self.raised(job, ready, acts, error)
        finally:
            pop_request(token)
        return self.returned(job, ready, acts, value)

    def close(self) -> None:
        """Give up what the calling thread has kept for the next job; idempotent."""
        close_loop()

    def _call(
        self, job: Claim, function: Callable[..., Any], args: Sequence[Any], kwargs: Mapping[str, Any]
    ) -> Any:
        """Call a task's function for a job, and return or raise what it does."""
        return call_here(job, function, args, kwargs)

    def _limited(self, seconds: float, function: Callable[..., Any]) -> Callable[..., Any]:
        """Return a task's function with its soft time limit."""
        return partial(run_limited, seconds, function)

    # ---- the steps of a run --------------------------------------------------------------------------

    def prepare(self, job: Claim) -> Ready | Transition:
        """Read a job's arguments; what cannot or must not be run is decided about at once."""
        plan = self._plans[job.task]
        began = 0.0
        if self.log.wordy:
            self.log.received(job)
            began = self._clock.monotonic()
        if plan.protection is not None:
            refusal = self._refusal(job, plan.protection)
            if refusal is not None:
                return self._failed(job, plan, insecure(job, refusal))
        try:
            opened = job if plan.protection is None else plan.protection.opened(job)
            codec = plan.codecs.find(opened.codec) or plan.codecs.get(opened.codec)
            args, kwargs = decode_call(codec, opened.payload)
            soft = plan.soft_time_limit
            if opened.options is not None:
                given = decode_options(opened.options).soft_time_limit
                soft = soft if given is None else given
        except EncryptionKeyError as error:
            return self._left(job, error)
        # Not only DecodingError: a codec of the user's own may raise anything, an exit too.
        except BaseException as error:
            return self._failed(job, plan, unreadable(job, error))
        return Ready(plan, opened, args, kwargs, soft, began)

    def request_of(self, job: Claim, ready: Ready) -> Callable[[], Request]:
        """Return what makes the request that the task sees."""
        return partial(
            Request.of,
            ready.opened,
            ready.args,
            ready.kwargs,
            hostname=self._hostname,
            limits=(ready.plan.soft_time_limit, ready.plan.time_limit),
        )

    def returned(self, job: Claim, ready: Ready, acts: AttemptActs, value: object) -> Transition | None:
        """Decide about a job whose task returned."""
        plan = ready.plan
        if _forks.any:
            self._end_if_forked(None)
        is_left_open = bool(in_transactions) and get_ident() in in_transactions
        if is_left_open:
            abandon_transactions()
        if open_blocks:
            is_left_open |= abandon_blocks(acts)
        decided = None
        if not acts.completed:
            if is_left_open:
                return self._failed(job, plan, left_open(job))
            try:
                result = None
                if value is not None and not job.ignore_result:
                    result = _encode_result(plan.contents, job, value)
            # A result may run code of its own when it is read, and that may raise anything as well.
            except BaseException as error:
                return self._failed(job, plan, unwritable(job, value, error))
            decided = decide(job, Succeeded(result), self._clock.wall(), self._random)
        if self.log.wordy:
            given = acts.value if acts.completed else value
            self.log.succeeded(job, self._clock.monotonic() - ready.began, given)
        return decided

    def _refusal(self, job: Claim, protection: Protection) -> str | None:
        """Return why a job must not run; asked twice for each job, and found out once."""
        judged = self._judged
        if judged is None or judged[0] is not job:
            judged = self._judged = job, protection.refusal(job)
        return judged[1]

    def _end_if_forked(self, error: BaseException | None) -> None:
        """End a process that the task has forked and let run on: the jobs are its parent's to run."""
        if os.getpid() != self._pid:
            # As the end of a forked child ends: without the exit handlers and buffers of its parent.
            code = error.code if isinstance(error, SystemExit) else error
            os._exit(code if isinstance(code, int) else int(code is not None))

    def raised(self, job: Claim, ready: Ready, acts: AttemptActs, error: BaseException) -> Transition | None:
        """Decide about a job whose task raised, and say so in the log."""
        plan = ready.plan
        self._end_if_forked(error)
        if get_ident() in in_transactions:
            abandon_transactions()
        if open_blocks:
            abandon_blocks(acts)
        if acts.completed:
            self.log.raised_too_late(job, error)
            return None
        try:
            outcome = self._classify(plan, acts, error)
        # Attributes of the task's own kind of `Retry` or `Reject` may be anything, or raise.
        except BaseException as broken:
            outcome = Raised(encode_failure(broken), reason(broken), plan.policy)
        decided = decide(job, outcome, self._clock.wall(), self._random)
        if not isinstance(outcome, Ignored):
            decided = _hidden(plan, job, decided)
        if isinstance(outcome, Rejected):
            self.log.rejected(job, decided)
        elif isinstance(outcome, Ignored):
            self.log.ignored(job)
        elif decided.due is not None:
            self.log.retried(job, decided, error)
        else:
            self.log.failed(job, error)
        return decided

    def _classify(self, plan: Plan, acts: AttemptActs, error: BaseException) -> Outcome:
        # By its type, and not by what it says of itself: `isinstance` asks for its `__class__` too.
        kind = type(error)
        if issubclass(kind, Ignore):
            return Ignored() if acts.reported is None else Ignored(*acts.reported)
        if issubclass(kind, Reject):
            assert isinstance(error, Reject)
            return Rejected(encode_failure(error), reason(error), bool(error.requeue))
        if issubclass(kind, Retry):
            assert isinstance(error, Retry)
            cause = error if error.exc is None else error.exc
            if error.due:
                return RetryAsked(encode_failure(cause), reason(cause), _moment(error.due))
            # Raised by hand: `self.retry()` has checked nothing, so the policy says when and whether.
            return Raised(encode_failure(cause), reason(cause), plan.policy, automatic=True)
        automatic = issubclass(kind, Exception) and plan.policy.retries_automatically(kind)
        return Raised(encode_failure(error), reason(error), plan.policy, automatic)

    def _failed(self, job: Claim, plan: Plan, error: Exception) -> Transition:
        """Decide about a job that could not be read, or whose result cannot be written: it fails for good."""
        outcome = Raised(encode_failure(error), reason(error), plan.policy)
        self.log.failed(job, error)
        return _hidden(plan, job, decide(job, outcome, self._clock.wall(), self._random))

    def _left(self, job: Claim, error: EncryptionKeyError) -> Transition:
        """Leave a job to workers that have its key: it waits, and loses no attempt."""
        now = self._clock.wall()
        returned = decide(job, Returned(), now, self._random)
        left = returned._replace(due=max(returned.due or now, now + LEAVE_FOR), reason=reason(error))
        if job.task not in self._left_tasks:
            self._left_tasks.add(job.task)
            self.log.rejected(job, left)
        return left

    # ---- what a task does to its own job -----------------------------------------------------------

    def encode_result(self, job: Claim, value: object) -> bytes | None:
        """Encode what a job is to give; raises EncodingError."""
        if value is None or job.ignore_result:
            return None
        return _encode_result(self._plans[job.task].contents, job, value)

    def succeed(self, job: Claim, result: bytes | None) -> Transition:
        """Decide about a job that has succeeded."""
        return decide(job, Succeeded(result), self._clock.wall(), self._random)

    def encode_meta(self, job: Claim, state: str, meta: object) -> bytes | None:
        """Encode the meta of a state of the task's own; raises EncodingError."""
        return None if meta is None else self._plans[job.task].contents.write(job, state, meta)

    def report(self, job: Claim, state: str, encoded: bytes | None) -> None:
        """Store a state of the task's own."""
        try:
            self._transport.update_state(job.seq, job.token, state, encoded)
        except StoreFullError as error:
            # A job that can be finished must not fail because its progress finds no room.
            if self._untold != job.token:
                self._untold = job.token
                self.log.unreported(job, state, error)


class _Forks:
    """Whether this process was forked, so that only those who were pay for asking."""

    any = False

    def note(self) -> None:
        """Note it, in the child."""
        self.any = True


_forks = _Forks()
if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forks.note)


def _encode_result(contents: Contents, job: Claim, value: object) -> bytes:
    result = contents.write(job, SUCCESS, value)
    if len(result) > RESULT_LIMIT:
        raise EncodingError(f"It takes {len(result):,} bytes, and at most {RESULT_LIMIT:,} can be stored.")
    return result


def _plan(task: Task[..., Any]) -> Plan:
    function = partial(task.fn, task) if task.bind else task.fn
    limits = task.time_limit, task.soft_time_limit
    settings = task.store.settings
    protection = settings.protection if settings.protection.is_on else None
    return Plan(function, task.policy, *limits, protection, settings.codecs, settings.contents)


def _hidden(plan: Plan, job: Claim, decided: Transition) -> Transition:
    """Return what is to be recorded of a failure with nothing in it that an encrypted queue would hide."""
    if plan.protection is None or plan.protection.cipher is None or decided.result is None:
        return decided
    kind = (decided.reason or "").partition(":")[0]
    return decided._replace(
        result=plan.contents.seal_failure(job, decided.result), reason=f"{kind} (the message is encrypted)"
    )


def _moment(due: object) -> float:
    """Return when a task wants to be tried again, if that is a time at all."""
    if not isinstance(due, int | float) or not math.isfinite(due):
        raise ConfigurationError(f"Retry(due=...) takes UTC seconds since the epoch, not {due!r}.")
    return float(due)
