"""Programs that share a queue are killed and suspended at random, and nothing is lost."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import textwrap
import time
from pathlib import Path

import pytest

from chaos.crew import TESTS, CrewError, Target
from chaos.ground import ground
from chaos.history import Sent, read_history
from chaos.proof import PROOFS, check, prove

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="pidfds")


def test_nothing_is_lost_in_a_storm_of_kills(seed: int) -> None:
    check(prove("storm", PROOFS["storm"].short, seed))


def test_a_signal_reaches_nobody_but_the_process_that_is_meant() -> None:
    with ground() as crew:
        member = crew.start("producer", 1)
        # As if its process id were another one's by now.
        assert not crew.kill(Target(member.target.pid, os.getpid(), "producer"))
        assert not crew.kill(Target(os.getpid(), member.target.parent, "producer"))
        assert member.status is None
        assert crew.kill(member.target)
        crew.wait_until(lambda: member.status is not None, "it does not die")
        assert member.status == -signal.SIGKILL
        assert not crew.kill(member.target)
        crew.end()
        sent = [event for event in read_history(crew.folder) if isinstance(event, Sent)]
    assert [event.pid for event in sent] == [member.target.pid]


def test_a_process_that_ends_by_itself_is_no_secret() -> None:
    with ground() as crew:
        crew.start("caller", ["no such task"])
        with pytest.raises(CrewError, match="no such task"):
            crew.wait_until(lambda: False, "it goes on")


def test_nothing_is_left_of_a_storm_whose_own_process_is_killed(tmp_path: Path) -> None:
    script = tmp_path / "storm.py"
    script.write_text(
        textwrap.dedent(
            """
            import time
            from chaos.ground import ground

            with ground() as crew:
                crew.start("supervisor")
                suspended = crew.start("producer", 1)
                crew.stop(suspended.target, 60.0)
                print(suspended.target.parent, crew.folder, flush=True)
                time.sleep(60)
            """
        )
    )
    process = subprocess.Popen(
        [sys.executable, script],
        stdout=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONPATH": str(TESTS), "TMPDIR": str(tmp_path)},
    )
    try:
        assert process.stdout is not None
        zygote = int(process.stdout.readline().split()[0])
    finally:
        process.kill()
        process.communicate()
    deadline = time.monotonic() + 10
    while _is_alive(zygote):
        assert time.monotonic() < deadline
        time.sleep(0.01)


def _is_alive(group: int) -> bool:
    """Tell whether any process of a group still runs."""
    for entry in Path("/proc").glob("[0-9]*"):
        try:
            fields = (entry / "stat").read_text(errors="replace").rpartition(")")[2].split()
        except OSError:
            continue
        if int(fields[2]) == group and fields[0] not in "ZX":
            return True
    return False
