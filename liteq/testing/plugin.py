"""Fixtures for pytest, which finds this module by itself where liteq is installed.

`liteq_queue` is a queue on a store of its own, `liteq_worker` a thread that runs its jobs, and `liteq_clock`
a clock turned by hand, by which the queue goes in a test that asks for it. `-p no:liteq` leaves them out.
"""

from __future__ import annotations

import importlib
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

from liteq.queue import Queue
from liteq.testing.clock import ManualClock

__all__ = ["liteq_app", "liteq_clock", "liteq_queue", "liteq_store", "liteq_worker"]

MEMORY, SQLITE = "memory", "sqlite"
STORES = (MEMORY, SQLITE)


def pytest_addoption(parser: pytest.Parser) -> None:
    """Add what a project can say about its queue."""
    parser.addini("liteq_app", "The program's queue or Celery application, as package.module:attribute.")
    parser.addini(
        "liteq_store", "Where liteq_queue keeps its jobs: memory (the default) or sqlite.", default=MEMORY
    )


def pytest_configure(config: pytest.Config) -> None:
    """Name the marker."""
    config.addinivalue_line("markers", "liteq(store=): where this test's liteq_queue keeps its jobs.")


@pytest.fixture
def liteq_app(request: pytest.FixtureRequest) -> object:
    """The queue or application under test, as the ini option `liteq_app` names it; override it for another.

    None for none: then `liteq_queue` is a queue that has no tasks yet.
    """
    name = request.config.getini("liteq_app")
    return _application(name) if name else None


@pytest.fixture
def liteq_store(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """Where the jobs of a test are kept, as `Queue` takes it; override it for a store of your own."""
    marker = request.node.get_closest_marker("liteq")
    said = dict(marker.kwargs) if marker is not None else {}
    kind = said.pop("store", request.config.getini("liteq_store"))
    if said or (marker is not None and marker.args):
        raise pytest.UsageError("@pytest.mark.liteq takes store= and nothing else.")
    if kind not in STORES:
        raise pytest.UsageError(f"liteq's store is one of {', '.join(STORES)}, not {kind!r}.")
    return "memory://" if kind == MEMORY else str(tmp_path / "liteq-queue.db")


@pytest.fixture
def liteq_clock() -> ManualClock:
    """A clock turned by hand; where a test has it, `liteq_queue` goes by it."""
    return ManualClock()


@pytest.fixture
def liteq_queue(request: pytest.FixtureRequest, liteq_app: object, liteq_store: str) -> Iterator[Queue]:
    """The queue of `liteq_app` on an empty store that lasts as long as the test, or else a fresh queue there.

    What is on the program's own store is neither read nor changed.
    """
    # Imported here because most test sessions have no use for it.
    from liteq.testing.overriding import override_queue

    clock = request.getfixturevalue("liteq_clock") if "liteq_clock" in request.fixturenames else None
    with ExitStack() as stack:
        app = liteq_app
        if app is None:
            app = stack.enter_context(Queue(liteq_store, durability="normal"))
        url = None if liteq_app is None else liteq_store
        yield stack.enter_context(override_queue(app, url, clock=clock))


@pytest.fixture
def liteq_worker(liteq_queue: Queue) -> Iterator[Any]:
    """A thread that runs the jobs of `liteq_queue` while the test goes on; see `liteq.testing.TestWorker`.

    A job that fails does not fail the test: what it raised is in `liteq_worker.errors`, and in the log.
    """
    from liteq.testing.worker import TestWorker

    worker = TestWorker(liteq_queue)
    yield worker
    worker.stop()


def _application(name: str) -> object:
    module, _, attribute = name.partition(":")
    try:
        found: object = importlib.import_module(module)
        for part in (attribute or "q").split("."):
            found = getattr(found, part)
    except (ImportError, AttributeError) as error:
        raise pytest.UsageError(
            f"The ini option liteq_app names {name!r}, which cannot be had: {error}"
        ) from error
    return found
