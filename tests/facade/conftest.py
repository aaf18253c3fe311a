"""A queue in memory, and a worker that does one thing at a time, when a test says so."""

from __future__ import annotations

import random
import sys
import time
from collections.abc import Callable, Iterator
from importlib import import_module
from pathlib import Path

import pytest

from liteq import Queue
from liteq.codec import get_codec
from liteq.failure import encode_failure, reason
from liteq.job import Claim, ClaimRequest, WorkerInfo
from liteq.lifecycle import Outcome, Raised, RetryAsked, Succeeded, decide
from liteq.retry import RetryPolicy


@pytest.fixture
def script(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """Let this process be one that runs a script, whatever runs the tests; yield the path of the script."""
    file = tmp_path / "scripts" / "scripted.py"
    file.parent.mkdir()
    file.touch()
    monkeypatch.syspath_prepend(file.parent)
    import_module("scripted")
    monkeypatch.setattr(sys.modules["__main__"], "__file__", str(file), raising=False)
    yield str(file.resolve())
    del sys.modules["scripted"]


class HandWorker:
    """Claims and settles jobs of a queue, one call at a time."""

    def __init__(self, queue: Queue) -> None:
        self._transport = queue.transport
        self._tasks = queue.tasks
        info = WorkerInfo("hand", "hand@here", 1, 1)
        self.holder = self._transport.register(info, 60.0, time.time())

    def claim(self) -> Claim:
        request = ClaimRequest(dict.fromkeys(self._tasks, 1), limit=1)
        (job,) = self._transport.claim(self.holder, request, time.time())
        return job

    def settle(self, job: Claim, outcome: Outcome) -> None:
        decided = decide(job, outcome, time.time(), random.random)
        assert self._transport.settle(self.holder, [decided], time.time()) == []

    def succeed(self, value: object) -> None:
        job = self.claim()
        self.settle(job, Succeeded(None if value is None else get_codec(job.codec).encode(value)))

    def fail(self, error: Exception) -> None:
        self.settle(self.claim(), Raised(encode_failure(error), reason(error), RetryPolicy()))

    def ask_for_retry(self, error: Exception) -> None:
        self.settle(self.claim(), RetryAsked(encode_failure(error), reason(error), time.time() + 60))

    def report(self, state: str, meta: object) -> None:
        job = self.claim()
        encoded = get_codec(job.codec).encode(meta)
        assert self._transport.update_state(job.seq, job.token, state, encoded)


@pytest.fixture
def queue() -> Iterator[Queue]:
    with Queue("memory://") as queue:
        yield queue


@pytest.fixture
def hand_worker() -> Callable[[Queue], HandWorker]:
    return HandWorker
