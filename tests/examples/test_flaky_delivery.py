"""The property-tested example passes as it stands, and finds what it says that it finds."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

EXAMPLE = Path(__file__).parents[2] / "examples" / "test_flaky_delivery.py"


def run(folder: Path, text: str) -> str:
    """Run the example as a user would, and return what pytest says."""
    (folder / "test_flaky_delivery.py").write_text(text, encoding="utf-8")
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "-W", "error"]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=120, check=False)
    return done.stdout


def test_it_passes_as_it_stands(tmp_path: Path):
    assert "1 passed" in run(tmp_path, EXAMPLE.read_text(encoding="utf-8"))
    assert not (tmp_path / "deliveries.db").exists()


@pytest.mark.parametrize(
    ("right", "wrong", "found"),
    [
        ("if parcel not in self.receipts:", "if True:", "no_parcel_is_delivered_twice"),
        ("autoretry_for=(ConnectionError,), ", "", "on_failure"),
    ],
)
def test_it_finds_what_it_says_that_it_finds(tmp_path: Path, right: str, wrong: str, found: str):
    text = EXAMPLE.read_text(encoding="utf-8")
    assert text.count(right) == 1
    # The shortest story takes hypothesis a while, and any will do here.
    hasty = text.replace("settings(max", "settings(phases=[Phase.generate], derandomize=True, max")
    hasty = hasty.replace("import settings\n", "import Phase, settings\n")
    printed = run(tmp_path, hasty.replace(right, wrong))
    assert "1 failed" in printed
    assert found in printed
