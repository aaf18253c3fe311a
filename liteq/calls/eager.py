"""Eager mode: a call's whole life, retries and all, in its caller, by the same decisions as a worker's."""

from __future__ import annotations

import random
import time
from collections.abc import Callable
from functools import partial
from types import CoroutineType
from typing import Any, NoReturn

from liteq.calls.coroutines import run_coroutine
from liteq.calls.request import Post, Request, pop_request, push_request
from liteq.codec import Codec, decode_call
from liteq.errors import Ignore, NotSupportedError, Reject, Retry
from liteq.failure import encode_failure, reason
from liteq.job import Claim, Job, NewJob, Transition
from liteq.lifecycle import Ignored, Outcome, Raised, Rejected, RetryAsked, Succeeded, decide
from liteq.retry import RetryPolicy
from liteq.transport import Transport

__all__ = ["run_eagerly"]

_NO_TRANSACTION = (
    "An eager queue stores nothing, so that a task cannot complete in a transaction of it; "
    "test this task on a queue file, with a worker."
)


def run_eagerly(
    new: NewJob,
    function: Callable[..., Any],
    codec: Codec,
    policy: RetryPolicy,
    limits: tuple[float | None, float | None] = (None, None),
) -> Job | None:
    """Run a job here and now, and return what a store would have kept of it.

    `limits` are the task's soft and hard time limit, which it may ask for.

    Arguments and result go through the codec, so that what could not be stored fails here too. Retries
    follow at once. Delays, `expires` and time limits do not apply, and a requeued job ends FAILURE.

    Returns:
        The finished job; None for a success with `ignore_result`.
    """
    enqueued = time.time()
    attempt = _Attempt(function, codec, policy, limits)
    claim = Claim(
        *(
            0,
            0,
            new.id,
            new.task,
            new.queue,
            new.payload,
            new.codec,
            new.priority,
            enqueued,
            new.eta,
            new.expires,
        ),
        attempts=1,
        retries=0,
        crashes=0,
        max_crashes=new.max_crashes,
        ignore_result=new.ignore_result,
        options=new.options,
    )
    while True:
        started = time.time()
        ended = decide(claim, attempt.run(claim), time.time(), random.random)
        if ended.due is None:
            return _record(claim, ended, enqueued, started) if ended.keep else None
        claim = claim._replace(attempts=claim.attempts + 1, retries=ended.retries)


class _Attempt:
    """Runs one attempt and says how it went."""

    def __init__(
        self,
        function: Callable[..., Any],
        codec: Codec,
        policy: RetryPolicy,
        limits: tuple[float | None, float | None],
    ) -> None:
        self._function = function
        self._codec = codec
        self._policy = policy
        self._limits = limits
        self._reported: tuple[str, bytes | None] | None = None

    def run(self, job: Claim) -> Outcome:
        args, kwargs = decode_call(self._codec, job.payload)
        make = partial(Request.of, job, args, kwargs, limits=self._limits, is_eager=True)
        token = push_request(make, self)
        try:
            value = self._function(*args, **kwargs)
            if type(value) is CoroutineType:
                value = run_coroutine(value)
            return Succeeded(None if job.ignore_result else self._encoded(value))
        except Retry as asked:
            error = asked if asked.exc is None else asked.exc
            return RetryAsked(encode_failure(error), reason(error), asked.due)
        except Reject as rejected:
            return Rejected(encode_failure(rejected), reason(rejected))
        except Ignore:
            return Ignored(*self._reported) if self._reported else Ignored()
        except Exception as error:
            automatic = self._policy.retries_automatically(type(error))
            return Raised(encode_failure(error), reason(error), self._policy, automatic)
        finally:
            pop_request(token)

    def _encoded(self, value: object) -> bytes | None:
        return None if value is None else self._codec.encode(value)

    def update_state(self, state: str, meta: object, _post: Post | None = None) -> None:
        self._reported = state, self._encoded(meta)

    def transaction(self, transport: Transport) -> NoReturn:
        raise NotSupportedError(_NO_TRANSACTION)

    def complete(self, value: object) -> None:
        raise NotSupportedError(_NO_TRANSACTION)


def _record(job: Claim, ended: Transition, enqueued: float, started: float) -> Job:
    return Job(
        seq=0,
        id=job.id,
        task=job.task,
        queue=job.queue,
        state=ended.state,
        finished=True,
        priority=job.priority,
        enqueued=enqueued,
        due=job.due,
        eta=job.eta,
        expires=job.expires,
        started=started,
        done=ended.at,
        attempts=ended.attempts,
        retries=ended.retries,
        crashes=ended.crashes,
        max_crashes=job.max_crashes,
        ignore_result=job.ignore_result,
        holder=None,
        codec=job.codec,
        payload=job.payload,
        options=job.options,
        result=ended.result,
        reason=ended.reason,
    )
