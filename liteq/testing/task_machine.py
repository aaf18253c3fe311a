"""A state machine for a task of your own: hypothesis calls it, crashes its workers and lets time pass.

A task and a strategy for its arguments are enough::

    from hypothesis import strategies as st
    from liteq.testing.task_machine import TaskMachine

    class DeliveryMachine(TaskMachine):
        task = deliver
        arguments = st.tuples(st.text(), st.integers())

    TestDelivery = DeliveryMachine.TestCase

The task runs on an empty queue in memory and by a clock turned by hand, so that retries take no time. Your
own rules and invariants are added as in any machine of hypothesis, and the methods `begin`, `on_...`,
`at_end`, `most_retries` and `least_wait` are there to be overridden.
"""

from __future__ import annotations

import sys
from collections.abc import Mapping
from contextlib import ExitStack
from dataclasses import dataclass, field, replace
from typing import Any, ClassVar

from hypothesis import strategies as st
from hypothesis.errors import HypothesisException, StopTest
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from liteq.app.conf import MEMORY_URL
from liteq.errors import ConfigurationError, Retry, WorkerLostError
from liteq.failure import encode_failure, reason
from liteq.job import Claim, ClaimRequest, Transition, WorkerInfo
from liteq.lifecycle import Crashed, Lost, Outcome, decide
from liteq.result import AsyncResult
from liteq.states import FAILURE, PENDING, RETRY, REVOKED, SUCCESS
from liteq.task import Task
from liteq.testing.clock import ManualClock
from liteq.transport import EXPIRED
from liteq.worker.executor import Executor
from liteq.worker.log import JobLog

__all__ = ["TaskCall", "TaskMachine"]

_JITTERS = (0.0, 0.5, 0.999)
_PAUSES = (0.5, 10.0, 60.0, 180.0, 600.0)
_VISIBILITY = 60.0
_ROUNDING = 0.001
"""Seconds by which two waits may differ that are the same."""


@dataclass(eq=False)
class TaskCall:
    """One call that the machine has made, and what has become of it.

    Attributes:
        result: the handle on its job.
        args: the positional arguments.
        kwargs: the arguments by name.
        state: its state, as far as it was decided.
        runs: how often the task has begun to run for it.
        retries: how many of its attempts have failed and were tried again.
        crashes: how often its worker was seen to die.
        lost: how many of its runs have ended without anybody hearing of it, because the worker died.
        error: what the last attempt raised that failed, or None.
        kept: whether its end, once it has one, leaves a record.
    """

    result: AsyncResult[Any]
    args: tuple[Any, ...] = ()
    kwargs: Mapping[str, Any] = field(default_factory=dict)
    state: str = PENDING
    runs: int = 0
    retries: int = 0
    crashes: int = 0
    lost: int = 0
    error: BaseException | None = None
    kept: bool = True

    @property
    def finished(self) -> bool:
        """Whether it has ended."""
        return self.state not in (PENDING, RETRY)


class TaskMachine(RuleBasedStateMachine):
    """Calls a task with arguments that hypothesis draws, and holds it to what its options promise.

    In each run calls are made, revoked and run in some order, workers die before and after they have run a
    job, and time passes. Then whatever waits is run to its end. A run fails if

    - a job does not end, or runs again after it has ended;
    - a job is tried again more often than `most_retries` says;
    - a retry waits less than `least_wait` says;
    - a success, or another end, is not what the store says ever after;
    - a rule, an invariant or one of the methods that are there to be overridden raises.

    Attributes:
        task: the task; set it in your class.
        arguments: a strategy for a tuple of positional arguments, or a dict of arguments by name.
        patience: how many attempts of a job at the end of a run show that it never ends.
        clock: what tells the task's queue the time.
        calls: the calls made so far, in order.
    """

    task: ClassVar[Any]
    arguments: ClassVar[st.SearchStrategy[Any]] = st.just(())
    patience: ClassVar[int] = 100

    def __init__(self) -> None:
        super().__init__()
        task = getattr(type(self), "task", None)
        # A Celery application's task keeps liteq's own.
        registered = getattr(task, "registered", task)
        if not isinstance(registered, Task):
            raise ConfigurationError(f"{type(self).__name__}.task must be a task, not {task!r}.")
        self.clock = ManualClock()
        self.calls: list[TaskCall] = []
        self._task: Task[..., Any] = registered
        self._by_id: dict[str, TaskCall] = {}
        self._request = ClaimRequest({registered.name: 1}, limit=1)
        self._jitter = 0.5
        self._notes = _Notes()
        self._stack = ExitStack()
        store = registered.store
        settings = replace(store.settings, url=MEMORY_URL, eager=False)
        self._stack.enter_context(store.overridden(settings, self.clock))
        self._transport = store.transport()
        self._executor = Executor(
            {registered.name: registered}, self._transport, self.clock, self._random, "machine", self._notes
        )
        self._holder = self._transport.register(
            WorkerInfo("machine", "machine", 1, 1), _VISIBILITY, self.clock.wall()
        )

    def _random(self) -> float:
        return self._jitter

    # ---- to be overridden ------------------------------------------------------------------------

    def begin(self) -> None:
        """Prepare a run, for example the service that the task talks to."""

    def on_success(self, call: TaskCall, value: Any) -> None:
        """Check a call whose job has just ended SUCCESS with this value."""

    def on_retry(self, call: TaskCall, error: BaseException | None) -> None:
        """Check a call that has just failed with this error and is to be tried again."""

    def on_failure(self, call: TaskCall, error: BaseException | None) -> None:
        """Check a call whose job has just ended FAILURE with this error."""

    def at_end(self) -> None:
        """Check everything, once every call of the run has ended."""

    def most_retries(self, call: TaskCall) -> int | None:
        """Return how often a call may be tried again, None for no limit: what the task's options say.

        Override it where the task itself gives another number to `self.retry()`.
        """
        return self._task.policy.max_retries

    def least_wait(self, call: TaskCall, error: BaseException | None) -> float:
        """Return how many seconds a retry must wait at least: what the task's options say.

        Args:
            call: the call; `call.retries` counts this retry.
            error: what the attempt has raised; a `liteq.Retry` where the task asked, and may say when.
        """
        asked = isinstance(error, Retry) and error.due
        return 0.0 if asked else self._task.policy.delay(call.retries - 1, lambda: 0.0)

    # ---- the rules -------------------------------------------------------------------------------

    @initialize()
    def _begin(self) -> None:
        self.begin()

    @rule(data=st.data(), countdown=st.sampled_from([None, None, None, 30.0]))
    def call(self, data: st.DataObject, countdown: float | None) -> None:
        """Call the task."""
        drawn = data.draw(type(self).arguments, "arguments")
        args: tuple[Any, ...] = () if isinstance(drawn, Mapping) else tuple(drawn)
        kwargs: Mapping[str, Any] = drawn if isinstance(drawn, Mapping) else {}
        options: Any = {} if countdown is None else {"countdown": countdown}
        self._add(TaskCall(self._task.apply_async(args, kwargs, **options), args, kwargs))

    @rule(seconds=st.sampled_from(_PAUSES))
    def pass_time(self, seconds: float) -> None:
        """Let time pass."""
        self.clock.advance(seconds)

    @rule(most=st.integers(1, 3), jitter=st.sampled_from(_JITTERS))
    def run_due(self, most: int, jitter: float) -> None:
        """Let a worker run what is due."""
        self._jitter = jitter
        for _ in range(most):
            if not self._run_one():
                return

    @rule(jitter=st.sampled_from(_JITTERS))
    def run_next(self, jitter: float) -> None:
        """Let time pass until something is due, and a worker run it."""
        self._jitter = jitter
        if self._wait():
            self._run_one()

    @rule(has_run=st.booleans(), is_seen=st.booleans())
    def crash(self, has_run: bool, is_seen: bool) -> None:
        """Let a worker die that has just claimed what is due next, or has run it and not told anybody.

        Its supervisor sees it and charges the job with a crash, or is gone too: then the job is recovered.
        """
        job = self._claim() or (self._claim() if self._wait() else None)
        if job is None:
            return
        call = self._call_of(job)
        if has_run:
            self._execute(job, call)
            call.lost += 1
        died = WorkerLostError(f"{job.task}[{job.id}]: its worker process was killed while it ran.")
        error, why = encode_failure(died), reason(died)
        outcome: Outcome = Crashed(error, why) if is_seen else Lost(has_run, error, why)
        decided = decide(job, outcome, self.clock.wall(), self._random)
        call.crashes = decided.crashes
        self._settle(call, decided)
        if decided.state == FAILURE:
            call.error = died
            self.on_failure(call, died)

    @rule(pick=st.integers(0, 7))
    def revoke(self, pick: int) -> None:
        """Revoke a call that waits."""
        waiting = [call for call in self.calls if not call.finished]
        if waiting:
            call = waiting[pick % len(waiting)]
            assert call.result.revoke(), f"job {call.result.id} waits, and cannot be revoked"
            call.state = REVOKED

    @invariant()
    def _ends_are_kept(self) -> None:
        kept = self._transport.get([call.result.id for call in self.calls])
        for call, job in zip(self.calls, kept, strict=True):
            if job is None:
                assert call.finished, f"job {call.result.id} is {call.state}, and its record is gone"
                assert not call.kept, f"the end of job {call.result.id} is lost: it was {call.state}"
                continue
            if job.state == REVOKED and job.reason == EXPIRED and not call.finished:
                call.state = REVOKED
            else:
                assert job.state == call.state, f"job {call.result.id} is {call.state}, stored is {job.state}"

    def teardown(self) -> None:
        """Run everything to its end, and check it; give the task its own queue back."""
        try:
            # Nothing more is to be shown where a rule has failed already.
            if sys.exc_info()[0] is None:
                self._finish()
        finally:
            self._executor.close()
            self._stack.close()

    # ---- the worker ------------------------------------------------------------------------------

    def _add(self, call: TaskCall) -> TaskCall:
        self.calls.append(call)
        self._by_id[call.result.id] = call
        return call

    def _call_of(self, job: Claim) -> TaskCall:
        """Return the call of a job; the task may have made it itself."""
        call = self._by_id.get(job.id)
        return self._add(TaskCall(AsyncResult(job.id, self._task.store, True))) if call is None else call

    def _claim(self) -> Claim | None:
        turn = self._transport.turn(self._holder, self.clock.wall(), (), self._request)
        if not turn.claimed:
            return None
        (job,) = turn.claimed
        assert not self._call_of(job).finished, f"job {job.id} has ended, and is to run again"
        return job

    def _run_one(self) -> bool:
        job = self._claim()
        if job is None:
            return False
        call = self._call_of(job)
        decided = self._execute(job, call)
        error = self._notes.error
        self._settle(call, decided)
        if decided.due is not None:
            self._check_retry(call, decided, error)
        elif decided.state == FAILURE:
            call.error = error
            self.on_failure(call, error)
        elif decided.state == SUCCESS:
            self.on_success(call, call.result.result)
        return True

    def _execute(self, job: Claim, call: TaskCall) -> Transition:
        call.runs += 1
        self._notes.error = None
        decided = self._executor.run(job)
        error = self._notes.error
        if isinstance(error, KeyboardInterrupt | StopTest | HypothesisException):
            # They are meant for hypothesis and whoever runs it, and not for the job.
            raise error
        assert decided is not None, "a queue in memory has no transactions for a job to end in"
        return decided

    def _settle(self, call: TaskCall, decided: Transition) -> None:
        refused = self._transport.settle(self._holder, [decided], self.clock.wall())
        assert not refused, f"the outcome of job {call.result.id} was refused"
        call.state = decided.state
        call.kept = decided.keep

    def _check_retry(self, call: TaskCall, decided: Transition, error: BaseException | None) -> None:
        call.error = error
        if decided.retries == call.retries:
            # It gave itself back.
            return
        call.retries = decided.retries
        most = self.most_retries(call)
        assert most is None or call.retries <= most, (
            f"job {call.result.id} is tried again {call.retries} times, and may be {most} times"
        )
        wait = (decided.due or 0.0) - decided.at
        least = self.least_wait(call, error)
        assert wait >= least - _ROUNDING, (
            f"retry {call.retries} of job {call.result.id} waits {wait:g} s, and must wait {least:g} s"
        )
        self.on_retry(call, error)

    def _wait(self) -> bool:
        """Let time pass until something is due; False if nothing will be."""
        due = self._transport.next_due(self._request)
        if due is None:
            return False
        self.clock.advance(max(0.0, due - self.clock.wall()))
        return True

    def _finish(self) -> None:
        self._jitter = 0.5
        before = {call.result.id: call.runs for call in self.calls}
        while self._wait():
            self._run_one()
            for call in self.calls:
                attempts = call.runs - before.get(call.result.id, 0)
                assert call.finished or attempts < self.patience, (
                    f"job {call.result.id} has been tried {attempts} times more, and does not end"
                )
        self._ends_are_kept()
        for call in self.calls:
            assert call.finished, f"job {call.result.id} is {call.state}, and nothing will run it"
        self.at_end()


class _Notes(JobLog):
    """Keeps what the last attempt has raised, and writes nothing: a run has failures by the hundred."""

    error: BaseException | None = None

    def failed(self, job: Claim, error: BaseException) -> None:
        """Remember why a job failed for good."""
        self.error = error

    def retried(self, job: Claim, decided: Transition, error: BaseException | None) -> None:
        """Remember why a job is tried again."""
        self.error = error

    def rejected(self, job: Claim, decided: Transition) -> None:
        """Write nothing."""
