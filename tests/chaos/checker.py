"""Does the file agree with the history? Each rule looks for one way in which a promise can be broken.

Pure: it is handed what happened and what the file says when everything has stopped, and returns what does
not fit. An outcome that a killed process has not lived to tell of may have happened or not; whatever is
explained by a recorded kill or by the recorded end of a lease is no violation, and everything else is.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from typing import NamedTuple

from chaos.counting import at_most_once, attempts, crashes, repeated, retries
from chaos.history import Expelled, Read, Refused, Returned, Revoked, RolledBack
from chaos.ordering import out_of_order
from chaos.stories import FAILURE, LOST, REVOKED, SUCCESS, Attempt, Case, Story

__all__ = ["RULES", "Violation", "check_history"]

TICK = 0.001
"""Seconds by which a time in the file and one in the history may differ by rounding."""


class Violation(NamedTuple):
    """A promise that was broken."""

    rule: str
    what: str

    def __str__(self) -> str:
        return f"{self.rule}: {self.what}"


def check_history(case: Case) -> list[Violation]:
    """Return every violation of every rule."""
    return [Violation(name, what) for name, rule in RULES.items() for what in rule(case)]


# ---- nothing lost, nothing unasked ---------------------------------------------------------------


def lost(case: Case) -> Iterator[str]:
    """A call returned, and there is neither a row, nor a result, nor an effect of it."""
    for story in case.stories.values():
        if not isinstance(story.answer, Returned) or story.row is not None:
            continue
        if _was_told_of_another(case, story) or _gave_way(case, story):
            continue
        last = story.last
        ended = None if last is None else last.ended
        leaves_nothing = story.spec is not None and story.spec.ignored
        if leaves_nothing and ended is not None and ended.state == SUCCESS:
            continue
        yield f"the call of {story.tag} returned, and the job is gone: {story.facts}"


def _was_told_of_another(case: Case, story: Story) -> bool:
    """Tell whether an unfinished job had its id, so that nothing of it was stored."""
    if story.attempts or story.spec is None or story.spec.id is None or story.call is None:
        return False
    assert story.answer is not None
    for other in case.by_id[story.spec.id]:
        if other is story or not other.was_stored or other.call is None:
            continue
        began_in_time = other.call.mono <= story.answer.mono
        done = None if other.row is None else other.row.done
        if began_in_time and (done is None or done >= story.call.at - TICK - case.outcomes_wait):
            return True
    return False


def _gave_way(case: Case, story: Story) -> bool:
    """Tell whether it was finished, and then another call used its id again."""
    if not story.attempts or story.spec is None or story.spec.id is None:
        return False
    newer = [
        other
        for other in case.by_id[story.spec.id]
        if other is not story and other.was_stored and (other.row is not None or other.last is not None)
    ]
    return any(
        other.row is not None
        or (other.last is not None and other.last.claimed > story.attempts[-1].claimed_after)
        for other in newer
    )


def unexpected(case: Case) -> Iterator[str]:
    """Something was stored or done that nobody had asked for, or more often than asked."""
    for story in case.stories.values():
        if story.spec is None:
            yield f"nobody has called {story.tag}: {story.facts}"
        ids = {attempt.began.id for attempt in story.attempts}
        if story.row is not None:
            ids.add(story.row.id)
        if len(ids) > 1:
            yield f"one call made more than one job of {story.tag}: {sorted(ids)}"
        if isinstance(story.answer, Returned) and story.spec is not None and story.row is not None:
            known = story.answer.ids
            if known and story.row.id not in known:
                yield f"{story.tag} is stored under {story.row.id}, and its caller was told {known}"
    for tag in case.doubled:
        yield f"the file has more than one job of {tag}"


def unfinished(case: Case) -> Iterator[str]:
    """A job is not in a final state though everything was drained."""
    for row in case.contents.rows:
        if not row.finished or row.state not in (SUCCESS, FAILURE, REVOKED):
            yield f"{row.tag} is {row.state} after the drain, attempts {row.attempts}"


def refused(case: Case) -> Iterator[str]:
    """A call raised although nothing stood in its way for as long as it may wait; or it was stored after."""
    for event in case.history:
        if isinstance(event, Refused) and event.waited < case.busy_timeout:
            yield f"{event.who}: a call raised after {event.waited:.3f} s: {event.error}"
    for story in () if case.answers_get_lost else case.stories.values():
        if isinstance(story.answer, Refused) and story.was_stored:
            yield f"the call of {story.tag} raised, and it was stored all the same: {story.facts}"


# ---- leases and results --------------------------------------------------------------------------


def superseded(case: Case) -> Iterator[str]:
    """A result in the file was written by an attempt whose lease had passed to another."""
    for story in case.stories.values():
        row, last = story.row, story.last
        if row is None or row.value is None or row.error == LOST or last is None:
            continue
        if row.state in (SUCCESS, FAILURE) and row.value != last.evidence:
            older = [str(attempt) for attempt in story.attempts if attempt.evidence == row.value]
            if older:
                yield f"{row.tag} is {row.state} by {older[0]}, whose lease had passed to {last}"


def contradiction(case: Case) -> Iterator[str]:
    """The file tells of an outcome that no attempt had."""
    for story in case.stories.values():
        row = story.row
        if row is None or row.state not in (SUCCESS, FAILURE) or row.error == LOST:
            continue
        by = [attempt for attempt in story.attempts if attempt.evidence == row.value]
        if not by:
            yield f"{row.tag} is {row.state} with {row.value!r}, which no attempt has left: {story.facts}"
        elif not _fits(story, by[-1]):
            yield f"{row.tag} is {row.state} by {by[-1]}, which did not end so: {story.facts}"


def _fits(story: Story, attempt: Attempt) -> bool:
    assert story.row is not None
    if story.spec is not None and story.spec.completes and story.row.state == SUCCESS:
        # It settled itself; its worker may have died a moment later.
        return attempt.ended is None or attempt.ended.state == SUCCESS
    done = attempt.effects > 0 or story.row.state == FAILURE
    return done and attempt.ended is not None and attempt.ended.state == story.row.state


def misread(case: Case) -> Iterator[str]:
    """A caller was told of a final state or a result, and the file says another."""
    for event in case.history:
        if not isinstance(event, Read):
            continue
        rows = [story.row for story in case.by_id[event.id] if story.row is not None]
        for row in rows:
            told = row.error if row.state == FAILURE else row.value
            if row.state != event.state or (event.state != REVOKED and told != event.value):
                yield (
                    f"{event.who} read {event.state} {event.value!r} of {row.tag}, "
                    f"and the file says {row.state} {told!r}"
                )
        # What was never stored, or left no record, is looked after by the other rules.


def misrevoked(case: Case) -> Iterator[str]:
    """A caller was told that a job is revoked and it is not, or a job is without a reason to be."""
    told = {event.id: event.done for event in case.history if isinstance(event, Revoked)}
    for story in case.stories.values():
        row = story.row
        if row is None:
            continue
        if told.get(row.id) and row.state != REVOKED:
            yield f"{row.tag} was revoked, said the store, and it is {row.state}"
        if row.state == REVOKED:
            expired = row.expires is not None and row.done is not None and row.done >= row.expires
            if not expired and row.id not in told:
                yield f"{row.tag} is REVOKED and nobody had asked for that: {row.reason}"


# ---- when ----------------------------------------------------------------------------------------


def early(case: Case) -> Iterator[str]:
    """A delayed job began before its time."""
    for story in case.stories.values():
        row = story.row
        if row is None or row.eta is None:
            continue
        for attempt in story.attempts:
            if attempt.began.at < row.eta - TICK:
                yield f"{attempt} began {row.eta - attempt.began.at:.3f} s before its time"


def hasty(case: Case) -> Iterator[str]:
    """A lease was taken from a worker that may live, before it had been seen run out for two heartbeats."""
    for event in case.history:
        if isinstance(event, Expelled) and event.done is None and event.seen is not None:
            over = event.at - event.seen
            if over < case.visibility_timeout * 2 / 3 - TICK:
                yield f"{event.who} took the leases of {event.holder} {over:.3f} s after they had run out"


def order(case: Case) -> Iterator[str]:
    """Where one worker did everything: a job was claimed while another one was before it."""
    if case.orderly:
        yield from out_of_order(case)


# ---- transactions --------------------------------------------------------------------------------


def transaction(case: Case) -> Iterator[str]:
    """The caller's row and its job are not both there, or a transaction that was undone left something."""
    orders = Counter(case.contents.orders)
    known: set[str] = set()
    for story in case.stories.values():
        call = story.call
        if isinstance(story.answer, RolledBack) and story.was_stored:
            yield f"{story.tag} was rolled back, and is there: {story.facts}"
        if call is None or call.order is None:
            continue
        known.add(call.order)
        if orders[call.order] > 1:
            yield f"the caller's row {call.order} is there {orders[call.order]} times"
        if bool(orders[call.order]) != story.was_stored:
            there = ("row", "job") if orders[call.order] else ("job", "row")
            yield f"{story.tag}: the {there[0]} is there without its {there[1]}"
        if isinstance(story.answer, RolledBack) and orders[call.order]:
            yield f"the row {call.order} was rolled back, and is there"
        if isinstance(story.answer, Returned) and not orders[call.order]:
            yield f"the row {call.order} was committed, and is gone"
    for key in orders.keys() - known:
        yield f"nobody has written the row {key}"


def completion(case: Case) -> Iterator[str]:
    """A job that completed in its own transaction has not exactly one row of it, or has one and failed."""
    paid: dict[str, list[str]] = {}
    for tag, value in case.contents.paid:
        paid.setdefault(tag, []).append(value)
    for tag, values in paid.items():
        story = case.stories.get(tag)
        if story is None or story.row is None or story.row.state != SUCCESS:
            yield f"{tag} has the rows {values} of its completion, and did not succeed"
        elif values != [story.row.value]:
            yield f"{tag} succeeded with {story.row.value!r}, and has the rows {values}"
    for story in case.stories.values():
        completes = story.spec is not None and story.spec.completes
        if completes and story.row is not None and story.row.state == SUCCESS and story.tag not in paid:
            yield f"{story.tag} succeeded, and has no row of its completion"


def damage(case: Case) -> Iterator[str]:
    """The file itself is damaged."""
    yield from case.contents.damage


RULES: Mapping[str, Callable[[Case], Iterator[str]]] = {
    rule.__name__: rule
    for rule in (
        *(lost, unexpected, unfinished, refused, superseded, contradiction, misread, misrevoked, repeated),
        *(at_most_once, attempts, retries, crashes, early, hasty, order, transaction, completion, damage),
    )
}
"""Every rule by its name."""
