"""Were jobs claimed in their order? Only where one worker did everything is that to be seen from outside."""

from __future__ import annotations

from collections.abc import Iterator

from chaos.history import Returned
from chaos.rows import Row
from chaos.stories import Attempt, Case

__all__ = ["out_of_order"]

Place = tuple[int, float, int]


def out_of_order(case: Case) -> Iterator[str]:
    """Find jobs that were claimed while others, before them in the order, were waiting.

    A job that has run more than once, or was handed out again, has changed its place; only the others are
    looked at.
    """
    runs = [
        (story.attempts[0], story.row, story.answer.at)
        for story in case.stories.values()
        if len(story.attempts) == 1
        and story.row is not None
        and story.row.attempts == 1
        and isinstance(story.answer, Returned)
    ]
    runs.sort(key=lambda run: run[0].began.mono)
    # From the last to the first, so that at each job all that were begun after it are known.
    for index, (attempt, row, _) in enumerate(runs):
        for later, other, stored in runs[index + 1 :]:
            if _place(other) < _place(row) and _was_waiting(other, stored, attempt, later, row):
                yield (
                    f"{attempt} began before {later}, which had priority {other.priority} against "
                    f"{row.priority} and was due {row.due - other.due:+.6f} s earlier"
                )


def _place(row: Row) -> Place:
    return -row.priority, row.due, row.seq


def _was_waiting(other: Row, stored: float, attempt: Attempt, later: Attempt, row: Row) -> bool:
    """Tell whether the other job was ready when this one was claimed."""
    if later.began.token == attempt.began.token:
        return True
    assert row.started is not None
    return stored < attempt.claimed_after and other.due <= row.started
