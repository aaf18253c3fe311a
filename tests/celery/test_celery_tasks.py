"""Tasks: Celery's options, classes of tasks, retries, and times without a zone."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

import liteq
from liteq import ConfigurationError, DuplicateTaskError, LiteqWarning, NotSupportedError
from liteq.celery import Celery, Task
from liteq.celery.app.task import ABSENT_ATTRIBUTES, HOOKS
from liteq.celery.exceptions import (
    MaxRetriesExceededError,
    NotRegistered,
    Retry,
    SoftTimeLimitExceeded,
)
from liteq.celery.options import CALL_REFUSED, CALL_SILENT, TASK_REFUSED, TASK_SILENT, TASK_WITHOUT_EFFECT
from liteq.celery.request import ABSENT_ATTRIBUTES as ABSENT_FIELDS
from liteq.celery.signals import setup_logging
from liteq.celery.utils.log import get_task_logger

Make = Callable[..., Celery]


def add(x: int, y: int = 0) -> int:
    """Add two numbers."""
    return x + y


@pytest.fixture
def eager(make: Make) -> Celery:
    return make(task_always_eager=True)


# ---- options -----------------------------------------------------------------------------------------


def test_a_task_is_a_function_with_its_name_and_its_options(make: Make):
    app = make()
    task = app.task(name="sum", queue="quick", max_retries=None, default_retry_delay=5, priority=3)(add)

    assert (task.name, task(1, 2), task.max_retries, task.__doc__) == ("sum", 3, None, "Add two numbers.")
    registered = app.queue.tasks["sum"]
    assert (registered.queue_name, registered.priority) == ("quick", 3)
    assert (registered.policy.max_retries, registered.policy.default_retry_delay) == (None, 5.0)


@pytest.mark.parametrize("option", TASK_SILENT)
def test_options_of_tasks_that_mean_nothing_here_are_accepted(make: Make, option: str):
    make().task(**{option: True})(add)


@pytest.mark.parametrize("option", TASK_WITHOUT_EFFECT)
def test_options_of_tasks_whose_lack_harms_nobody_warn(make: Make, option: str):
    with pytest.warns(LiteqWarning, match=f"The task option {option} has no effect"):
        make().task(**{option: (KeyError,)})(add)


@pytest.mark.parametrize("option", sorted({*TASK_REFUSED} - {"typing"}))
def test_options_of_tasks_whose_lack_would_be_noticed_are_refused_at_once(make: Make, option: str):
    with pytest.raises(NotSupportedError, match=option):
        make().task(**{option: 1})(add)
    make().task(**{option: None}, typing=True)(add)


def test_a_misspelt_option_is_refused_at_once_with_the_nearest(make: Make):
    with pytest.raises(ConfigurationError, match="Did you mean 'max_retries'"):
        make().task(max_retry=1)(add)
    with pytest.raises(ConfigurationError, match="max_retries must be an integer"):
        make().task(max_retries="many")(add)
    with pytest.raises(NotSupportedError, match="typing=False"):
        make().task(typing=False)(add)


def test_two_tasks_of_one_name_are_refused_and_one_that_is_made_again_is_not(make: Make):
    app = make()
    app.task(name="one")(add)
    app.task(name="one")(add)

    with pytest.raises(DuplicateTaskError, match="'one'"):
        app.task(name="one")(lambda: None)


def test_settings_are_the_defaults_of_tasks(make: Make):
    app = make(task_ignore_result=True, task_time_limit=9, task_default_priority=4)
    plain = app.task(add)
    own = app.task(name="own", ignore_result=False, time_limit=1, priority=0)(add)
    tasks = app.queue.tasks

    assert [(t.ignore_result, t.time_limit, t.priority) for t in (tasks[plain.name], tasks[own.name])] == [
        (True, 9.0, 4),
        (False, 1.0, 0),
    ]


def test_the_soft_time_limit_of_the_settings_is_for_tasks_that_it_can_reach(make: Make):
    app = make(task_soft_time_limit=5)
    plain = app.task(add)
    own = app.task(name="own", soft_time_limit=1)(add)
    short = app.task(name="short", time_limit=2)(add)

    assert [app.queue.tasks[task.name].soft_time_limit for task in (plain, own, short)] == [5.0, 1.0, None]
    assert SoftTimeLimitExceeded is liteq.SoftTimeLimitExceeded


@pytest.mark.parametrize(
    "routes",
    [
        {"shop.*": {"queue": "shop"}},
        {"shop.pay": "shop"},
        [("other.*", "other"), ("shop.*", {"queue": "shop", "priority": 0})],
    ],
)
def test_tasks_are_routed_unless_they_say_where(make: Make, routes: Any):
    app = make(task_routes=routes)
    app.task(name="shop.pay")(add)
    app.task(name="shop.own", queue="own")(add)
    app.task(name="rest")(add)

    assert [app.queue.tasks[name].queue_name for name in ("shop.pay", "shop.own", "rest")] == [
        "shop",
        "own",
        "celery",
    ]
    sent = app.queue.transport.get((app.send_task("shop.pay", (1,)).id,))[0]
    assert sent is not None
    assert sent.queue == "shop"


@pytest.mark.parametrize("routes", [lambda name: None, {"a": {"exchange": "b"}}, "shop"])
def test_routes_of_other_kinds_are_refused(make: Make, routes: Any):
    app = make(task_routes=routes)
    app.task(name="a")(add)
    with pytest.raises(ConfigurationError, match="task_routes"):
        _ = app.queue


# ---- calls -------------------------------------------------------------------------------------------


def test_times_without_a_zone_are_utc_whatever_the_settings_say(make: Make):
    app = make(timezone="Asia/Shanghai", enable_utc=False)
    task = app.task(add)
    when = datetime.now(UTC).replace(microsecond=0) + timedelta(hours=1)
    naive = when.replace(tzinfo=None)
    job = task.apply_async((1, 2), eta=naive, expires=naive + timedelta(hours=1))
    found = app.queue.transport.get((job.id,))[0]

    assert found is not None
    assert (found.eta, found.expires) == (when.timestamp(), when.timestamp() + 3600)


def test_options_of_calls_that_mean_nothing_here_are_accepted(make: Make):
    task = make().task(add)
    task.apply_async((1, 2), **dict.fromkeys(CALL_SILENT, 1), link=None, routing_key=None)

    with pytest.raises(NotSupportedError, match="link"):
        task.apply_async((1, 2), link=task.s())


@pytest.mark.parametrize("option", CALL_REFUSED)
def test_options_of_calls_whose_lack_would_be_noticed_are_refused_at_once(make: Make, option: str):
    task = make().task(add)
    with pytest.raises(NotSupportedError, match=f"{option}"):
        task.apply_async((1, 2), **{option: "mail"})
    task.apply_async((1, 2), **{option: None})


def test_a_negative_countdown_is_refused(make: Make):
    with pytest.raises(ConfigurationError, match="countdown"):
        make().task(add).apply_async((1, 2), countdown=-1)


def test_apply_runs_the_task_here_and_delay_does_in_an_eager_application(make: Make):
    app = make()

    @app.task
    def divide(x: int, y: int) -> float:
        return x / y

    assert divide.apply((4, 2)).get() == 2.0
    failed = divide.apply(args=(1, 0))
    assert failed.failed()
    assert isinstance(failed.result, ZeroDivisionError)
    with pytest.raises(ZeroDivisionError):
        divide.apply((1, 0), throw=True)
    app.conf.task_always_eager = True
    assert divide.delay(1, 0).failed()
    app.conf.task_eager_propagates = True
    with pytest.raises(ZeroDivisionError):
        divide.delay(1, 0)


# ---- the running job ---------------------------------------------------------------------------------


def test_a_bound_task_knows_its_job_retries_it_and_reports(eager: Celery):
    seen = []

    @eager.task(bind=True, max_retries=2)
    def stubborn(self: Any, x: int) -> int:
        seen.append((self.request.retries, self.request.id is None, self.request.called_directly))
        if self.request.retries < 2:
            raise self.retry(args=(x,), kwargs={}, exc=KeyError("again"), countdown=0)
        self.update_state(state="PROGRESS", meta={"x": x})
        return self.max_retries

    assert stubborn.delay(1).get() == 2
    assert seen == [(0, False, False), (1, False, False), (2, False, False)]
    with pytest.raises(KeyError):
        stubborn(1)
    assert seen[-1] == (0, True, True)


def test_a_request_has_what_celerys_has(eager: Celery):
    @eager.task(bind=True, queue="mail", priority=3)
    def look(self: Any) -> dict[str, Any]:
        found = self.request
        nothing = ("group", "group_index", "chord", "chain", "callbacks", "errbacks", "reply_to")
        assert [getattr(found, name) for name in nothing] == [None] * len(nothing)
        assert (found.correlation_id, found.utc, found.task) == (found.id, True, self.name)
        return found.delivery_info

    info = {"exchange": "", "routing_key": "mail", "priority": 3, "redelivered": False}
    assert look.delay().get() == info
    assert isinstance(look.request, liteq.Request)
    assert look.request.correlation_id is None


@pytest.mark.parametrize("name", ABSENT_FIELDS)
def test_what_a_request_lacks_is_said_in_a_sentence(make: Make, name: str):
    found = make().task(add).request
    with pytest.raises(NotSupportedError, match=f"liteq has no Request.{name}: "):
        getattr(found, name)
    assert not hasattr(found, name)


def test_a_retry_with_no_attempt_left_fails_as_in_celery(eager: Celery):
    @eager.task(bind=True, max_retries=0)
    def hopeless(self: Any) -> None:
        self.retry()

    with pytest.raises(MaxRetriesExceededError, match="Can't retry"):
        hopeless.delay().get()
    with pytest.raises(Retry):
        hopeless()


def test_a_retry_with_other_arguments_is_refused(eager: Celery):
    @eager.task(bind=True)
    def other(self: Any, x: int) -> None:
        self.retry(args=(x + 1,), countdown=0)

    with pytest.raises(NotSupportedError, match=r"retry.. does not take args"):
        other.delay(1).get()


@pytest.mark.parametrize("option", ["queue", "priority", "expires", "headers"])
def test_a_retry_with_options_is_refused(eager: Celery, option: str):
    @eager.task(bind=True)
    def other(self: Any) -> None:
        self.retry(**{option: 1})

    with pytest.raises(NotSupportedError, match=f"does not take {option}"):
        other.delay().get()


# ---- classes -----------------------------------------------------------------------------------------


class Greeting(Task):
    """Greets."""

    greeting = "Hello"
    max_retries = 9
    queue = "door"

    def run(self, name: str, *, mark: str = "!") -> str:
        return f"{self.greeting} {name}{mark} {self.request.called_directly}"


def test_a_class_of_tasks_is_registered_as_an_instance_or_as_a_class(eager: Celery):
    greet = eager.register_task(Greeting())

    assert greet.name == f"{__name__}.Greeting"
    assert greet.delay("yuan").get() == "Hello yuan! False"
    assert greet("yuan", mark="?") == "Hello yuan? True"
    registered = eager.queue.tasks[greet.name]
    assert (registered.queue_name, registered.policy.max_retries) == ("door", 9)
    assert eager.register_task(Greeting).greeting == "Hello"


def test_a_class_that_is_not_registered_or_no_task_says_so(eager: Celery):
    with pytest.raises(NotRegistered, match=r"app.register_task"):
        Greeting().delay("yuan")
    with pytest.raises(ConfigurationError, match="no method run"):
        eager.register_task(Task())
    with pytest.raises(ConfigurationError, match="takes a task"):
        eager.register_task(add)


class Counting(Task):
    calls = 0
    extra = None

    @property
    def connection(self) -> str:
        return "open"

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        type(self).calls += 1
        return super().__call__(*args, **kwargs)


def test_a_base_class_has_what_its_tasks_share_and_may_wrap_their_calls(eager: Celery):
    @eager.task(base=Counting, bind=True, extra=5)
    def use(self: Any, x: int) -> list[Any]:
        return [x, self.connection, self.extra, self.request.id is not None]

    assert use.delay(1).get() == [1, "open", 5, True]
    assert type(use).calls == 1
    assert isinstance(use, Counting)
    with pytest.raises(ConfigurationError, match="base must be a class"):
        eager.task(base=int)(add)


def test_a_class_of_the_applications_own_is_its_tasks_class(make: Make):
    app = make(task_cls=Counting)

    class Own(app.Task):  # type: ignore[name-defined]
        def run(self) -> str:
            return self.connection

    assert app.register_task(Own()).app is app
    assert app.task(add).connection == "open"


@pytest.mark.parametrize("hook", HOOKS)
def test_a_class_with_a_hook_that_nobody_would_call_is_refused(hook: str):
    with pytest.raises(NotSupportedError, match=f"{hook}.. would never be called"):
        type("Hooked", (Task,), {hook: lambda self, *args: None})


@pytest.mark.parametrize("name", ABSENT_ATTRIBUTES)
def test_what_tasks_lack_is_said_in_a_sentence(make: Make, name: str):
    with pytest.raises(NotSupportedError, match=f"no .*{name}: "):
        getattr(make().task(add), name)


def test_what_a_task_logs_goes_where_the_workers_lines_go():
    logger = get_task_logger("some.module")

    assert logger.name == "some.module"
    assert logger.parent is not None
    assert logger.parent.name == "liteq.task"
    assert get_task_logger("some.module") is logger


def test_the_signal_by_which_a_program_sets_logging_up_is_liteqs_own():
    assert setup_logging is liteq.signals.setup_logging


def test_results_that_are_not_kept_in_a_file_are_the_same_to_ask(tmp_path: Path, eager: Celery):
    result = eager.task(add).delay(1, 2)

    assert (result.status, result.get(timeout=1, interval=0.1), result.successful()) == ("SUCCESS", 3, True)
    with pytest.raises(NotSupportedError, match=r"no EagerResult.children"):
        _ = result.children
    with pytest.raises(NotSupportedError, match="calls nothing"):
        result.get(callback=print)
    assert list(tmp_path.glob("*.db")) == []
