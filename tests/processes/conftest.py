"""Ends what a test has started, whatever becomes of the test."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from programs import Program


@pytest.fixture
def program(tmp_path: Path) -> Iterator[Program]:
    folder = tmp_path / "app"
    folder.mkdir()
    program = Program(folder)
    known = set(sys.modules)
    try:
        yield program
    finally:
        program.end()
        for name in set(sys.modules) - known:
            module = sys.modules[name]
            if str(getattr(module, "__file__", "")).startswith(str(folder)):
                queue = getattr(module, "q", None)
                if queue is not None:
                    queue.close()
                del sys.modules[name]
