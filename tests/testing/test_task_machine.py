"""The state machine for users' tasks passes what keeps its promises, and finds what does not."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest
from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import rule, run_state_machine_as_test

from liteq import ConfigurationError, Ignore, Queue, Reject, Task
from liteq.testing.task_machine import TaskCall, TaskMachine

QUICK = settings(
    max_examples=40,
    stateful_step_count=12,
    derandomize=True,
    # What is found need not be made short here.
    phases=[Phase.generate],
    database=None,
    deadline=None,
    suppress_health_check=[*HealthCheck],
)


@pytest.fixture
def q() -> Iterator[Queue]:
    with Queue("memory://") as queue:
        yield queue


def run(
    task: object, base: type[TaskMachine] = TaskMachine, how: settings = QUICK, **attributes: Any
) -> None:
    """Run a machine for a task; raises what it finds."""
    machine = type("Machine", (base,), {"task": task, **attributes})
    run_state_machine_as_test(machine, settings=how)


class Outside:
    """What the tasks of these tests see of the world."""

    def __init__(self) -> None:
        self.done: list[int] = []
        self.calls = 0


@pytest.fixture
def outside() -> Outside:
    return Outside()


def _fails(error: Exception) -> Callable[[Any], None]:
    def fail(self: Any) -> None:
        raise error

    return fail


GOOD: dict[str, tuple[dict[str, Any], Callable[[Any], object]]] = {
    "returns": ({}, lambda self: 7),
    "fails": ({}, _fails(ValueError("no"))),
    "retries": ({"autoretry_for": (ValueError,), "retry_backoff": 5}, _fails(ValueError("no"))),
    "without jitter": (
        {"autoretry_for": (ValueError,), "retry_backoff": True, "retry_jitter": False, "max_retries": 4},
        _fails(ValueError("no")),
    ),
    "leaves no result": ({"ignore_result": True}, lambda self: 7),
    "is ignored": ({}, _fails(Ignore())),
    "is rejected": ({}, _fails(Reject("no"))),
    "runs at most once": ({"max_crashes": 0}, lambda self: 7),
    "expires": ({"expires": 100}, lambda self: 7),
}


@pytest.mark.parametrize("kind", GOOD)
def test_a_task_that_keeps_its_promises_passes(q: Queue, kind: str):
    options, function = GOOD[kind]
    run(_task(q, function, options), how=settings(QUICK, max_examples=12))


def _task(q: Queue, function: Callable[[Any], object], options: dict[str, Any]) -> Task[..., object]:
    return q.task(name="good", bind=True, **options)(function)


def test_the_methods_to_override_are_told_what_happens_and_arguments_may_have_names(q: Queue):
    seen: set[str] = set()

    @q.task(name="half", autoretry_for=(ConnectionError,), max_retries=1, max_crashes=1)
    def half(number: int) -> float:
        if number == 3:
            raise ConnectionError("three")
        return number / 2

    class Told(TaskMachine):
        arguments = st.fixed_dictionaries({"number": st.integers(1, 4)})

        def begin(self) -> None:
            seen.add("began")

        def on_success(self, call: TaskCall, value: Any) -> None:
            assert value == call.kwargs["number"] / 2
            seen.add("success")

        def on_retry(self, call: TaskCall, error: BaseException | None) -> None:
            assert isinstance(error, ConnectionError)
            assert call.kwargs == {"number": 3}
            seen.add("retry")

        def on_failure(self, call: TaskCall, error: BaseException | None) -> None:
            seen.add(type(error).__name__)

        def at_end(self) -> None:
            assert all(call.finished for call in self.calls)
            seen.add("ended")

    run(half, Told)
    assert seen == {"began", "success", "retry", "ConnectionError", "WorkerLostError", "ended"}


def test_effects_that_happen_again_after_a_crash_are_found(q: Queue, outside: Outside):
    @q.task(name="pay", bind=True)
    def pay(self: Any, amount: int) -> None:
        outside.done.append(amount)

    class Once(TaskMachine):
        arguments = st.tuples(st.integers())

        def begin(self) -> None:
            outside.done.clear()

        def at_end(self) -> None:
            assert len(outside.done) <= len(self.calls), "paid twice"

    with pytest.raises(AssertionError, match="paid twice"):
        run(pay, Once)


def test_a_job_that_never_ends_is_found(q: Queue):
    with pytest.raises(AssertionError, match="does not end"):
        run(_task(q, _fails(Reject(requeue=True)), {}), patience=20)


def test_more_retries_than_the_options_say_are_found_unless_the_machine_allows_them(q: Queue):
    def ask(self: Any) -> None:
        raise self.retry(max_retries=5, countdown=1)

    task = _task(q, ask, {"max_retries": 2})
    with pytest.raises(AssertionError, match="tried again 3 times, and may be 2 times"):
        run(task)
    run(task, most_retries=lambda self, call: 5)


def test_a_retry_that_comes_sooner_than_the_machine_says_is_found(q: Queue):
    task = _task(q, _fails(ValueError()), {"autoretry_for": (ValueError,), "default_retry_delay": 10})
    with pytest.raises(AssertionError, match="waits 10 s, and must wait 60 s"):
        run(task, least_wait=lambda self, call, error: 60.0)


def test_a_success_that_gets_lost_is_found(q: Queue):
    class Forgetful(TaskMachine):
        @rule()
        def forget(self) -> None:
            for call in self.calls:
                if call.state == "SUCCESS":
                    call.result.forget()

    with pytest.raises(AssertionError, match="is lost: it was SUCCESS"):
        run(_task(q, lambda self: 7, {}), Forgetful)


def test_an_interrupt_ends_the_run(q: Queue):
    task = _task(q, lambda self: (_ for _ in ()).throw(KeyboardInterrupt), {})
    with pytest.raises(KeyboardInterrupt):
        run(task)


def test_the_tasks_queue_is_its_own_again_after_a_run_that_passed_and_one_that_failed(q: Queue):
    task = _task(q, lambda self: 7, {})
    before = task.delay()
    run(task)
    with pytest.raises(ZeroDivisionError):
        run(task, at_end=lambda self: 1 / 0)
    assert before.status == "PENDING"
    assert q.drain().ran == 1


def test_a_machine_without_a_task_says_what_it_lacks():
    with pytest.raises(ConfigurationError, match=r"TaskMachine.task must be a task, not None"):
        TaskMachine()
