from __future__ import annotations

import subprocess
import sys
import textwrap

import pytest

from liteq.clock import Clock
from liteq.errors import ConfigurationError
from liteq.testing import ManualClock


def run_python(text: str) -> str:
    """Run a program in a fresh interpreter and return what it prints."""
    finished = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(text)], capture_output=True, text=True, check=True, timeout=60
    )
    return finished.stdout.strip()


def test_a_manual_clock_stands_still() -> None:
    clock: Clock = ManualClock(wall=100.0, monotonic=5.0)

    assert [clock.wall(), clock.wall(), clock.monotonic(), clock.monotonic()] == [100, 100, 5, 5]


def test_advancing_moves_both_clocks() -> None:
    clock = ManualClock(wall=100.0, monotonic=5.0)
    clock.advance(2.5)

    assert (clock.wall(), clock.monotonic()) == (102.5, 7.5)


def test_a_clock_step_moves_only_the_wall_clock() -> None:
    clock = ManualClock(wall=100.0, monotonic=5.0)
    clock.step(-60)

    assert (clock.wall(), clock.monotonic()) == (40, 5)


def test_sleeping_lets_the_time_pass_at_once() -> None:
    clock = ManualClock(wall=100.0, monotonic=5.0)
    clock.sleep(3600)
    clock.sleep(-1)

    assert (clock.wall(), clock.monotonic()) == (3700, 3605)


def test_time_cannot_pass_backwards() -> None:
    clock = ManualClock(monotonic=5.0)
    with pytest.raises(ConfigurationError, match="step"):
        clock.advance(-1)

    assert clock.monotonic() == 5


def test_the_testing_tools_import_no_test_library_until_they_are_used() -> None:
    printed = run_python(
        """
        import sys, liteq.testing
        liteq.testing.ManualClock()
        print("pytest" in sys.modules, "hypothesis" in sys.modules)
        print(liteq.testing.TransportContract.__name__, liteq.testing.transport_machine.__name__)
        print("pytest" in sys.modules, "hypothesis" in sys.modules)
        """
    )

    assert printed.splitlines() == ["False False", "TransportContract transport_machine", "True True"]


@pytest.mark.parametrize(
    ("name", "library"), [("TransportContract", "pytest"), ("transport_machine", "hypothesis")]
)
def test_a_missing_test_library_is_named_with_the_extra_that_brings_it(name: str, library: str) -> None:
    printed = run_python(
        f"""
        import sys
        sys.modules[{library!r}] = None
        import liteq.errors, liteq.testing
        try:
            liteq.testing.{name}
        except liteq.errors.ExtraRequiredError as error:
            print(error)
        """
    )

    assert library in printed
    assert "liteq-queue[test]" in printed


def test_an_unknown_tool_is_an_attribute_error() -> None:
    printed = run_python("import liteq.testing\nprint(hasattr(liteq.testing, 'nothing'))")

    assert printed == "False"
