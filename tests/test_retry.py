from __future__ import annotations

import itertools
from functools import partial

import pytest
from hypothesis import given
from hypothesis import strategies as st

from liteq.retry import CRASH_DELAYS, RetryPolicy, backoff, crash_delay

retry_counts = st.integers(0, 5000)
draws = st.floats(0, 1, exclude_max=True)
factors = st.floats(1, 1e6)
caps = st.floats(0, 1e6)


def never_random() -> float:
    raise AssertionError("nothing was to be drawn at random")


@given(retries=retry_counts, factor=factors, cap=caps, draw=draws, jitter=st.booleans())
def test_a_backoff_lies_between_zero_and_its_maximum(
    retries: int, factor: float, cap: float, draw: float, jitter: bool
) -> None:
    delay = backoff(factor=factor, retries=retries, maximum=cap, jitter=jitter, random=lambda: draw)

    assert 0 <= delay <= cap


@given(retries=retry_counts, factor=factors, cap=caps)
def test_without_jitter_a_backoff_never_shrinks_from_retry_to_retry(
    retries: int, factor: float, cap: float
) -> None:
    earlier, later = (
        backoff(factor=factor, retries=count, maximum=cap, jitter=False, random=never_random)
        for count in (retries, retries + 1)
    )

    assert earlier <= later


@given(retries=st.integers(0, 40), factor=factors)
def test_without_jitter_a_backoff_doubles_until_its_maximum(retries: int, factor: float) -> None:
    delay = backoff(factor=factor, retries=retries, maximum=1e30, jitter=False, random=never_random)

    assert delay == factor * 2**retries


@given(retries=retry_counts, factor=factors, cap=caps)
def test_jitter_draws_whole_seconds_and_reaches_both_ends(retries: int, factor: float, cap: float) -> None:
    def jittered(draw: float) -> float:
        return backoff(factor=factor, retries=retries, maximum=cap, jitter=True, random=lambda: draw)

    whole = backoff(factor=factor, retries=retries, maximum=cap, jitter=False, random=never_random)
    assert jittered(0.0) == 0
    assert jittered(1 - 2**-53) == int(whole)


@given(retries=retry_counts, factor=factors, cap=caps, draw=draws)
def test_jitter_never_waits_longer_than_the_backoff_without_it(
    retries: int, factor: float, cap: float, draw: float
) -> None:
    whole = backoff(factor=factor, retries=retries, maximum=cap, jitter=False, random=never_random)
    part = backoff(factor=factor, retries=retries, maximum=cap, jitter=True, random=lambda: draw)

    assert part <= whole
    assert part == int(part)


def test_every_whole_second_can_be_drawn() -> None:
    drawn = {
        backoff(factor=1, retries=2, maximum=600, jitter=True, random=partial(float, share / 100))
        for share in range(100)
    }

    assert drawn == {0, 1, 2, 3, 4}


@given(retries=retry_counts, delay=st.floats(0, 1e6))
def test_without_backoff_every_retry_waits_for_the_default_delay(retries: int, delay: float) -> None:
    assert RetryPolicy(default_retry_delay=delay).delay(retries, never_random) == delay


def test_a_policy_waits_three_minutes_and_three_retries_by_default() -> None:
    policy = RetryPolicy()

    assert (policy.delay(0, never_random), policy.max_retries) == (180, 3)


@pytest.mark.parametrize(
    ("retry_backoff", "delays"),
    [(True, [1, 2, 4, 8]), (3, [3, 6, 12, 24]), (0.5, [1, 2, 4, 8]), (400, [400, 600, 600, 600])],
)
def test_a_policy_backs_off_by_its_factor_up_to_its_maximum(
    retry_backoff: float, delays: list[float]
) -> None:
    policy = RetryPolicy(retry_backoff=retry_backoff, retry_jitter=False)

    assert [policy.delay(retries, never_random) for retries in range(4)] == delays


def test_a_policy_that_backs_off_draws_its_delay_unless_told_not_to() -> None:
    assert RetryPolicy(retry_backoff=8).delay(0, lambda: 0.5) == 4


@given(max_retries=st.integers(0, 100), retries=st.integers(0, 200))
def test_retries_are_left_exactly_until_max_retries_were_made(max_retries: int, retries: int) -> None:
    assert RetryPolicy(max_retries=max_retries).has_retries_left(retries) is (retries < max_retries)


@given(retries=retry_counts)
def test_without_a_limit_a_retry_is_always_left(retries: int) -> None:
    assert RetryPolicy(max_retries=None).has_retries_left(retries)


@given(own=st.none() | st.integers(0, 10), asked=st.integers(0, 10), retries=st.integers(0, 20))
def test_the_limit_of_one_request_overrides_the_policy(own: int | None, asked: int, retries: int) -> None:
    assert RetryPolicy(max_retries=own).has_retries_left(retries, asked) is (retries < asked)


ERRORS: list[type[BaseException]] = [
    Exception,
    OSError,
    ConnectionError,
    ConnectionResetError,
    TimeoutError,
    ValueError,
    KeyError,
    KeyboardInterrupt,
]
some_errors = st.lists(st.sampled_from(ERRORS), unique=True, max_size=3).map(tuple)


@given(wanted=some_errors, unwanted=some_errors, error=st.sampled_from(ERRORS))
def test_an_error_is_retried_if_it_is_wanted_and_not_unwanted(
    wanted: tuple[type[BaseException], ...],
    unwanted: tuple[type[BaseException], ...],
    error: type[BaseException],
) -> None:
    policy = RetryPolicy(autoretry_for=wanted, dont_autoretry_for=unwanted)
    ancestors = set(error.__mro__)

    expected = not ancestors.isdisjoint(wanted) and ancestors.isdisjoint(unwanted)

    assert policy.retries_automatically(error) is expected


def test_no_error_is_retried_unless_it_is_named() -> None:
    assert not any(RetryPolicy().retries_automatically(error) for error in ERRORS)


def test_crashes_wait_a_quarter_of_a_second_then_two() -> None:
    assert [crash_delay(crashes) for crashes in (1, 2, 3, 50)] == [0.25, 2, 2, 2]
    assert all(earlier < later for earlier, later in itertools.pairwise(CRASH_DELAYS))
