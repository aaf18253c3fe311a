"""Options and fixtures of the whole suite, and the look around when it has ended."""

from __future__ import annotations

import os
import secrets
import shutil
import signal
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest
from chaos.proof import seen
from disks import Disk, small_disk
from hypothesis.configuration import set_hypothesis_home_dir
from redis_server import NoServerError, RedisServer

from liteq.transports.redis.liveness import FOLDER_VARIABLE

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
    # A shell that runs the suite in the background has it ignored, and every program that a test starts too.
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)
    os.environ[FOLDER_VARIABLE] = tempfile.mkdtemp(prefix="liteq-run-")
    set_hypothesis_home_dir(Path(tempfile.gettempdir(), "liteq-hypothesis"))


def pytest_unconfigure(config: pytest.Config) -> None:
    shutil.rmtree(os.environ[FOLDER_VARIABLE], ignore_errors=True)


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_auto_num_workers() -> int:
    """Divide a session (`-n auto`) into more parts than there are processors: many tests wait."""
    return (os.cpu_count() or 1) * 3 // 2 or 1


def pytest_sessionfinish(session: pytest.Session) -> None:
    """Fail the session if a test has left a process behind; each part of a divided one looks for its own."""
    left = _parts.left
    if not session.config.pluginmanager.hasplugin("dsession"):
        left = _wait_for_ends()
    output = getattr(session.config, "workeroutput", None)
    if output is not None:
        output["left"], output["proofs"] = left, [str(proof) for proof in seen]
    elif left:
        print(f"\nprocesses left behind by the tests: {left}")
        session.exitstatus = pytest.ExitCode.TESTS_FAILED


@pytest.hookimpl(optionalhook=True)
def pytest_testnodedown(node: Any) -> None:
    """Take what a part of a divided session tells."""
    output = getattr(node, "workeroutput", {})
    _parts.left += output.get("left", [])
    _parts.proofs += output.get("proofs", [])


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Show the figures of the proofs."""
    proofs = [*_parts.proofs, *map(str, seen)]
    if proofs:
        terminalreporter.section("proofs")
        for proof in sorted(proofs):
            terminalreporter.write_line(proof)


class _Parts:
    """What the parts of a divided session (`-n`) have told."""

    def __init__(self) -> None:
        self.left: list[int] = []
        self.proofs: list[str] = []


_parts = _Parts()


def _wait_for_ends() -> list[int]:
    deadline = time.monotonic() + GRACE
    while (left := left_behind()) and time.monotonic() < deadline:
        time.sleep(0.05)
    return left


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


@pytest.fixture(scope="session")
def shared_redis() -> Iterator[RedisServer]:
    """A Redis server that lasts for the session; `redis_server` lends it empty."""
    try:
        server = RedisServer()
    except NoServerError as error:
        pytest.skip(str(error))
    with server:
        yield server


@pytest.fixture
def redis_server(shared_redis: RedisServer) -> RedisServer:
    """A Redis server with nothing in it; for tests that neither stop nor configure it."""
    shared_redis.ask("FLUSHALL")
    return shared_redis


@pytest.fixture
def redis_url(redis_server: RedisServer) -> str:
    """The URL of a Redis server with nothing in it."""
    return redis_server.url()


@pytest.fixture
def start_redis() -> Iterator[Callable[..., RedisServer]]:
    """Start Redis servers that are this test's own, with options as of a command line."""
    with ExitStack() as servers:

        def start(*options: str) -> RedisServer:
            try:
                return servers.enter_context(RedisServer(*options))
            except NoServerError as error:
                pytest.skip(str(error))

        yield start
