"""Folders of Celery programs, and applications that leave nothing behind."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from celery_programs import Folder

from liteq import registry
from liteq.celery import Celery, state


@pytest.fixture
def folder(tmp_path: Path) -> Iterator[Folder]:
    folder = Folder(tmp_path)
    yield folder
    folder.end()


@pytest.fixture(autouse=True)
def _own_state(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[None]:
    """Start each test without applications, in a folder of its own."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("CELERY_BROKER_URL", raising=False)
    monkeypatch.delenv("CELERY_RESULT_BACKEND", raising=False)
    monkeypatch.setattr(state, "_state", state._State())
    state.set_default_maker(lambda: Celery("default", set_as_current=False))
    shared = [*state.shared]
    before = {*state.applications}
    yield
    state.shared[:] = shared
    for app in [*state.applications]:
        if app not in before:
            app.close()
            # What a test leaves uncollected must not be asked for its tasks by another one.
            state.applications.discard(app)
            registry._latecomers.discard(app)


@pytest.fixture
def make(tmp_path: Path) -> Callable[..., Celery]:
    """Make an application on a file of the test's own."""

    def make(**settings: Any) -> Celery:
        return Celery("test", **{"broker": str(tmp_path / "queue.db"), **settings})

    return make
