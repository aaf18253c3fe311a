"""Whatever a task does, its job ends as the task meant, and the worker lives on."""

from __future__ import annotations

import logging
from asyncio import CancelledError
from collections.abc import Callable
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from liteq import Ignore, Queue, Reject, Retry, Task
from liteq.calls.options import JobOptions, encode_options
from liteq.codec import get_codec, register_type
from liteq.errors import MaxRetriesExceededError, TaskError
from liteq.failure import decode_failure, restore
from liteq.job import Claim, ClaimRequest, Transition, WorkerInfo
from liteq.states import FAILURE, PENDING, RETRY, STARTED, SUCCESS
from liteq.testing.clock import ManualClock
from liteq.worker.executor import Executor

NOW = 1_700_000_000.0


class Bench:
    """Claims the one ready job of a queue and runs it, at a time that stands still."""

    def __init__(self, queue: Queue) -> None:
        self.transport = queue.store.transport()
        self.clock = ManualClock(wall=NOW)
        self.executor = Executor(queue.registry.tasks, self.transport, self.clock, lambda: 0.5, "here")
        self.holder = self.transport.register(WorkerInfo("w", "here", 1, 1), 60.0, NOW)
        self.request = ClaimRequest(dict.fromkeys(queue.registry.tasks, 1))

    def claim(self) -> Claim:
        # A job is stored at the time of its call, and retries of it may be due long after.
        (job,) = self.transport.claim(self.holder, self.request, NOW * 10)
        return job

    def run(self) -> Transition:
        return self.executor.run(self.claim())


@pytest.fixture
def bench_of(queue: Queue) -> Callable[..., Bench]:
    """Register a function as a task, enqueue it once, and return the bench with that job on it."""

    def make(
        function: Callable[..., Any], *args: Any, call: dict[str, Any] | None = None, **options: Any
    ) -> Bench:
        register: Any = queue.task
        task: Task[..., Any] = register(**options)(function) if options else register(function)
        task.apply_async(args, **(call or {}))
        return Bench(queue)

    return make


def failure_of(decided: Transition) -> BaseException:
    assert decided.result is not None
    return restore(decode_failure(decided.result))


def value_of(decided: Transition) -> object:
    return None if decided.result is None else get_codec("msgpack").decode(decided.result)


# ---- returning -----------------------------------------------------------------------------------


def test_what_a_task_returns_is_the_result(bench_of: Callable[..., Bench]) -> None:
    decided = bench_of(add, 2, 3).run()
    assert (decided.state, value_of(decided), decided.due, decided.at) == (SUCCESS, 5, None, NOW)


def add(x: int, y: int) -> int:
    return x + y


@pytest.mark.parametrize("value", [Decimal("1.5"), (1, 2), {3, 4}, Path("a/b"), 2**70, None, [], ""])
def test_a_result_comes_back_equal_and_of_its_type(bench_of: Callable[..., Bench], value: object) -> None:
    def give() -> object:
        return value

    stored = value_of(bench_of(give).run())
    assert stored == value
    assert type(stored) is type(value)


def test_none_takes_no_room(bench_of: Callable[..., Bench]) -> None:
    def nothing() -> None:
        return

    assert bench_of(nothing).run().result is None


def test_a_result_is_encoded_as_its_arguments_were(bench_of: Callable[..., Bench]) -> None:
    def give() -> list[int]:
        return [1, 2]

    assert bench_of(give, serializer="json").run().result == b"[1,2]"


def test_an_ignored_result_is_not_even_encoded(bench_of: Callable[..., Bench]) -> None:
    def give() -> object:
        return object()

    decided = bench_of(give, ignore_result=True).run()
    assert (decided.state, decided.result, decided.keep) == (SUCCESS, None, False)


def test_a_result_that_cannot_be_encoded_fails_the_job_and_names_its_type(
    bench_of: Callable[..., Bench],
) -> None:
    class Odd:
        pass

    def give() -> object:
        return Odd()

    decided = bench_of(give, autoretry_for=(Exception,)).run()
    assert decided.state == FAILURE
    assert "Odd" in str(failure_of(decided))
    assert "cannot be encoded" in str(decided.reason)


@register_type
@dataclass
class Reading:
    """A value whose field raises, when it is read, the exception that it was made with."""

    raises: Any

    def __getattribute__(self, name: str) -> Any:
        raised = object.__getattribute__(self, "__dict__").get("raises")
        if name == "raises" and raised is not None:
            raise raised
        return object.__getattribute__(self, name)


class Silent(Exception):
    """Raises when it is asked what it says."""

    def __str__(self) -> str:
        raise KeyboardInterrupt


class Unspeakable(type):
    """The type of types that do not give their names."""

    def __getattribute__(cls, name: str) -> Any:
        if name in ("__qualname__", "__module__"):
            raise SystemExit(5)
        return super().__getattribute__(name)


def anonymous() -> object:
    return Unspeakable("Anonymous", (), {})()


class Text(str):
    """Says that it is a number."""

    @property
    def __class__(self) -> type:  # type: ignore[override]
        return int


def endless() -> list[object]:
    values: list[object] = []
    values.append(values)
    return values


@pytest.mark.parametrize(
    "make",
    [
        lambda: Reading(SystemExit(1)),
        lambda: Reading(KeyboardInterrupt()),
        lambda: [Reading(Silent("no"))],
        lambda: {"deep": Reading(GeneratorExit())},
        anonymous,
        lambda: Text("5"),
        endless,
        lambda: "x" * 2000,
    ],
    ids=["exit", "interrupt", "silent", "generator", "anonymous", "text", "endless", "enormous"],
)
def test_a_result_that_runs_code_or_lies_or_has_no_end_fails_its_own_job_only(
    queue: Queue, make: Callable[[], object], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("liteq.worker.executor.RESULT_LIMIT", 1000)

    @queue.task
    def give() -> object:
        return make()

    @queue.task
    def quick() -> int:
        return 1

    give.delay()
    bench = Bench(queue)
    decided = bench.run()
    assert decided.state == FAILURE
    assert "cannot be encoded" in str(decided.reason)
    quick.delay()
    assert value_of(bench.run()) == 1


# ---- payloads that cannot be read ----------------------------------------------------------------


@given(st.binary(max_size=30))
def test_any_bytes_as_payload_end_the_job_visibly_and_raise_nothing(payload: bytes) -> None:
    with Queue("memory://") as queue:

        @queue.task
        def never(*args: object, **kwargs: object) -> None:
            return

        never.delay()
        bench = Bench(queue)
        decided = bench.executor.run(bench.claim()._replace(payload=payload))
        assert decided.state in (FAILURE, SUCCESS)
        assert decided.state == SUCCESS or decided.reason is not None


@pytest.mark.parametrize("changed", [{"payload": b"\xc1"}, {"codec": "yaml9"}, {"options": b"\xc1"}])
def test_an_unreadable_job_fails_without_running_and_the_next_one_runs(
    queue: Queue, changed: dict[str, Any]
) -> None:
    ran = []

    @queue.task
    def note(x: int) -> None:
        ran.append(x)

    queue.enqueue_many([note.s(1), note.s(2)])
    bench = Bench(queue)
    first, second = bench.transport.claim(bench.holder, bench.request, NOW * 10)
    decided = bench.executor.run(first._replace(**changed))
    assert decided.state == FAILURE
    assert "cannot be read" in str(decided.reason)
    assert bench.executor.run(second).state == SUCCESS
    assert ran == [2]


# ---- raising -------------------------------------------------------------------------------------


def boom(message: str) -> None:
    raise ValueError(message)


def test_an_exception_fails_the_job_with_its_type_message_and_place(bench_of: Callable[..., Bench]) -> None:
    decided = bench_of(boom, "no").run()
    error = failure_of(decided)
    assert (decided.state, decided.due, decided.reason) == (FAILURE, None, "ValueError: no")
    assert isinstance(error, ValueError)
    assert error.args == ("no",)
    assert "in boom" in str(error.__cause__)


@pytest.mark.parametrize(
    "kind", [SystemExit, KeyboardInterrupt, GeneratorExit, CancelledError, MemoryError, RecursionError]
)
def test_no_exception_at_all_gets_out_of_a_job(
    bench_of: Callable[..., Bench], kind: type[BaseException]
) -> None:
    def leave() -> None:
        raise kind("bye")

    decided = bench_of(leave).run()
    assert decided.state == FAILURE
    assert decided.reason == f"{kind.__name__}: bye"


@pytest.mark.parametrize("kind", [SystemExit, KeyboardInterrupt])
def test_an_exit_is_never_retried_by_itself(
    bench_of: Callable[..., Bench], kind: type[BaseException]
) -> None:
    def leave() -> None:
        raise kind

    assert bench_of(leave, autoretry_for=(Exception,)).run().state == FAILURE


def test_an_exception_whose_text_raises_fails_the_job_all_the_same(bench_of: Callable[..., Bench]) -> None:
    class Hostile(Exception):
        def __str__(self) -> str:
            raise RuntimeError

        __repr__ = __str__

    def leave() -> None:
        raise Hostile

    assert bench_of(leave).run().state == FAILURE


class Lying(Exception):
    """Claims to be what ends a job well."""

    @property
    def __class__(self) -> type:  # type: ignore[override]
        return Ignore


class Nameless(Exception):
    """Raises when it is asked what it is."""

    @property
    def __class__(self) -> type:  # type: ignore[override]
        raise SystemExit(3)


class BrokenRetry(Retry):
    """Raises when it is asked why."""

    @property
    def exc(self) -> BaseException | None:
        raise KeyboardInterrupt

    @exc.setter
    def exc(self, value: object) -> None: ...


class Undecided:
    """Is neither true nor false."""

    def __bool__(self) -> bool:
        raise SystemExit(4)


ODD_ERRORS: dict[str, Callable[[], BaseException]] = {
    "lying": lambda: Lying("no"),
    "nameless": lambda: Nameless("no"),
    "broken": lambda: BrokenRetry(due=NOW * 2),
    "no time": lambda: Retry(due="tomorrow"),  # type: ignore[arg-type]
    "not a number": lambda: Retry(due=float("nan")),
    "beyond numbers": lambda: Retry(due=10**400),
    "no exception": lambda: Retry(exc=Undecided()),  # type: ignore[arg-type]
    "undecided": lambda: Reject("no", requeue=Undecided()),  # type: ignore[arg-type]
}


@pytest.mark.parametrize("odd", ODD_ERRORS)
def test_an_exception_that_is_not_what_it_seems_fails_its_own_job_only(
    bench_of: Callable[..., Bench], odd: str
) -> None:
    def leave() -> None:
        raise ODD_ERRORS[odd]()

    bench = bench_of(leave, max_retries=0)
    decided = bench.run()
    assert (decided.state, decided.due) == (FAILURE, None)
    assert bench.transport.settle(bench.holder, [decided], NOW) == []


# ---- retrying ------------------------------------------------------------------------------------


def test_an_exception_named_in_autoretry_for_is_tried_again_after_the_delay(
    bench_of: Callable[..., Bench],
) -> None:
    decided = bench_of(boom, "x", autoretry_for=(ValueError,), default_retry_delay=7).run()
    assert (decided.state, decided.due, decided.retries) == (RETRY, NOW + 7, 1)


def test_an_exception_named_in_dont_autoretry_for_is_not(bench_of: Callable[..., Bench]) -> None:
    options = {"autoretry_for": (Exception,), "dont_autoretry_for": (ValueError,)}
    assert bench_of(boom, "x", **options).run().state == FAILURE


def test_when_automatic_retries_are_used_up_the_job_fails_with_the_original_exception(
    bench_of: Callable[..., Bench],
) -> None:
    bench = bench_of(boom, "x", autoretry_for=(ValueError,), max_retries=2)
    decided = bench.executor.run(bench.claim()._replace(attempts=3, retries=2))
    assert decided.state == FAILURE
    assert isinstance(failure_of(decided), ValueError)


def test_a_task_that_asks_is_tried_again_when_it_asked_for(bench_of: Callable[..., Bench]) -> None:
    def ask(self: Task[..., Any]) -> None:
        try:
            boom("x")
        except ValueError as error:
            raise self.retry(exc=error, eta=None, countdown=5) from error

    decided = bench_of(ask, bind=True).run()
    assert (decided.state, decided.reason, decided.retries) == (RETRY, "ValueError: x", 1)
    assert isinstance(failure_of(decided), ValueError)


def test_a_task_that_asks_with_no_retry_left_fails_and_says_so(bench_of: Callable[..., Bench]) -> None:
    def ask(self: Task[..., Any]) -> None:
        raise self.retry(countdown=5, max_retries=0)

    decided = bench_of(ask, bind=True).run()
    assert decided.state == FAILURE
    assert isinstance(failure_of(decided), MaxRetriesExceededError)


def test_a_retry_raised_by_hand_follows_the_policy(bench_of: Callable[..., Bench]) -> None:
    def ask() -> None:
        raise Retry("later")

    bench = bench_of(ask, default_retry_delay=9, max_retries=1)
    job = bench.claim()
    assert bench.executor.run(job).due == NOW + 9
    assert bench.executor.run(job._replace(retries=1)).state == FAILURE


# ---- rejecting and ignoring ----------------------------------------------------------------------


def test_a_rejected_job_fails_with_its_reason(bench_of: Callable[..., Bench]) -> None:
    def refuse() -> None:
        raise Reject("spoilt")

    decided = bench_of(refuse).run()
    assert decided.state == FAILURE
    assert "spoilt" in str(decided.reason)


def test_a_requeued_job_is_ready_again_at_once(bench_of: Callable[..., Bench]) -> None:
    def refuse() -> None:
        raise Reject("not here", requeue=True)

    decided = bench_of(refuse).run()
    assert (decided.state, decided.due, decided.retries) == (PENDING, NOW, 0)


def test_an_ignored_job_leaves_nothing(bench_of: Callable[..., Bench]) -> None:
    def ignore() -> None:
        raise Ignore

    decided = bench_of(ignore).run()
    assert (decided.due, decided.keep, decided.result) == (None, False, None)


def test_an_ignored_job_keeps_the_last_state_it_set_itself(bench_of: Callable[..., Bench]) -> None:
    def ignore(self: Task[..., Any]) -> None:
        self.update_state("FIRST", {"n": 1})
        self.update_state("LAST", {"n": 2})
        raise Ignore

    decided = bench_of(ignore, bind=True).run()
    assert (decided.state, decided.keep, value_of(decided)) == ("LAST", True, {"n": 2})


@pytest.mark.parametrize("kind", ["memory", "sqlite"])
def test_a_state_set_by_one_job_is_not_taken_for_the_next_ones(kind: str, tmp_path: Path) -> None:
    # On a file, jobs that were claimed together share their token.
    with Queue("memory://" if kind == "memory" else tmp_path / "queue.db", durability="normal") as queue:

        @queue.task(bind=True, name="tasks.ignore")
        def ignore(self: Task[..., Any], report: bool) -> None:
            if report:
                self.update_state("MINE")
            raise Ignore

        queue.enqueue_many([ignore.s(True), ignore.s(False)])
        bench = Bench(queue)
        first, second = bench.transport.claim(bench.holder, bench.request, NOW * 10)
        assert bench.executor.run(first).state == "MINE"
        assert bench.executor.run(second).keep is False


def test_a_state_of_its_own_is_seen_while_the_job_runs(queue: Queue) -> None:
    seen = []

    @queue.task(bind=True)
    def report(self: Task[..., Any]) -> None:
        self.update_state("PROGRESS", {"done": 3})
        result = queue.AsyncResult(self.request.id or "")
        seen.append((result.status, result.info))

    report.delay()
    Bench(queue).run()
    assert seen == [("PROGRESS", {"done": 3})]


# ---- what a task knows of its job ----------------------------------------------------------------


def test_a_task_sees_its_own_request_and_none_after_it(queue: Queue) -> None:
    seen = []

    @queue.task(bind=True, time_limit=9)
    def look(self: Task[..., Any], x: int) -> None:
        seen.append(self.request)

    result = look.options(priority=4, headers={"a": 1}).delay(7)
    Bench(queue).run()
    (request,) = seen
    assert (request.id, request.args, request.attempt, request.retries) == (result.id, [7], 1, 0)
    assert (request.priority, request.headers, request.hostname) == (4, {"a": 1}, "here")
    assert request.timelimit == (None, 9)
    assert not request.called_directly
    assert look.request.called_directly


@pytest.mark.parametrize(
    ("own", "given_", "expected"), [(None, None, None), (5, None, 5), (5, 2, 2), (None, 2, 2)]
)
def test_a_time_limit_given_at_the_call_wins_over_the_tasks_own(
    bench_of: Callable[..., Bench], own: float | None, given_: float | None, expected: float | None
) -> None:
    bench = bench_of(add, 1, 2, time_limit=own)
    # As `apply_async(time_limit=)` stores it; a memory queue, as here, would refuse that.
    claim = bench.claim()._replace(options=encode_options(JobOptions(time_limit=given_)))
    assert bench.executor.time_limit(claim) == expected


# ---- the log -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("function", "options", "expected"),
    [
        (add, {}, [("INFO", "succeeded in 0.000s: 5")]),
        (boom, {}, [("ERROR", "raised unexpected: ValueError(2)")]),
        (
            boom,
            {"autoretry_for": (ValueError,), "default_retry_delay": 2},
            [("INFO", "retry: Retry in 2s: ValueError(2)")],
        ),
    ],
)
def test_the_log_speaks_as_celery_does(
    queue: Queue,
    caplog: pytest.LogCaptureFixture,
    function: Callable[..., Any],
    options: dict[str, Any],
    expected: list[tuple[str, str]],
) -> None:
    def run(x: int, y: int) -> Any:
        return function(x, y) if function is add else function(x)

    register: Any = queue.task
    task = register(name="app.it", **options)(run)
    with caplog.at_level(logging.INFO, logger="liteq.worker"):
        result = task.delay(2, 3)
        Bench(queue).run()
    said = [(record.levelname, record.getMessage()) for record in caplog.records]
    label = f"Task app.it[{result.id}] "
    assert said == [("INFO", label + "received"), *((level, label + text) for level, text in expected)]


def test_what_a_job_is_called_cannot_pass_for_a_line_of_the_log(
    queue: Queue, caplog: pytest.LogCaptureFixture
) -> None:
    forged = "an id] succeeded\n[2026-01-01 00:00:00,000: INFO/worker] Task pay[\x1b[31mé"
    queue.task(name="add")(add).apply_async((1, 2), task_id=forged)
    with caplog.at_level(logging.INFO, logger="liteq.worker"):
        Bench(queue).run()
    assert len(caplog.records) == 2
    for record in caplog.records:
        said = record.getMessage()
        assert said.isprintable()
        assert "succeeded\\n[2026" in said


def test_a_failure_is_logged_with_its_traceback(
    bench_of: Callable[..., Bench], caplog: pytest.LogCaptureFixture
) -> None:
    bench_of(boom, "x").run()
    assert "in boom" in caplog.text


def test_nothing_is_logged_below_the_level(
    bench_of: Callable[..., Bench], caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.WARNING, logger="liteq.worker"):
        bench_of(add, 2, 3).run()
    assert caplog.records == []


def test_a_started_job_reads_started(bench_of: Callable[..., Bench]) -> None:
    bench = bench_of(add, 1, 2)
    job = bench.claim()
    (stored,) = bench.transport.get([job.id])
    assert stored is not None
    assert stored.state == STARTED


def test_a_remote_exception_type_that_is_not_at_hand_is_a_task_error(bench_of: Callable[..., Bench]) -> None:
    def leave() -> None:
        class Local(Exception):
            pass

        raise Local("here only")

    assert isinstance(failure_of(bench_of(leave).run()), TaskError)
