"""Arguments and results are typed: a type checker finds a wrong call before it is made."""

from __future__ import annotations

from pathlib import Path

import pytest

SAMPLE = Path(__file__).with_name("typing_sample.py")


def test_a_users_program_is_typed_as_it_says(tmp_path):
    api = pytest.importorskip("mypy.api")
    # A wrong `type: ignore` is an error too, so that each refused call in the sample must be refused.
    output, errors, status = api.run(
        ["--strict", "--warn-unused-ignores", "--cache-dir", str(tmp_path), "--config-file", "", str(SAMPLE)]
    )
    assert (errors, status) == ("", 0), output
