"""A file, or a folder, that this user may not write: one sentence, whoever wants what of it."""

from __future__ import annotations

import os
import stat
import subprocess
import sys
import tempfile
import textwrap
from collections.abc import Iterator
from pathlib import Path

import pytest
from disks import Disk

from liteq.errors import StoreUnavailableError
from liteq.transports.sqlite.transport import SqliteTransport

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="mode bits")

NOBODY = 65534

PRELUDE = """
import os, sys, time
from pathlib import Path
import filelock
from click.testing import CliRunner
from liteq.cli.main import main
from liteq.errors import LiteqError, StoreUnavailableError
from liteq.job import NewJob, WorkerInfo
from liteq.transports.sqlite.transport import SqliteTransport

folder = Path(sys.argv[1])
path, side = folder / "queue.db", folder / "queue.db.liteq"
WORKER = WorkerInfo("w", "host", 1, 1)
runner = CliRunner()
for words in ("call {0} a.b", "inspect {0}", "doctor {0}", "worker {0} -A json -P solo --drain"):
    # Once where it is allowed, so that everything is imported that this user may not read any more.
    warm = folder.with_name(folder.name + "-warm")
    warm.mkdir(exist_ok=True)
    with SqliteTransport(warm / "queue.db"):
        runner.invoke(main, words.format(warm / "queue.db").split())
if os.geteuid() == 0:
    os.setgid(65534)
    os.setuid(65534)

def job(name):
    return NewJob(name, "a.b", b"")

def refused(action):
    try:
        action()
    except StoreUnavailableError as error:
        return str(error)
    raise AssertionError("it was not refused")

def commands_refused():
    for words in ("call {0} a.b", "inspect {0}", "doctor {0}", "worker {0} -A json -P solo --drain"):
        done = runner.invoke(main, words.format(path).split())
        assert done.exit_code == 2, (words, done)
        assert done.output.count("\\n") == 1, done.output

with SqliteTransport(path) as transport:
    transport.enqueue([job("first")], 0.0)
"""


@pytest.fixture
def folder() -> Iterator[Path]:
    """A folder that nobody can reach, which pytest's own are not."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name) / "data"
        folder.mkdir()
        if os.geteuid() == 0:
            os.chown(name, NOBODY, NOBODY)
            os.chown(folder, NOBODY, NOBODY)
        yield folder
        folder.chmod(0o700)
        for entry in folder.iterdir():
            entry.chmod(0o700)


def as_nobody(folder: Path, script: str) -> None:
    """Run a script as a user for whom mode bits count."""
    done = subprocess.run(
        [sys.executable, "-c", PRELUDE + textwrap.dedent(script), folder],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.parametrize(
    ("trouble", "mended"),
    [("path.chmod(0o400)", "path.chmod(0o600)"), ("folder.chmod(0o500)", "folder.chmod(0o700)")],
    ids=["file", "folder"],
)
def test_what_is_read_only_is_refused_at_opening_and_serves_again_once_it_is_writable(
    folder: Path, trouble: str, mended: str
) -> None:
    as_nobody(
        folder,
        f"""
        {trouble}
        assert "not writable for this user" in refused(lambda: SqliteTransport(path))
        commands_refused()
        {mended}
        with SqliteTransport(path) as transport:
            assert transport.enqueue([job("second")], 0.0) == [True]
            assert all(transport.get(["first", "second"]))
        """,
    )


def test_a_folder_that_may_not_be_entered_is_refused(folder: Path) -> None:
    as_nobody(
        folder,
        """
        folder.chmod(0)
        assert "Permission denied" in refused(lambda: SqliteTransport(path))
        commands_refused()
        """,
    )


def test_a_side_folder_that_becomes_read_only_refuses_new_workers_and_serves_the_others(
    folder: Path,
) -> None:
    as_nobody(
        folder,
        """
        with SqliteTransport(path) as transport:
            holder = transport.register(WORKER, 60.0, 0.0)
            side.chmod(0o500)
            assert "queue.db.liteq" in refused(lambda: transport.register(WORKER, 60.0, 0.0))
            assert "queue.db.liteq" in refused(lambda: transport.slot(holder))
            assert transport.enqueue([job("second")], 0.0) == [True]
            listener = transport.listen_for_result("second")
            listener.arm()
            listener.wait(0.001)
            listener.close()
            transport.tend(0.0)
            side.chmod(0)
            assert transport.enqueue([job("third")], 0.0) == [True]
            side.chmod(0o700)
            assert transport.register(WORKER, 60.0, 0.0) > holder
        """,
    )


def test_a_folder_that_is_closed_while_in_use_is_told(folder: Path) -> None:
    as_nobody(
        folder,
        """
        with SqliteTransport(path) as transport:
            folder.chmod(0)
            for action in (lambda: transport.enqueue([job("second")], 0.0), lambda: transport.get(["first"])):
                assert "Permission denied" in refused(action)
            folder.chmod(0o700)
            assert transport.enqueue([job("second")], 0.0) == [True]
        """,
    )


def test_a_read_only_disk_is_refused_to_root_as_well(disk: Disk) -> None:
    path = disk.folder / "queue.db"
    SqliteTransport(path).close()
    disk.resize("ro")
    with pytest.raises(StoreUnavailableError, match="not writable"):
        SqliteTransport(path)
    with pytest.raises(StoreUnavailableError, match="not writable"):
        SqliteTransport(disk.folder / "new.db")
    disk.resize("rw")
    SqliteTransport(path).close()
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
