"""The rules about how often: attempts, retries, crashes, and what may run once.

An attempt is counted when the job is claimed. It is taken back if the job was never begun, or if the worker
was cut off before it could store an outcome that it had; everything else must add up.
"""

from __future__ import annotations

from collections.abc import Iterator

from chaos.stories import FAILURE, LOST, RETRY, SUCCESS, Attempt, Case, Story

__all__ = ["at_most_once", "attempts", "crashes", "repeated", "retries"]


def repeated(case: Case) -> Iterator[str]:
    """A job ran again, and no failure, kill or end of a lease explains it."""
    for story in case.stories.values():
        for attempt, following in zip(story.attempts, story.attempts[1:], strict=False):
            if attempt.ended is not None and attempt.ended.state == RETRY:
                continue
            if not attempt.was_cut_before(following.claimed):
                effect = ", with its effect" if attempt.effects else ""
                yield f"{attempt} was followed by {following}, and nothing explains it{effect}"
        for attempt in story.attempts:
            if attempt.effects > 1:
                yield f"{attempt} did its effect {attempt.effects} times"


def at_most_once(case: Case) -> Iterator[str]:
    """A job with `max_crashes=0` began more than once."""
    for story in case.stories.values():
        if story.spec is not None and story.spec.max_crashes == 0 and len(story.attempts) > 1:
            yield f"{story.tag} may run at most once, and began {len(story.attempts)} times"


def attempts(case: Case) -> Iterator[str]:
    """An attempt was not counted, was counted twice, or the count went back."""
    for story in case.stories.values():
        if story.call is None:
            continue
        count, since = 0, story.call.at
        before: Attempt | None = None
        for attempt in story.attempts:
            number = attempt.began.attempt
            uncounted = before is not None and number == count and _was_given_back(before)
            skipped = number > count + 1 and case.was_cut_between(since, attempt.claimed)
            if number != count + 1 and not uncounted and not skipped:
                yield f"{attempt} came after {count} attempts: {story.facts}"
            before, count, since = attempt, number, attempt.claimed_after
        row = story.row
        if row is not None and row.state in (SUCCESS, FAILURE) and row.attempts != count:
            unseen = row.error == LOST and row.attempts > count
            if not unseen or not case.was_cut_between(since, row.done or since):
                yield f"{row.tag} is {row.state} with {row.attempts} attempts, and the last was {count}"


def _was_given_back(attempt: Attempt) -> bool:
    """Tell whether an attempt may not have been counted.

    That is so if it had ended, and its worker was cut off before the outcome was stored; or if it began
    after its worker had lost its leases, with nobody to tell it so.
    """
    began_late = attempt.expelled is not None and attempt.expelled <= attempt.began.at
    cut = attempt.killed is not None or attempt.expelled is not None
    return began_late or (attempt.ended is not None and cut)


def retries(case: Case) -> Iterator[str]:
    """Failed attempts were miscounted, or a job was tried more or less often than its task says."""
    for story in case.stories.values():
        failed = 0
        before: Attempt | None = None
        for attempt in story.attempts:
            number = attempt.began.retries
            asked = before is not None and before.ended is not None and before.ended.state == RETRY
            stored = asked and before is not None and not before.was_cut_before(attempt.claimed)
            allowed = {failed + 1} if stored else {failed, failed + 1} if asked else {failed}
            if number not in allowed:
                yield f"{attempt} has {number} retries behind it, and {failed} were before: {story.facts}"
            before, failed = attempt, number
        row, spec = story.row, story.spec
        if row is None or spec is None or row.error == LOST or row.state not in (SUCCESS, FAILURE):
            continue
        if spec.completes:
            # Opening its transaction may fail as well, as often as the write lock is busy.
            continue
        due = min(spec.fails, spec.max_retries)
        wanted = FAILURE if spec.fails > spec.max_retries else SUCCESS
        if row.retries != due or row.state != wanted:
            yield f"{row.tag} is {row.state} after {row.retries} retries, not {wanted} after {due}"


def crashes(case: Case) -> Iterator[str]:
    """A crash was counted that was none, or a job was given up before it had crashed often enough."""
    for story in case.stories.values():
        count, number = 0, 0
        for attempt in story.attempts:
            began = attempt.began
            more = began.crashes - count
            if more < 0 or more > max(0, began.attempt - number) or (more and not _a_kill(case, story)):
                yield f"{attempt} has {began.crashes} crashes behind it, and {count} were before"
            count, number = began.crashes, began.attempt
        row = story.row
        if row is None or row.state != FAILURE or row.error != LOST:
            continue
        if row.max_crashes > 0 and row.crashes < row.max_crashes:
            yield f"{row.tag} was given up after {row.crashes} of {row.max_crashes} crashes"
        if not _a_kill(case, story) and not any(attempt.expelled for attempt in story.attempts):
            yield f"{row.tag} was given up as lost, and no worker that ran it was killed or expelled"


def _a_kill(case: Case, story: Story) -> bool:
    """Tell whether a worker was killed that ran it, or that may have been about to."""
    if any(attempt.killed is not None for attempt in story.attempts):
        return True
    # Killed between the moment in which it published the job and the one in which it wrote that down.
    since = story.call.at if story.call is not None else 0.0
    return case.was_cut_between(since, story.attempts[-1].claimed if story.attempts else float("inf"))
