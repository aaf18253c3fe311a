"""The property-tested example passes as it stands, and finds what it says that it finds."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

EXAMPLE = Path(__file__).parents[2] / "examples" / "test_flaky_delivery.py"
WRONG = {
    "assert len(service.delivered) == len(set(service.delivered))": (
        "if parcel not in self.receipts:",
        "if True:",
    ),
    "assert call.retries == 4 or call.crashes == 3": ("autoretry_for=(ConnectionError,), ", ""),
}
"""What fails, and how the example is changed to have the mistake."""


def test_it_passes_as_it_stands_and_finds_what_it_says_that_it_finds(tmp_path: Path):
    text = EXAMPLE.read_text(encoding="utf-8")
    (tmp_path / EXAMPLE.name).write_text(text, encoding="utf-8")
    # The shortest story takes hypothesis a while, and any will do here.
    hasty = text.replace("settings(max", "settings(phases=[Phase.generate], derandomize=True, max")
    hasty = hasty.replace("import settings\n", "import Phase, settings\n")
    for number, (right, wrong) in enumerate(WRONG.values()):
        assert hasty.count(right) == 1
        (tmp_path / f"test_wrong_{number}.py").write_text(hasty.replace(right, wrong), encoding="utf-8")

    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "-W", "error"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=120, check=False)

    assert "2 failed, 1 passed" in done.stdout
    failed = [line[1:].strip() for line in done.stdout.splitlines() if line.startswith(">")]
    assert [line for line in failed if line.startswith("assert ")] == [*WRONG]
    assert not (tmp_path / "deliveries.db").exists()
