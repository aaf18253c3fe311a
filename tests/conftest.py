"""Options and fixtures of the whole suite, and the look around when it has ended."""

from __future__ import annotations

import os
import secrets
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from disks import Disk, small_disk
from hypothesis.configuration import set_hypothesis_home_dir

MARK = "LITEQ_TEST_SESSION"
"""Every process that a test starts inherits this variable, so that none can be overlooked."""
GRACE = 3.0
"""Seconds in which the last processes end; those of a dead supervisor take up to two."""


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--long", action="store_true", help="run the statistical tests with their full numbers of rounds"
    )
    parser.addoption("--chaos-seed", type=int, default=1, help="the seed of the proofs in tests/chaos")


def pytest_configure(config: pytest.Config) -> None:
    os.environ[MARK] = secrets.token_hex(8)
    set_hypothesis_home_dir(Path(tempfile.gettempdir(), "liteq-hypothesis"))


def pytest_sessionfinish(session: pytest.Session) -> None:
    """Fail the session if a test has left a process behind."""
    deadline = time.monotonic() + GRACE
    while (left := left_behind()) and time.monotonic() < deadline:
        time.sleep(0.05)
    if left:
        print(f"\nprocesses left behind by the tests: {left}")
        session.exitstatus = pytest.ExitCode.TESTS_FAILED


def left_behind() -> list[int]:
    """Return the process ids of this session's processes that still run (Linux only)."""
    mark = f"{MARK}={os.environ[MARK]}".encode()
    found = []
    for entry in Path("/proc").glob("[0-9]*") if Path("/proc/self").exists() else ():
        try:
            marked = mark in (entry / "environ").read_bytes().split(b"\0")
        except OSError:
            continue
        if marked and int(entry.name) != os.getpid():
            found.append(int(entry.name))
    return found


@pytest.fixture
def rounds(request: pytest.FixtureRequest) -> Callable[[int, int], int]:
    """Choose a number of rounds: few by default, all with `--long`."""

    def choose(few: int, full: int) -> int:
        return full if request.config.getoption("--long") else few

    return choose


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Disk]:
    """A disk of 24 MiB."""
    with small_disk(tmp_path / "disk", "size=24m") as disk:
        yield disk
