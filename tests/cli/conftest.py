"""A queue with two tasks, the command line in this process, and worker processes that always end."""

from __future__ import annotations

import json
import logging
import os
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from cli_shop import APP, PATIENCE, Shop
from click.testing import CliRunner, Result

from liteq.cli.main import main


@pytest.fixture
def shop(tmp_path: Path) -> Iterator[Shop]:
    shop = Shop(tmp_path)
    yield shop
    shop.queue.close()


@pytest.fixture(autouse=True)
def _own_import_path(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Start each test in its own folder, and forget what it puts on the import path."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", [*sys.path])


@pytest.fixture(autouse=True)
def _own_logging() -> Iterator[None]:
    """Take back what a command that works in this process makes of liteq's log lines."""
    logger = logging.getLogger("liteq")
    before = [*logger.handlers], logger.level, logger.propagate
    yield
    logger.handlers[:] = before[0]
    logger.setLevel(before[1])
    logger.propagate = before[2]


@pytest.fixture
def liteq() -> Callable[..., Result]:
    """Run a command in this process."""

    def run(*words: object, **options: Any) -> Result:
        result = CliRunner().invoke(main, [str(word) for word in words], **options)
        if result.exception is not None and not isinstance(result.exception, SystemExit):
            raise result.exception
        return result

    return run


@pytest.fixture
def ask(liteq: Callable[..., Result]) -> Callable[..., Any]:
    """Run a command with --json, which must succeed, and return what it printed."""

    def run(*words: object) -> Any:
        result = liteq(*words, "--json")
        assert result.exit_code == 0, result.output
        return json.loads(result.stdout)

    return run


@pytest.fixture
def app(tmp_path: Path) -> Path:
    """A folder with `app.py`, whose queue is the file `queue.db` there."""
    folder = tmp_path / "project"
    folder.mkdir()
    (folder / "app.py").write_text(APP, encoding="utf-8")
    return folder


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Callable[..., subprocess.Popen[str]]]:
    """Start `liteq` as a process; it is ended with the test."""
    started: list[subprocess.Popen[str]] = []

    def start(*words: object, cwd: Path = tmp_path) -> subprocess.Popen[str]:
        process = subprocess.Popen(
            [sys.executable, "-m", "liteq", *map(str, words)],
            cwd=cwd,
            env={**os.environ, "PYTHONUTF8": "1"},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            encoding="utf-8",
        )
        started.append(process)
        return process

    yield start
    for process in started:
        process.kill()
        process.communicate()


@pytest.fixture
def gate() -> Iterator[socket.socket]:
    """Where `app.hold` reports that it runs, and waits until its connection is closed."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        server.settimeout(PATIENCE)
        yield server
