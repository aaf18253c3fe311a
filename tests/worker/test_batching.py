"""A worker claims short tasks in batches and long ones alone, by what it has learned of them."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from liteq.worker.batching import BATCH_BUDGET, Durations, Stream

seconds = st.floats(min_value=0, max_value=1e6)
histories = st.lists(seconds, max_size=60)


def learned(history: list[float]) -> Durations:
    durations = Durations(["app.add"])
    for taken in history:
        durations.observe("app.add", taken)
    return durations


def test_the_first_job_of_a_task_is_claimed_alone() -> None:
    assert Durations(["app.add"]).cost("app.add") == BATCH_BUDGET


def test_a_task_nobody_named_is_claimed_alone() -> None:
    assert Durations([]).cost("app.add") == BATCH_BUDGET


def test_the_costs_of_a_claim_name_exactly_the_known_tasks() -> None:
    assert Durations(["app.add", "app.mul"]).costs == {"app.add": BATCH_BUDGET, "app.mul": BATCH_BUDGET}


@given(histories)
def test_a_cost_is_always_within_the_budget(history: list[float]) -> None:
    assert 1 <= learned(history).cost("app.add") <= BATCH_BUDGET


@given(histories, st.floats(min_value=BATCH_BUDGET / 1e6, max_value=1e6))
def test_a_task_that_has_just_taken_the_whole_budget_is_claimed_alone(
    history: list[float], long: float
) -> None:
    assert learned([*history, long]).cost("app.add") == BATCH_BUDGET


@given(histories, seconds)
def test_a_longer_job_counts_in_full_at_once(history: list[float], taken: float) -> None:
    assert learned([*history, taken]).cost("app.add") >= min(BATCH_BUDGET, int(taken * 1_000_000))


@given(histories, seconds)
def test_a_shorter_job_lowers_the_cost_by_a_tenth_of_the_difference_at_most(
    history: list[float], taken: float
) -> None:
    before = learned(history).cost("app.add")
    after = learned([*history, taken]).cost("app.add")
    if history:
        assert after >= int(before * 0.9) - 1


@given(histories, st.floats(min_value=1e-5, max_value=0.001))
def test_after_any_history_a_task_that_stays_short_is_soon_claimed_in_batches(
    history: list[float], short: float
) -> None:
    assert learned([*history, *[short] * 80]).cost("app.add") <= 2 * int(short * 1_000_000) + 100


@pytest.mark.parametrize("outlier", [0.5, 30.0, 86400.0])
def test_one_outlier_is_forgotten_within_25_short_jobs_however_long_it_was(outlier: float) -> None:
    assert learned([0.0001, outlier, *[0.0001] * 25]).cost("app.add") < BATCH_BUDGET


@given(histories)
def test_what_one_task_takes_says_nothing_about_another(history: list[float]) -> None:
    durations = Durations(["app.add", "app.mul"])
    for taken in history:
        durations.observe("app.add", taken)
    assert durations.cost("app.mul") == BATCH_BUDGET


def test_the_costs_follow_what_is_learned_later() -> None:
    durations = Durations(["app.add"])
    costs = durations.costs
    durations.observe("app.add", 0.0005)
    assert costs["app.add"] == 500


# ---- streams -------------------------------------------------------------------------------------


def after(*turns: tuple[int, float]) -> Stream:
    stream = Stream()
    for claimed, taken in turns:
        stream.observe(claimed, taken)
    return stream


def test_small_batches_of_short_jobs_one_after_another_are_a_stream() -> None:
    assert not after().flows
    assert not after((1, 0.0001)).flows
    assert after((1, 0.0001), (5, 0.0005)).flows


@pytest.mark.parametrize(
    "turn",
    [
        pytest.param((0, 0.0), id="nothing was ready"),
        pytest.param((128, 0.001), id="a full batch"),
        pytest.param((1, BATCH_BUDGET / 1e6), id="a long job"),
    ],
)
def test_a_stream_ends_when(turn: tuple[int, float]) -> None:
    assert not after((1, 0.0001), (1, 0.0001), (1, 0.0001), turn).flows
