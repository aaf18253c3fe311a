"""What the checker calls a violation, and what it lets pass, in histories made by hand."""

from __future__ import annotations

from pathlib import Path

import pytest

from chaos.checker import RULES, check_history
from chaos.history import (
    Born,
    Effect,
    HistoryError,
    JobSpec,
    Read,
    Recorder,
    Refused,
    Revoked,
    RolledBack,
    Sent,
    read_history,
)
from chaos.rows import Contents
from chaos.stories import Case
from chaos.tale import Tale


@pytest.fixture
def tale() -> Tale:
    return Tale()


# ---- what is as it should be ---------------------------------------------------------------------


def test_a_job_that_ran_once_is_as_it_should_be(tale: Tale) -> None:
    tale.called()
    tale.stored(value=tale.ran("a"))
    assert tale.found() == []


def test_a_call_whose_process_died_may_have_stored_its_job_or_not(tale: Tale) -> None:
    tale.asked("stored")
    tale.asked("not stored")
    tale.stored("stored", value=tale.ran("a", "stored"))
    assert tale.found() == []


def test_a_kill_explains_a_second_attempt(tale: Tale) -> None:
    tale.called()
    tale.began("a")
    tale.killed("a")
    tale.stored(value=tale.ran("b", attempt=2, crashes=1), attempts=2, crashes=1)
    assert tale.found() == []


def test_the_kill_of_a_supervisor_explains_what_its_workers_leave(tale: Tale) -> None:
    tale.called()
    tale.began("a")
    tale.add(Sent(who="killer", pid=100, signal="KILL"))
    tale.stored(value=tale.ran("b", attempt=2), attempts=2)
    assert tale.found() == []


def test_an_outcome_that_a_killed_worker_had_not_stored_is_not_counted(tale: Tale) -> None:
    tale.called()
    tale.ran("a")
    tale.killed("a")
    tale.stored(value=tale.ran("b"))
    assert tale.found() == []


def test_the_end_of_a_lease_explains_a_second_attempt(tale: Tale) -> None:
    tale.called()
    first = tale.began("a")
    tale.expelled("a")
    tale.stored(value=tale.ran("b", attempt=2), attempts=2)
    tale.ended("a", first)
    assert tale.found() == []


def test_an_expulsion_whose_answer_nobody_lived_to_tell_may_have_happened(tale: Tale) -> None:
    tale.called()
    tale.began("a")
    tale.expelled("a", done=None)
    tale.stored(value=tale.ran("b", attempt=2), attempts=2)
    assert tale.found() == []


def test_a_worker_that_woke_up_may_begin_what_it_had_claimed_once(tale: Tale) -> None:
    tale.called()
    token = int(tale.now * 1e9)
    tale.expelled("a")
    tale.stored(value=tale.ran("b"))
    tale.began("a", token=token)
    tale.ended("a", token)
    assert tale.found() == []


def test_retries_as_the_task_says_are_as_they_should_be(tale: Tale) -> None:
    tale.called(fails=1)
    tale.ran("a", state="RETRY")
    tale.stored(value=tale.ran("b", attempt=2, retries=1), attempts=2, retries=1)
    assert tale.found() == []


def test_a_job_with_no_retry_left_fails(tale: Tale) -> None:
    tale.called(fails=5, max_retries=1)
    tale.ran("a", state="RETRY")
    value = tale.ran("b", state="FAILURE", attempt=2, retries=1)
    tale.stored(state="FAILURE", value=value, error="Flaky", attempts=2, retries=1)
    assert tale.found() == []


def test_a_success_that_leaves_no_record_is_as_it_should_be(tale: Tale) -> None:
    tale.called(ignored=True)
    tale.ran("a")
    assert tale.found() == []


def test_a_second_call_of_an_unfinished_id_stores_nothing(tale: Tale) -> None:
    tale.called("first", id="same", job_id="same")
    tale.called("second", id="same", job_id="same")
    token = tale.began("a", "first", job_id="same")
    tale.ended("a", token, "first")
    tale.stored("first", id="same", value=tale.evidence("a", token, "first"), done=tale.now)
    assert tale.found() == []


def test_a_finished_job_gives_way_to_a_new_one_of_its_id(tale: Tale) -> None:
    tale.called("first", id="same", job_id="same")
    token = tale.began("a", "first", job_id="same")
    tale.ended("a", token, "first")
    tale.called("second", id="same", job_id="same")
    token = tale.began("a", "second", job_id="same")
    tale.ended("a", token, "second")
    tale.stored("second", id="same", value=tale.evidence("a", token, "second"), done=tale.now)
    assert tale.found() == []


def test_a_row_and_its_job_that_were_committed_together_are_as_they_should_be(tale: Tale) -> None:
    tale.called(order="row")
    tale.orders.append("row")
    tale.stored(value=tale.ran("a"))
    tale.asked("undone", order="other")
    tale.add(RolledBack(who="caller", call="undone"))
    assert tale.found() == []


def test_a_job_that_completed_with_its_own_row_may_lose_its_worker_afterwards(tale: Tale) -> None:
    tale.called(completes=True)
    value = tale.evidence("a", tale.began("a"))
    tale.paid.append(("job", value))
    tale.killed("a")
    tale.stored(value=value)
    assert tale.found() == []


# ---- what is not ---------------------------------------------------------------------------------


def test_a_job_that_is_gone_is_lost(tale: Tale) -> None:
    tale.called()
    assert tale.found() == ["lost"]


def test_a_job_without_a_record_is_lost_unless_it_has_succeeded(tale: Tale) -> None:
    tale.called(ignored=True)
    tale.began("a")
    assert tale.found() == ["lost"]


def test_a_call_that_was_told_of_another_job_is_lost_if_that_was_over(tale: Tale) -> None:
    tale.called("first", id="same", job_id="same")
    token = tale.began("a", "first", job_id="same")
    tale.ended("a", token, "first")
    tale.stored("first", id="same", value=tale.evidence("a", token, "first"), done=tale.now)
    tale.called("second", id="same", job_id="same")
    assert tale.found() == ["lost"]
    # Where the server was away meanwhile, the outcome may have come to it after the second call.
    assert tale.found(outcomes_wait=60.0) == []


def test_a_job_that_nobody_asked_for_is_unexpected(tale: Tale) -> None:
    tale.stored(value=tale.ran("a"))
    assert tale.found() == ["unexpected"]


def test_a_call_that_made_two_jobs_is_unexpected(tale: Tale) -> None:
    tale.called()
    value = tale.ran("a")
    tale.stored(value=value)
    tale.stored(value=value, id="another")
    assert tale.found() == ["unexpected"]


@pytest.mark.parametrize("state", ["PENDING", "STARTED", "RETRY"])
def test_a_job_that_is_not_over_is_unfinished(tale: Tale, state: str) -> None:
    tale.called()
    tale.stored(state=state, finished=False)
    assert tale.found() == ["unfinished"]


def test_a_call_that_raises_too_soon_was_refused_without_need(tale: Tale) -> None:
    tale.asked()
    tale.add(Refused(who="caller", call="job", error="StoreBusyError", waited=0.1))
    assert tale.found(busy_timeout=5.0) == ["refused"]


def test_a_call_may_raise_after_its_timeout_and_must_not_have_stored_anything_then(tale: Tale) -> None:
    tale.asked()
    tale.add(Refused(who="caller", call="job", error="StoreBusyError", waited=5.1))
    assert tale.found(busy_timeout=5.0) == []
    tale.stored(value=tale.ran("a"))
    assert tale.found(busy_timeout=5.0) == ["refused"]


def test_the_result_of_an_older_lease_is_superseded(tale: Tale) -> None:
    tale.called()
    first = tale.began("a")
    tale.expelled("a")
    tale.ran("b", attempt=2)
    tale.ended("a", first)
    tale.stored(value=tale.evidence("a", first), attempts=2)
    assert tale.found() == ["superseded"]


def test_a_success_that_no_attempt_had_is_a_contradiction(tale: Tale) -> None:
    tale.called()
    tale.began("a")
    tale.killed("a")
    tale.stored(value=None)
    assert tale.found() == ["contradiction"]


def test_a_success_of_an_attempt_that_failed_is_a_contradiction(tale: Tale) -> None:
    tale.called()
    tale.stored(value=tale.ran("a", state="FAILURE"))
    assert tale.found() == ["contradiction"]


def test_a_result_that_was_read_must_stay(tale: Tale) -> None:
    tale.called()
    tale.stored(value=tale.ran("a"))
    tale.add(Read(who="caller", id="id-job", state="SUCCESS", value="another"))
    assert tale.found() == ["misread"]


def test_a_job_that_was_revoked_must_stay_so(tale: Tale) -> None:
    tale.called()
    tale.add(Revoked(who="caller", id="id-job"))
    tale.add(Revoked(who="caller", id="id-job", done=True))
    tale.stored(value=tale.ran("a"))
    assert tale.found() == ["misrevoked"]


def test_a_job_is_revoked_only_if_somebody_asks_or_its_time_is_over(tale: Tale) -> None:
    tale.called()
    tale.stored(state="REVOKED", expires=2000.0, done=1500.0)
    assert tale.found() == ["misrevoked"]
    tale.rows.clear()
    tale.stored(state="REVOKED", expires=2000.0, done=2000.0)
    assert tale.found() == []


def test_an_attempt_that_nothing_explains_is_a_repetition(tale: Tale) -> None:
    tale.called()
    tale.began("a")
    tale.stored(value=tale.ran("b", attempt=2), attempts=2)
    assert tale.found() == ["repeated"]


def test_a_kill_that_came_later_explains_nothing(tale: Tale) -> None:
    tale.called()
    tale.began("a")
    tale.stored(value=tale.ran("b", attempt=2), attempts=2)
    tale.killed("a")
    assert tale.found() == ["repeated"]


def test_an_expulsion_that_the_store_refused_explains_nothing(tale: Tale) -> None:
    tale.called()
    tale.began("a")
    tale.expelled("a", done=False)
    tale.stored(value=tale.ran("b", attempt=2), attempts=2)
    assert tale.found() == ["repeated"]


def test_an_effect_twice_in_one_attempt_is_a_repetition(tale: Tale) -> None:
    tale.called()
    token = tale.began("a")
    tale.add(Effect(who="a", tag="job", token=token))
    tale.ended("a", token)
    tale.stored(value=tale.evidence("a", token))
    assert tale.found() == ["repeated"]


def test_what_may_run_once_must_not_begin_twice_even_after_a_kill(tale: Tale) -> None:
    tale.called(max_crashes=0)
    tale.began("a")
    tale.killed("a")
    tale.stored(value=tale.ran("b", attempt=2), attempts=2)
    assert tale.found() == ["at_most_once"]


def test_an_attempt_that_was_cut_short_must_be_counted(tale: Tale) -> None:
    tale.called()
    tale.began("a")
    tale.killed("a")
    tale.stored(value=tale.ran("b", attempt=1), attempts=1)
    assert tale.found() == ["attempts"]


def test_no_attempt_may_be_counted_that_was_none(tale: Tale) -> None:
    tale.called()
    tale.stored(value=tale.ran("a", attempt=2), attempts=2)
    assert tale.found() == ["attempts"]


def test_the_file_must_have_the_last_attempts_number(tale: Tale) -> None:
    tale.called()
    tale.stored(value=tale.ran("a"), attempts=2)
    assert tale.found() == ["attempts"]


def test_a_failed_attempt_must_be_counted_as_a_retry(tale: Tale) -> None:
    tale.called(fails=1)
    tale.ran("a", state="RETRY")
    tale.stored(value=tale.ran("b", attempt=2, retries=0), attempts=2, retries=1)
    assert tale.found() == ["retries"]


def test_a_job_must_not_be_given_up_before_its_retries_are_used_up(tale: Tale) -> None:
    tale.called(fails=2, max_retries=2)
    tale.stored(state="FAILURE", value=tale.ran("a", state="FAILURE"), error="Flaky")
    assert tale.found() == ["retries"]


def test_a_crash_that_was_none_must_not_be_counted(tale: Tale) -> None:
    tale.called(fails=1)
    tale.ran("a", state="RETRY")
    value = tale.ran("b", attempt=2, retries=1, crashes=1)
    tale.stored(value=value, attempts=2, retries=1, crashes=1)
    assert tale.found() == ["crashes"]


def test_a_job_is_given_up_as_lost_only_after_as_many_crashes_as_it_may_cause(tale: Tale) -> None:
    tale.called()
    tale.began("a")
    tale.killed("a")
    tale.stored(state="FAILURE", error="WorkerLostError", crashes=1, max_crashes=3)
    assert tale.found() == ["crashes"]
    tale.rows.clear()
    tale.stored(state="FAILURE", error="WorkerLostError", crashes=1, max_crashes=1)
    assert tale.found() == []


def test_a_delayed_job_must_not_begin_early(tale: Tale) -> None:
    tale.called()
    tale.stored(value=tale.ran("a"), eta=tale.now + 1)
    assert tale.found() == ["early"]


def test_a_lease_is_not_taken_before_it_was_seen_run_out_for_two_heartbeats(tale: Tale) -> None:
    tale.expelled("a", over=1.0)
    assert tale.found(visibility_timeout=2.0) == ["hasty"]
    assert tale.found(visibility_timeout=1.5) == []


def test_a_row_without_its_job_is_half_a_transaction(tale: Tale) -> None:
    tale.asked(order="row")
    tale.orders.append("row")
    assert tale.found() == ["transaction"]


def test_a_job_without_its_row_is_half_a_transaction(tale: Tale) -> None:
    tale.asked(order="row")
    tale.stored(value=tale.ran("a"))
    assert tale.found() == ["transaction"]


def test_what_was_rolled_back_must_be_gone(tale: Tale) -> None:
    tale.asked(order="row")
    tale.add(RolledBack(who="caller", call="job"))
    tale.orders.append("row")
    tale.stored(value=tale.ran("a"))
    assert tale.found() == ["transaction"]


def test_a_completion_has_exactly_one_row_of_its_own(tale: Tale) -> None:
    tale.called(completes=True)
    value = tale.ran("a")
    tale.stored(value=value)
    assert tale.found() == ["completion"]
    tale.paid.append(("job", value))
    assert tale.found() == []
    tale.paid.append(("job", value))
    assert tale.found() == ["completion"]


def test_a_job_that_did_not_succeed_has_no_row_of_its_completion(tale: Tale) -> None:
    tale.called(completes=True, max_crashes=1)
    value = tale.evidence("a", tale.began("a"))
    tale.killed("a")
    tale.paid.append(("job", value))
    tale.stored(state="FAILURE", error="WorkerLostError", crashes=1, max_crashes=1)
    assert tale.found() == ["completion"]


@pytest.mark.parametrize(
    ("second", "found"),
    [
        ({"priority": 1, "due": 1500.0}, ["order"]),
        ({"priority": 0, "due": 999.0}, ["order"]),
        ({"priority": 0, "due": 1001.0}, []),
        ({"priority": 1, "due": 3000.0}, []),
    ],
    ids=["higher priority", "due before", "due after", "higher priority, not due yet"],
)
def test_where_one_worker_does_everything_the_order_is_kept(
    tale: Tale, second: dict[str, float], found: list[str]
) -> None:
    tale.called("first")
    tale.called("second")
    tale.now = 2000.0
    one = tale.ran("a", "first")
    other = tale.ran("a", "second")
    tale.stored("first", value=one, seq=1, due=1000.0, started=2000.0)
    tale.stored("second", value=other, seq=2, started=2003.0, **second)
    assert tale.found(orderly=True) == found


def test_damage_to_the_file_is_reported() -> None:
    found = check_history(Case([], Contents(damage=["row 7 missing from index liteq_ids"])))
    assert [violation.rule for violation in found] == ["damage"]


def test_every_rule_has_a_test_that_breaks_it() -> None:
    source = Path(__file__).read_text(encoding="utf-8")
    assert [rule for rule in RULES if f'"{rule}"' not in source] == []


# ---- the history itself --------------------------------------------------------------------------


def test_what_was_recorded_is_read_again_in_the_order_in_which_it_happened(tmp_path: Path) -> None:
    one, other = Recorder(tmp_path, "one"), Recorder(tmp_path, "other")
    one.write(Effect(tag="first", token=1))
    other.write(Effect(tag="second", token=2))
    one.write(Effect(tag="third", token=3))
    events = read_history(tmp_path)
    assert [event.tag for event in events if isinstance(event, Effect)] == ["first", "second", "third"]
    assert {event.role for event in events if isinstance(event, Born)} == {"one", "other"}


def test_the_torn_line_of_a_killed_process_is_ignored_at_the_end_only(tmp_path: Path) -> None:
    recorder = Recorder(tmp_path, "one")
    recorder.write(Effect(tag="first", token=1))
    recorder.write(Effect(tag="second", token=2))
    [path] = tmp_path.iterdir()
    whole = path.read_bytes()
    for cut in range(1, len(whole.splitlines(keepends=True)[-1])):
        path.write_bytes(whole[:-cut])
        assert len(read_history(tmp_path)) == 2
    path.write_bytes(whole[:-30] + b"\n" + whole)
    with pytest.raises(HistoryError, match="line 3"):
        read_history(tmp_path)


def test_what_a_caller_asked_for_survives_the_way_through_its_history(tmp_path: Path) -> None:
    tale = Tale()
    tale.called("a", order="row", id="chosen", fails=2, max_crashes=0, ignored=True)
    recorder = Recorder(tmp_path, "one")
    for event in tale.events:
        recorder.write(event)
    read = [event for event in read_history(tmp_path) if not isinstance(event, Born)]
    assert [getattr(event, "jobs", ()) for event in read] == [
        (JobSpec(tag="a", id="chosen", fails=2, max_crashes=0, ignored=True),),
        (),
    ]
