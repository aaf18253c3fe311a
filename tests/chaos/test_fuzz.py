"""Hostile bytes and hostile rows do no harm; and what the fuzzing would find, if they did."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from chaos.fuzz import Run, faults
from chaos.proof import PROOFS, check, prove

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="memory cannot be limited there")


def test_hostile_bytes_and_rows_are_refused_or_quarantined(seed: int) -> None:
    proof = prove("fuzz", PROOFS["fuzz"].short, seed)
    check(proof)
    assert proof.figures["cases"] == PROOFS["fuzz"].short
    # Neither is everything refused, nor does everything pass.
    assert all(int(proof.figures[name]) > 100 for name in proof.figures)


@pytest.mark.parametrize(
    ("fault", "sentence"),
    [
        ("a length is trusted", "bytes of memory for"),
        ("the module that data name is imported", "it did what decoding must not: an import of"),
        ("pickle is used", "pickle.find_class"),
        ("a name is looked up in a loaded module", "it called what the data name: anything was looked up"),
        ("another error gets out", "KeyError"),
        ("decoding takes too long", "it took 2."),
        ("what is decoded cannot be encoded", "it was decoded and cannot be encoded"),
        ("decoding crashes", "ends the process with status -11"),
    ],
)
def test_a_faulty_codec_is_found(seed: int, fault: str, sentence: str) -> None:
    run = Run("bytes", seed, fault, most=1)
    run.through(400)
    assert run.problems, "nothing was found"
    assert sentence in run.problems[0]
    assert f"(seed {seed})" in run.problems[0]


def test_a_codec_without_fault_is_found_faultless(seed: int) -> None:
    run = Run("bytes", seed, "none")
    run.through(400)
    assert run.problems == []
    assert run.figures["cases"] == 400


@pytest.mark.parametrize("fault", faults.ROWS)
def test_what_keeps_damaged_rows_from_doing_harm_is_missed_when_it_is_gone(seed: int, fault: str) -> None:
    run = Run("rows", seed, fault, most=1)
    run.through(2000)  # it ends with the first one
    assert run.problems, "nothing was found"
    assert f"(seed {seed})" in run.problems[0]


def test_every_fault_is_tested() -> None:
    [mark] = [mark for mark in test_a_faulty_codec_is_found.pytestmark if mark.name == "parametrize"]
    assert [fault for fault, _ in mark.args[1]] == list(faults.BYTES)


def test_a_problem_is_shown_with_few_bytes_and_can_be_run_again(seed: int) -> None:
    run = Run("bytes", seed, "another error gets out", most=1)
    run.through(50)
    told = run.problems[0]
    # Of all that was mutated, one byte is to blame.
    assert len(bytes.fromhex(told.rpartition(" with ")[2])) == 1
    case = int(told.split()[2])
    order = {"seed": seed, "kind": "bytes", "first": case, "count": 1, "fault": run.fault}
    again = subprocess.run(
        [sys.executable, "-m", "chaos.fuzz.child", json.dumps(order)],
        env={**os.environ, "PYTHONPATH": str(Path(__file__).parents[1])},
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )
    assert json.loads(again.stdout.splitlines()[0])["problems"] == [told]


def test_the_same_seed_makes_the_same_run(seed: int) -> None:
    runs = [Run("bytes", seed), Run("bytes", seed), Run("bytes", seed + 1)]
    for run in runs:
        run.through(500)
    assert runs[0].figures == runs[1].figures != runs[2].figures


def test_a_child_that_hangs_is_ended_and_told_of(seed: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("chaos.fuzz.HANG", 1.5)
    run = Run("bytes", seed, "decoding hangs")
    run.through(1)
    assert [problem.rpartition(": ")[2] for problem in run.problems] == ["hangs"]
