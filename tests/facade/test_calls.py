"""Calling a task: what is refused before anything is stored, and what is stored."""

from __future__ import annotations

import inspect
import time
from datetime import UTC, datetime, timedelta, timezone
from functools import wraps
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

import liteq
from liteq import ConfigurationError, NotSupportedError, Queue
from liteq.calls.options import JobOptions, decode_options, encode_options
from liteq.codec import decode_call, get_codec
from liteq.errors import DecodingError, SignatureError
from liteq.job import JobFilter


def stored(queue: Queue) -> list:
    return queue.transport.find(JobFilter())


def only(queue: Queue):
    (job,) = stored(queue)
    return job


@pytest.fixture
def add(queue):
    @queue.task
    def add(x: int, y: int = 2, *, note: str = "") -> int:
        return x + y

    return add


# ---- arguments -----------------------------------------------------------------------------------------


def test_a_plain_call_runs_the_function_and_stores_nothing(queue, add):
    assert add(1, 2) == 3
    assert stored(queue) == []


def test_delay_stores_the_arguments_as_they_were_given(queue, add):
    result = add.delay(1, note="n")
    job = only(queue)
    assert (job.id, job.task, job.state) == (result.id, add.name, "PENDING")
    assert decode_call(add.codec, job.payload) == ([1], {"note": "n"})


@pytest.mark.parametrize(
    ("args", "kwargs"), [((), {}), ((1, 2, 3), {}), ((1,), {"x": 2}), ((1,), {"z": 3}), ((), {"y": 3})]
)
def test_arguments_that_do_not_fit_are_refused_and_nothing_is_stored(queue, add, args, kwargs):
    with pytest.raises(liteq.SignatureError, match="add") as refused:
        add.delay(*args, **kwargs)
    assert isinstance(refused.value, TypeError)
    assert stored(queue) == []


def _plain(a, b=1): ...
def _starred(a, *rest): ...
def _named(a, *, k): ...
def _optional(a=1, *, k=2): ...
def _only(a, /, b, **more): ...
def _none(): ...


FUNCTIONS = [_plain, _starred, _named, _optional, _only, _none]


@given(
    function=st.sampled_from(FUNCTIONS),
    args=st.lists(st.integers(0, 3), max_size=4),
    kwargs=st.dictionaries(st.sampled_from(["a", "b", "k", "z"]), st.integers(0, 3), max_size=3),
)
def test_arguments_are_taken_exactly_when_python_would_take_them(function, args, kwargs):
    task = Queue("memory://", eager=True).task(name="t")(function)
    try:
        inspect.signature(function).bind(*args, **kwargs)
    except TypeError:
        with pytest.raises(liteq.SignatureError):
            task.new_job(args, kwargs)
    else:
        task.new_job(args, kwargs)


def test_a_bound_task_is_called_without_its_self(queue):
    @queue.task(bind=True)
    def scale(self, x, factor=2):
        return x * factor

    scale.delay(3)
    assert scale(3) == 6
    with pytest.raises(liteq.SignatureError):
        scale.delay(1, 2, 3)


def test_a_bound_task_needs_a_parameter_for_itself(queue):
    with pytest.raises(ConfigurationError, match="bind=True"):

        @queue.task(bind=True)
        def nothing(*, x): ...


def test_a_decorated_function_is_checked_against_what_it_wraps(queue):
    def loud(function):
        @wraps(function)
        def wrapper(*args, **kwargs):
            return function(*args, **kwargs)

        return wrapper

    @queue.task
    @loud
    def one(x):
        return x

    with pytest.raises(liteq.SignatureError):
        one.delay(1, 2)


def test_an_argument_that_cannot_be_encoded_is_named_with_its_task(queue, add):
    with pytest.raises(liteq.EncodingError, match="'y'") as refused:
        add.delay(1, object())
    assert add.name in str(refused.value)
    assert stored(queue) == []


def test_a_payload_over_the_limit_is_refused_with_task_and_size():
    with Queue("memory://", max_payload=1000) as queue:

        @queue.task
        def keep(data: bytes) -> None: ...

        keep.delay(b"x" * 900)
        with pytest.raises(liteq.PayloadTooLargeError, match=r"keep.* 2,0\d\d bytes.*1,000"):
            keep.delay(b"x" * 2000)
        assert len(stored(queue)) == 1


@pytest.mark.parametrize(("args", "kwargs"), [("ab", None), (5, None), (None, [1]), ((1,), {2: 3})])
def test_apply_async_takes_a_sequence_and_a_dict_only(add, args, kwargs):
    with pytest.raises(liteq.SignatureError):
        add.apply_async(args, kwargs)


# ---- what can be a task ----------------------------------------------------------------------------------


def test_generator_functions_are_refused_with_a_sentence(queue):
    def many():
        yield 1

    async def many_later():
        yield 1

    for function in (many, many_later):
        with pytest.raises(NotSupportedError, match="generator"):
            queue.task(function)


@pytest.mark.parametrize("thing", [5, "f", int])
def test_only_functions_can_be_tasks(queue, thing):
    with pytest.raises(ConfigurationError, match="function"):
        queue.task(thing)


def test_a_task_is_not_made_a_task_twice(queue, add):
    with pytest.raises(ConfigurationError, match="already"):
        queue.task(add)


def test_a_task_looks_like_its_function(add):
    assert add.__name__ == "add"
    assert list(inspect.signature(add).parameters) == ["x", "y", "note"]


# ---- options ---------------------------------------------------------------------------------------------


def test_options_of_a_call_win_over_the_tasks_own(queue):
    @queue.task(queue="slow", priority=1, ignore_result=True, expires=100, max_crashes=0, result_expires=9)
    def work() -> None: ...

    work.delay()
    mine = only(queue)
    assert (mine.queue, mine.priority, mine.ignore_result, mine.max_crashes) == ("slow", 1, True, 0)
    assert mine.expires == pytest.approx(time.time() + 100, abs=5)
    queue.transport.purge(None, time.time())
    work.apply_async(queue="fast", priority=-7, ignore_result=False, expires=50, task_id="mine")
    (other,) = queue.transport.get(["mine"])
    assert other is not None
    assert (other.queue, other.priority, other.ignore_result) == ("fast", -7, False)
    assert other.expires == pytest.approx(time.time() + 50, abs=5)


def test_countdown_counts_from_the_call(queue, add):
    later = add.options(countdown=30)
    later.delay(1)
    assert only(queue).eta == pytest.approx(time.time() + 30, abs=5)


def test_a_time_without_a_zone_is_in_the_queues_zone():
    with Queue("memory://", timezone=timezone(timedelta(hours=5))) as queue:

        @queue.task
        def work() -> None: ...

        work.options(eta=datetime(2100, 1, 1, 12)).delay()
        assert only(queue).eta == datetime(2100, 1, 1, 7, tzinfo=UTC).timestamp()


def test_a_time_with_a_zone_keeps_it(queue, add):
    eta = datetime(2100, 1, 1, tzinfo=timezone(timedelta(hours=-3)))
    add.options(eta=eta, expires=eta - timedelta(hours=1)).delay(1)
    assert (only(queue).eta, only(queue).expires) == (eta.timestamp(), eta.timestamp() - 3600)


@pytest.mark.parametrize(
    "options",
    [
        {"countdown": -1},
        {"countdown": float("nan")},
        {"countdown": float("inf")},
        {"countdown": True},
        {"countdown": "5"},
        {"countdown": 1e12},
        {"expires": -0.1},
        {"expires": timedelta(seconds=-1)},
        {"expires": "tomorrow"},
        {"eta": 5.0},
        {"eta": datetime(2100, 1, 1), "countdown": 5},
        {"priority": 32768},
        {"priority": -32769},
        {"priority": 1.0},
        {"priority": True},
        {"queue": ""},
        {"queue": "q" * 201},
        {"queue": 5},
        {"queue": "\ud800"},
        {"task_id": ""},
        {"task_id": "i" * 201},
        {"task_id": "a\0b"},
        {"ignore_result": 1},
        {"time_limit": 0},
        {"time_limit": -5},
        {"headers": [1]},
        {"headers": {1: 2}},
    ],
    ids=repr,
)
def test_a_value_that_an_option_cannot_have_is_refused_and_nothing_is_stored(queue, add, options):
    name = next(iter(options))
    with pytest.raises(ConfigurationError, match=name):
        add.apply_async((1,), **options)
    with pytest.raises(ConfigurationError, match=name):
        add.options(**options)
    assert stored(queue) == []


def test_headers_that_cannot_be_encoded_are_refused(queue, add):
    with pytest.raises(liteq.EncodingError, match="headers"):
        add.options(headers={"a": object()})


def test_an_option_given_as_none_is_an_option_not_given(queue, add):
    names = ["countdown", "eta", "expires", "queue", "priority", "task_id", "headers"]
    names += ["time_limit", "soft_time_limit"]
    add.apply_async((1,), **dict.fromkeys(names))
    assert only(queue).queue == "default"


def test_an_unknown_option_is_refused_with_the_nearest_name(add):
    with pytest.raises(ConfigurationError, match=r"'countdwn'.*'countdown'"):
        add.apply_async((1,), countdwn=5)


@pytest.mark.parametrize("option", ["link", "link_error", "retry_policy"])
def test_an_option_of_celerys_that_is_not_built_is_refused_by_name(queue, add, option):
    with pytest.raises(NotSupportedError, match=f"'{option}'"):
        add.apply_async((1,), **{option: 1})
    assert stored(queue) == []


def test_options_can_be_added_to_options(queue, add):
    add.options(priority=3, queue="a").options(queue="b").apply_async((1,), priority=4)
    assert (only(queue).queue, only(queue).priority) == ("b", 4)


def test_the_same_task_id_returns_the_unfinished_job_and_stores_nothing_new(queue, add):
    first = add.apply_async((1,), task_id="once")
    second = add.apply_async((2,), task_id="once")
    assert first == second
    assert decode_call(add.codec, only(queue).payload) == ([1], {})


@given(
    st.builds(
        JobOptions,
        time_limit=st.none() | st.floats(0.001, 1e9),
        headers=st.dictionaries(st.text(), st.none() | st.integers() | st.text() | st.binary()),
        root_id=st.none() | st.text(min_size=1),
        parent_id=st.none() | st.text(min_size=1),
        soft_time_limit=st.none() | st.floats(0.001, 1e9),
    )
)
def test_the_options_that_travel_with_a_job_come_out_as_they_went_in(options):
    assert decode_options(encode_options(options)) == options


@pytest.mark.parametrize(
    "fields",
    [
        {"t": "abc"},
        {"t": True},
        {"t": 0},
        {"t": -1.0},
        {"t": float("inf")},
        {"t": float("nan")},
        {"t": 2**70},
        {"s": "abc"},
        {"s": 0},
        {"h": 1},
        {"h": {1: "a"}},
        {"r": 5},
        {"p": b"id"},
        [],
        None,
    ],
    ids=repr,
)
def test_options_that_no_call_can_have_are_refused_when_they_are_read(fields: object) -> None:
    with pytest.raises(DecodingError):
        decode_options(get_codec("msgpack").encode(fields))


def test_a_job_with_nothing_to_say_carries_no_options(queue, add):
    add.delay(1)
    assert only(queue).options is None
    assert encode_options(JobOptions()) is None


def test_time_limits_and_headers_travel_with_the_job(tmp_path):
    with Queue(tmp_path / "queue.db") as queue:
        queue.task(name="t")(lambda: None).apply_async(
            time_limit=2.5, soft_time_limit=1.5, headers={"trace": "t"}
        )
        options = decode_options(only(queue).options)
    assert (options.time_limit, options.soft_time_limit, options.headers) == (2.5, 1.5, {"trace": "t"})


# ---- the task's own options ------------------------------------------------------------------------------


def test_retry_options_become_the_tasks_policy(queue):
    @queue.task(
        max_retries=None,
        default_retry_delay=7,
        autoretry_for=[ValueError],
        dont_autoretry_for=UnicodeError,
        retry_backoff=3,
        retry_backoff_max=50,
        retry_jitter=False,
    )
    def work() -> None: ...

    policy = work.policy
    assert (policy.max_retries, policy.default_retry_delay, policy.retry_backoff) == (None, 7.0, 3.0)
    assert (policy.autoretry_for, policy.dont_autoretry_for) == ((ValueError,), (UnicodeError,))
    assert (policy.retry_backoff_max, policy.retry_jitter) == (50.0, False)


def test_retry_kwargs_are_another_way_to_say_it(queue):
    task = queue.task(name="t", retry_kwargs={"max_retries": 5, "countdown": 2})(lambda: None)
    assert (task.policy.max_retries, task.policy.default_retry_delay) == (5, 2.0)
    with pytest.raises(ConfigurationError, match="twice"):
        queue.task(max_retries=1, retry_kwargs={"max_retries": 5})
    with pytest.raises(ConfigurationError, match="'eta'"):
        queue.task(retry_kwargs={"eta": 5})


@pytest.mark.parametrize(
    "options",
    [
        {"max_retries": -1},
        {"max_retries": 1.5},
        {"max_retries": True},
        {"default_retry_delay": -1},
        {"autoretry_for": (5,)},
        {"autoretry_for": int},
        {"dont_autoretry_for": "ValueError"},
        {"retry_backoff": -1},
        {"retry_backoff": "yes"},
        {"retry_jitter": 1},
        {"retry_kwargs": 5},
        {"time_limit": 0},
        {"max_crashes": -1},
        {"expires": -1},
        {"priority": 99999},
        {"bind": "yes"},
        {"name": ""},
        {"queue": 5},
        {"serializer": "pickle"},
        {"serializer": 5},
        {"result_expires": -1},
    ],
    ids=repr,
)
def test_a_value_that_a_task_option_cannot_have_is_refused(queue, options):
    with pytest.raises(ConfigurationError, match=next(iter(options))):
        queue.task(**options)(test_a_job_with_nothing_to_say_carries_no_options)
    assert queue.tasks == {}


@pytest.mark.parametrize("option", ["rate_limit", "base", "acks_late"])
def test_a_task_option_of_celerys_that_is_not_built_is_refused_by_name(queue, option):
    with pytest.raises(NotSupportedError, match=f"'{option}'"):
        queue.task(**{option: 1})


def test_an_unknown_task_option_is_refused_with_the_nearest_name(queue):
    with pytest.raises(ConfigurationError, match=r"'max_retry'.*'max_retries'"):
        queue.task(max_retry=1)


def test_a_task_can_have_a_codec_of_its_own(queue):
    task = queue.task(name="t", serializer="json")(lambda x: x)
    task.delay(1)
    assert only(queue).codec == "json"


def test_a_task_that_another_program_has_is_enqueued_by_its_name(tmp_path: Path):
    with Queue(tmp_path / "queue.db", default_queue="post") as queue:
        result = queue.send_task("elsewhere.send", ["张三"], {"times": 2}, priority=3)

        job = queue.transport.get((result.id,))[0]
        assert job is not None
        assert (job.task, job.queue, job.priority, result.status) == ("elsewhere.send", "post", 3, "PENDING")
        assert decode_call(get_codec(job.codec), job.payload) == (["张三"], {"times": 2})


def test_a_task_of_this_program_is_known_by_its_name_with_its_options(tmp_path: Path):
    with Queue(tmp_path / "queue.db") as queue:

        @queue.task(name="known", queue="own")
        def known(x: int) -> int:
            return x

        job = queue.transport.get((queue.send_task("known", (1,)).id,))[0]
        assert job is not None
        assert job.queue == "own"
        with pytest.raises(SignatureError):
            queue.send_task("known")


def test_an_eager_queue_can_run_by_name_only_what_it_has():
    with Queue("memory://", eager=True) as queue, pytest.raises(NotSupportedError, match=r"'lost' here"):
        queue.send_task("lost")
