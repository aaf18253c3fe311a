from __future__ import annotations

import random
from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from liteq.job import Claim, Transition
from liteq.lifecycle import (
    TRANSITIONS,
    Crashed,
    Event,
    Ignored,
    Lost,
    Outcome,
    Raised,
    Rejected,
    RetryAsked,
    Returned,
    Succeeded,
    decide,
)
from liteq.retry import RetryPolicy
from liteq.states import FAILURE, PENDING, READY_STATES, RETRY, STARTED, SUCCESS, UNREADY_STATES, State

NOW = 1_700_000_000.0

counts = st.integers(0, 20)
times = st.floats(1e9, 3e9)
draws = st.floats(0, 1, exclude_max=True)
blobs = st.binary(max_size=8)
reasons = st.text(max_size=20)


def make_claim(
    retries: int = 0,
    crashes: int = 0,
    max_crashes: int = 3,
    ignore_result: bool = False,
    unblamed: int = 0,
    due: float = NOW - 5,
) -> Claim:
    """Return a claim; `unblamed` attempts before it ended without a retry or a crash."""
    return Claim(
        seq=7,
        token=11,
        id="the job",
        task="add",
        queue="default",
        payload=b"",
        codec="msgpack",
        priority=0,
        due=due,
        eta=None,
        expires=None,
        attempts=1 + retries + crashes + unblamed,
        retries=retries,
        crashes=crashes,
        max_crashes=max_crashes,
        ignore_result=ignore_result,
        options=None,
    )


claims = st.builds(
    make_claim,
    retries=counts,
    crashes=counts,
    max_crashes=counts,
    ignore_result=st.booleans(),
    unblamed=counts,
    due=times,
)
policies = st.builds(
    RetryPolicy,
    max_retries=st.none() | counts,
    default_retry_delay=st.floats(0, 1e5),
    retry_backoff=st.booleans() | st.floats(0.1, 1e4),
    retry_backoff_max=st.floats(0, 1e5),
    retry_jitter=st.booleans(),
)
raised = st.builds(Raised, blobs, reasons, policies, st.booleans())
lost = st.builds(Lost, st.booleans(), blobs, reasons)
outcomes: st.SearchStrategy[Outcome] = st.one_of(
    st.builds(Succeeded, st.none() | blobs),
    raised,
    st.builds(RetryAsked, blobs, reasons, times),
    st.builds(Rejected, blobs, reasons, st.booleans()),
    st.builds(Ignored, st.none() | st.sampled_from(["PROGRESS", "PARKED"]), st.none() | blobs),
    st.builds(Crashed, blobs, reasons),
    st.builds(Returned),
    lost,
)


def half() -> float:
    return 0.5


def counts_of(record: Claim | Transition) -> tuple[int, int, int]:
    return (record.attempts, record.retries, record.crashes)


# ---- the table -----------------------------------------------------------------------------------


def test_only_an_event_of_its_own_leaves_a_state() -> None:
    assert {state for state, _ in TRANSITIONS} == {*UNREADY_STATES, State.FAILURE, State.REVOKED}
    assert not any(state == SUCCESS for state, _ in TRANSITIONS)


def test_every_state_but_the_first_can_be_reached_and_every_event_happens() -> None:
    reached, found = {PENDING}, {PENDING}
    while found:
        found = {to for (state, _), to in TRANSITIONS.items() if state in reached} - reached
        reached |= found

    assert reached == set(State)
    assert {event for _, event in TRANSITIONS} == set(Event)


def test_a_job_that_may_still_run_always_has_a_way_to_an_end() -> None:
    for start in UNREADY_STATES:
        reached = {start}
        for _ in State:
            reached |= {to for (state, _), to in TRANSITIONS.items() if state in reached}
        assert reached & READY_STATES


# ---- every decision ------------------------------------------------------------------------------


@given(job=claims, outcome=outcomes, now=times, draw=draws)
def test_every_decision_is_in_the_table_or_a_state_that_the_task_set_itself(
    job: Claim, outcome: Outcome, now: float, draw: float
) -> None:
    to = decide(job, outcome, now, lambda: draw)

    allowed = {str(state) for (origin, _), state in TRANSITIONS.items() if origin == STARTED}
    if isinstance(outcome, Ignored) and outcome.state is not None:
        allowed = {outcome.state}
    assert to.state in allowed


@given(job=claims, outcome=outcomes, now=times, draw=draws)
def test_a_decision_settles_the_very_lease_that_was_given(
    job: Claim, outcome: Outcome, now: float, draw: float
) -> None:
    to = decide(job, outcome, now, lambda: draw)

    assert (to.seq, to.token, to.id, to.at) == (job.seq, job.token, job.id, now)


@given(job=claims, outcome=outcomes, now=times, draw=draws)
def test_a_job_waits_in_an_unready_state_and_is_finished_in_any_other(
    job: Claim, outcome: Outcome, now: float, draw: float
) -> None:
    to = decide(job, outcome, now, lambda: draw)

    assert (to.due is not None) is (to.state in UNREADY_STATES)
    assert to.keep or (to.due is None and to.state == SUCCESS)


@given(job=claims, outcome=outcomes, now=times, draw=draws)
def test_counts_never_run_away(job: Claim, outcome: Outcome, now: float, draw: float) -> None:
    to = decide(job, outcome, now, lambda: draw)

    assert to.attempts in (job.attempts, job.attempts - 1)
    assert to.attempts >= 0
    assert (to.retries - job.retries) + (to.crashes - job.crashes) in (0, 1)
    assert to.retries >= job.retries
    assert to.crashes >= job.crashes


@given(job=claims, outcome=outcomes, now=times, seed=st.integers())
def test_the_same_facts_give_the_same_decision(job: Claim, outcome: Outcome, now: float, seed: int) -> None:
    before = random.getstate()

    first, second = (decide(job, outcome, now, random.Random(seed).random) for _ in range(2))

    assert first == second
    assert random.getstate() == before


@given(job=claims, outcome=outcomes, now=times)
def test_a_failure_always_says_why(job: Claim, outcome: Outcome, now: float) -> None:
    to = decide(job, outcome, now, half)

    if to.state in (FAILURE, RETRY):
        assert isinstance(outcome, Raised | RetryAsked | Rejected | Crashed | Lost)
        assert (to.result, to.reason) == (outcome.error, outcome.reason)


# ---- success, and what a task asks for -----------------------------------------------------------


@given(job=claims, result=st.none() | blobs)
def test_a_success_keeps_its_result_unless_it_is_to_be_ignored(job: Claim, result: bytes | None) -> None:
    to = decide(job, Succeeded(result), NOW, half)

    assert (to.state, to.result, to.keep, to.reason) == (SUCCESS, result, not job.ignore_result, None)
    assert counts_of(to) == counts_of(job)


@given(job=claims, due=times)
def test_an_asked_retry_is_due_when_the_task_said_and_counts(job: Claim, due: float) -> None:
    to = decide(job, RetryAsked(b"error", "busy", due), NOW, half)

    assert (to.state, to.due) == (RETRY, due)
    assert counts_of(to) == (job.attempts, job.retries + 1, job.crashes)


@given(job=claims)
def test_a_rejected_job_fails_without_a_retry(job: Claim) -> None:
    to = decide(job, Rejected(b"error", "no"), NOW, half)

    assert (to.state, to.due, to.keep) == (FAILURE, None, True)
    assert counts_of(to) == counts_of(job)


@given(job=claims)
def test_a_job_rejected_with_requeue_waits_behind_those_who_are_ready_now(job: Claim) -> None:
    to = decide(job, Rejected(b"error", "not now", requeue=True), NOW, half)

    assert (to.state, to.due) == (PENDING, NOW)
    assert counts_of(to) == counts_of(job)


@given(job=claims)
def test_an_ignored_job_leaves_nothing(job: Claim) -> None:
    assert not decide(job, Ignored(), NOW, half).keep


@given(job=claims, result=st.none() | blobs)
def test_an_ignored_job_keeps_the_state_that_it_set(job: Claim, result: bytes | None) -> None:
    to = decide(job, Ignored("PROGRESS", result), NOW, half)

    assert (to.state, to.due, to.result, to.keep) == ("PROGRESS", None, result, True)


# ---- retries -------------------------------------------------------------------------------------


@given(job=claims, outcome=raised, draw=draws)
def test_an_error_is_retried_while_its_policy_allows(job: Claim, outcome: Raised, draw: float) -> None:
    to = decide(job, outcome, NOW, lambda: draw)

    limit = outcome.policy.max_retries
    if outcome.automatic and (limit is None or job.retries < limit):
        assert (to.state, to.due) == (RETRY, NOW + outcome.policy.delay(job.retries, lambda: draw))
        assert counts_of(to) == (job.attempts, job.retries + 1, job.crashes)
    else:
        assert (to.state, to.due, to.keep) == (FAILURE, None, True)
        assert counts_of(to) == counts_of(job)


@given(job=claims, outcome=raised, draw=draws)
def test_a_retry_is_never_due_before_now_nor_after_the_longest_delay(
    job: Claim, outcome: Raised, draw: float
) -> None:
    to = decide(job, outcome, NOW, lambda: draw)

    policy = outcome.policy
    longest = policy.retry_backoff_max if policy.retry_backoff else policy.default_retry_delay
    assert to.due is None or NOW <= to.due <= NOW + longest


def run_until_finished(
    outcome: Outcome, max_crashes: int = 3, decided: Callable[[Transition], None] = lambda _: None
) -> Transition:
    """Let every attempt of a job end alike; return how the job ends."""
    job = make_claim(max_crashes=max_crashes)
    while True:
        to = decide(job, outcome, NOW, half)
        decided(to)
        if to.due is None:
            return to
        job = job._replace(attempts=to.attempts + 1, retries=to.retries, crashes=to.crashes)


@given(max_retries=st.integers(0, 30))
def test_a_job_that_always_fails_runs_max_retries_times_more_than_once(max_retries: int) -> None:
    end = run_until_finished(Raised(b"error", "it failed", RetryPolicy(max_retries), automatic=True))

    assert (end.state, end.attempts, end.retries) == (FAILURE, max_retries + 1, max_retries)


def test_an_error_that_is_not_retried_automatically_ends_the_job_at_once() -> None:
    end = run_until_finished(Raised(b"error", "it failed", RetryPolicy(max_retries=None)))

    assert (end.state, end.attempts) == (FAILURE, 1)


@given(crashes=st.integers(0, 2), max_retries=st.integers(0, 5))
def test_crashes_leave_the_retries_untouched(crashes: int, max_retries: int) -> None:
    job = make_claim(retries=max_retries, crashes=crashes, max_crashes=4)
    policy = RetryPolicy(max_retries)

    assert decide(job, Crashed(b"lost", "died"), NOW, half).retries == max_retries
    assert decide(job, Raised(b"error", "it failed", policy, True), NOW, half).state == FAILURE


# ---- crashes and lost leases ---------------------------------------------------------------------


def test_a_crashing_job_is_back_after_a_quarter_of_a_second_then_two_and_then_fails() -> None:
    history: list[Transition] = []
    run_until_finished(Crashed(b"lost", "died"), max_crashes=3, decided=history.append)

    assert [(to.state, to.due, to.crashes) for to in history] == [
        (RETRY, NOW + 0.25, 1),
        (RETRY, NOW + 2, 2),
        (FAILURE, None, 3),
    ]


@given(max_crashes=st.integers(0, 30))
def test_a_job_that_always_crashes_runs_max_crashes_times_and_at_least_once(max_crashes: int) -> None:
    end = run_until_finished(Crashed(b"lost", "died"), max_crashes)

    assert (end.state, end.retries) == (FAILURE, 0)
    assert end.attempts == end.crashes == max(1, max_crashes)


@given(job=claims)
def test_a_job_handed_back_is_as_if_it_had_not_been_claimed(job: Claim) -> None:
    to = decide(job, Returned(), NOW, half)

    assert (to.state, to.due, to.result, to.reason) == (PENDING, job.due, None, None)
    assert counts_of(to) == (job.attempts - 1, job.retries, job.crashes)


@given(job=claims, outcome=lost)
def test_a_lost_job_takes_its_place_again_and_nobody_is_blamed(job: Claim, outcome: Lost) -> None:
    to = decide(job, outcome, NOW, half)

    assert (to.retries, to.crashes) == (job.retries, job.crashes)
    if not (outcome.started and job.max_crashes == 0):
        assert (to.state, to.due) == (PENDING, job.due)


@pytest.mark.parametrize(("started", "attempts"), [(False, 4), (True, 5)])
def test_a_lost_job_keeps_its_attempt_if_it_may_have_run(started: bool, attempts: int) -> None:
    job = make_claim(unblamed=4)

    assert decide(job, Lost(started, b"lost", "gone"), NOW, half).attempts == attempts


@given(job=claims, started=st.booleans())
def test_a_lost_job_that_must_run_at_most_once_fails_if_it_may_have_run(job: Claim, started: bool) -> None:
    to = decide(job._replace(max_crashes=0), Lost(started, b"lost", "gone"), NOW, half)

    assert to.state == (FAILURE if started else PENDING)
    assert (to.due is None) is started
