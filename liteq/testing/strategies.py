"""What the state machine of `liteq.testing.model` draws: jobs, requests, and what becomes of jobs.

There are few ids, tasks and queue names, so that what is drawn concerns each other.
"""

from __future__ import annotations

from itertools import product
from typing import Any

from hypothesis import strategies as st

from liteq.job import ClaimRequest, NewJob
from liteq.lifecycle import (
    Crashed,
    Ignored,
    Lost,
    Outcome,
    Raised,
    Rejected,
    RetryAsked,
    Returned,
    Succeeded,
)
from liteq.retry import RetryPolicy

__all__ = [
    "JOB_IDS",
    "START",
    "VISIBILITY",
    "acts",
    "blobs",
    "everything",
    "offsets",
    "outcomes",
    "pauses",
    "picks",
    "requests",
    "rounds",
    "settlements",
    "some_ids",
    "some_jobs",
    "some_queues",
]

START = 1_700_000_000.0
VISIBILITY = 60.0
JOB_IDS = [*"abcdefgh"]
TASKS = ["add", "mul", "sub"]
QUEUES = ["default", "x", "y"]

ids = st.sampled_from(JOB_IDS)
some_ids = st.lists(ids, min_size=1, max_size=4)
some_queues = st.none() | st.lists(st.sampled_from(QUEUES), unique=True, max_size=3)
offsets = st.sampled_from([-10.0, 0.0, 0.25, 1.0, 5.0, 30.0])
picks = st.integers(0, 15)

_DETAILS = [
    {
        "payload": payload,
        "codec": codec,
        "max_crashes": crashes,
        "ignore_result": ignored,
        "result_expires": kept,
        "options": options,
    }
    for payload, codec, crashes, ignored, kept, options in product(
        (b"", b"\0", b"xyz"),
        ("msgpack", "json"),
        (3, 2, 1, 0),
        (False, True),
        (None, 0.0, 0.5, 10.0),
        (None, b"", b"o"),
    )
]
"""What seldom matters to each other, drawn as one number: drawing is most of what a step costs."""


def _new_job(
    job_id: str,
    task: str,
    queue: str,
    priority: int,
    eta: float | None,
    expires: float | None,
    details: int,
) -> NewJob:
    others: dict[str, Any] = _DETAILS[details]
    return NewJob(job_id, task, queue=queue, priority=priority, eta=eta, expires=expires, **others)


new_jobs = st.builds(
    _new_job,
    job_id=ids,
    task=st.sampled_from(TASKS),
    queue=st.sampled_from(QUEUES),
    priority=st.integers(-1, 1),
    # Until the machine adds its own time, these two are seconds from now. Most jobs have neither, for a
    # machine in which little can be claimed says little.
    eta=st.sampled_from([None] * 6 + [-10.0, 0.0, 0.25, 5.0]),
    expires=st.sampled_from([None] * 8 + [-10.0, 0.25, 5.0, 30.0]),
    details=st.integers(0, len(_DETAILS) - 1),
)

some_jobs = st.lists(new_jobs, min_size=1, max_size=5)
requests = st.builds(
    ClaimRequest,
    tasks=st.dictionaries(st.sampled_from(TASKS), st.integers(1, 3), min_size=2),
    queues=some_queues,
    budget=st.integers(1, 9),
    limit=st.sampled_from([4, 3, 2, 1, 0]),
)
everything = ClaimRequest(dict.fromkeys(TASKS, 1))

policies = st.builds(
    RetryPolicy,
    max_retries=st.none() | st.integers(0, 2),
    default_retry_delay=st.sampled_from([0.0, 2.0]),
    retry_backoff=st.booleans(),
    retry_jitter=st.booleans(),
)
blobs = st.binary(max_size=3)
outcomes: st.SearchStrategy[Outcome] = st.one_of(
    st.builds(Succeeded, st.none() | blobs),
    st.builds(Raised, blobs, st.just("it raised"), policies, st.booleans()),
    st.builds(RetryAsked, blobs, st.just("it asked"), offsets.map(lambda offset: START + offset)),
    st.builds(Rejected, blobs, st.just("it was rejected"), st.booleans()),
    st.builds(Ignored, st.sampled_from([None, "PROGRESS"]), st.none() | blobs),
    st.builds(Crashed, blobs, st.just("its worker died")),
    st.builds(Returned),
    st.builds(Lost, st.booleans(), blobs, st.just("its worker is gone")),
)
settlements = st.lists(st.tuples(picks, outcomes), max_size=3)
rounds = st.lists(st.lists(outcomes, min_size=1, max_size=4), min_size=1, max_size=4)
pauses = st.sampled_from([0.25, 1.0, 5.0, 45.0])
acts = st.sampled_from(["revoke", "requeue", "forget"])
