"""`nox -s bench-peers`: its pure parts, and turns of liteq; other peers need environments of their own."""

from __future__ import annotations

import ast
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from peers import loops
from peers.board import Board
from peers.catalogue import PEERS, REDIS_DURABILITY, chosen
from peers.environments import reason
from peers.redis_server import SETTINGS
from peers.report import Findings, Report, aligned, percentile, piped, spread
from peers.run import main, parse, run_turn

SECONDS = 60
HERE = Path(__file__).resolve().parent
PLAN = {"rounds": 2, "jobs": 10, "idle": 1.0, "redis": "Redis 1.2", "redis_durability": "default"}
LINUX = pytest.mark.skipif(sys.platform != "linux", reason="the peers are measured on Linux")


@pytest.fixture
def board(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Board:
    monkeypatch.setenv("PEERS_BOARD", "")  # it is put back after the test
    return Board.make(tmp_path / "board", 10)


def found(name: str, **about: Any) -> Findings:
    (peer,) = chosen([name])
    return Findings(peer, 100, 100, about={"bulk": True, "results": True, **about})


def take_turn(folder: Path, section: str, durability: str = "normal") -> dict[str, Any]:
    command = [sys.executable, "-m", "peers.turn", "liteq_queue", section, "--folder", str(folder)]
    command += ["--options", json.dumps({"durability": durability}), "--parent", str(os.getpid())]
    command += ["--jobs", "100", "--singles", "50", "--calls", "5", "--idle", "0.1"]
    return run_turn(command, folder / "said", SECONDS)


# ---- the pure parts ------------------------------------------------------------------------------


def test_every_peer_has_an_adapter_that_imports_no_other_peer() -> None:
    for peer in PEERS:
        tree = ast.parse((HERE / "peers" / "adapters" / f"{peer.module}.py").read_text(encoding="utf-8"))
        names = {node.module for node in ast.walk(tree) if isinstance(node, ast.ImportFrom)}
        names |= {each.name for node in ast.walk(tree) if isinstance(node, ast.Import) for each in node.names}
        imports_liteq = any(name and name.partition(".")[0] == "liteq" for name in names)
        assert imports_liteq == peer.requirements[0].startswith("liteq"), peer.name


def test_names_are_beginnings_and_an_unknown_one_is_told_with_those_that_exist() -> None:
    assert [peer.name for peer in chosen(["liteq", "rq"])] == [
        "liteq full",
        "liteq normal",
        "liteq redis",
        "rq",
    ]
    assert chosen([]) == list(PEERS)
    with pytest.raises(ValueError, match="There is no peer named 'nobody'; there are liteq full"):
        chosen(["nobody"])


def test_wrong_arguments_end_with_a_sentence(capsys: pytest.CaptureFixture[str]) -> None:
    for wrong in (["--only", "nobody"], ["--rounds", "0"]):
        with pytest.raises(SystemExit):
            parse(["--environments", ".", *wrong])
    printed = capsys.readouterr().err
    assert "no peer named 'nobody'" in printed
    assert "must be positive" in printed


def test_a_redis_server_can_be_asked_for_every_durability_that_is_described() -> None:
    assert SETTINGS.keys() == REDIS_DURABILITY.keys()


def test_the_reason_of_a_failed_installation_is_its_innermost_cause() -> None:
    assert reason("Caused by:\n  no compiler\nerror: failed\nhint: look above") == "no compiler"
    assert reason("ERROR: No matching distribution\nnote: advice") == "ERROR: No matching distribution"
    assert reason("") == "it said nothing"


def test_spreads_and_percentiles() -> None:
    assert spread([3000.0, 1000.0, 2000.0]) == "2,000 (1,000 - 3,000)"
    assert spread([]) == "-"
    assert percentile(list(range(1, 101)), 99) == 99
    assert percentile([], 50) is None


def test_tables_have_aligned_columns_or_pipes() -> None:
    assert aligned([["a", "b"], ["long", "c"]]) == "a     b\nlong  c"
    assert piped([["a", "b"], ["c", "d|e"]]) == "| a | b |\n| --- | --- |\n| c | d\\|e |"


def test_the_report_says_what_is_missing_and_why() -> None:
    slow = found("persist", bulk=False, results=False)
    slow.turns += [{"bulk": 10.0}, {"bulk": 20.0}]
    slow.problems.append("drain: of 100 jobs 3 did not run")
    fast = found("liteq full")
    fast.turns.append({"latency": ([1.0, 2.0], [3.0, 4.0]), "start_up": 5.0})
    report = Report([slow, fast], {"honker": "it cannot be installed"}, PLAN)
    text = report.as_text(aligned)
    assert "15 (10 - 20) *" in text
    assert "persist-queue: it keeps no results" in text
    assert "persist-queue: drain: of 100 jobs 3 did not run" in text
    assert "honker is missing: it cannot be installed" in text
    record = json.loads(json.dumps(report.as_record()))
    assert record["peers"][0]["throughput"]["bulk"] == [10.0, 20.0]
    assert record["peers"][1]["call_to_result"] == [3.0, 4.0]


def test_a_board_counts_how_often_each_job_ran(board: Board) -> None:
    for job in (2, 3, 3):
        Board.of_this_run().mark(job)
    assert board.runs(range(1, 5)) == [0, 1, 2, 0]
    assert board.missing(range(5)) == 3
    assert 0 < board.started(2) <= board.started(3)


def test_a_hold_lasts_until_the_gate_is_open(board: Board) -> None:
    board.open_gate()
    board.hold(0)
    assert board.held() == 0


def test_work_that_ran_twice_or_not_at_all_is_told(board: Board) -> None:
    bench = loops.Bench(None, board)  # type: ignore[arg-type] (without results it is not asked)
    for job in (0, 0, 1):
        board.mark(job)
    with pytest.raises(loops.NotDoneError, match="of 3 jobs 1 did not run, and 1 ran more than once"):
        loops.check(bench, range(3), [], keep=False)


# ---- liteq's turns -------------------------------------------------------------------------------


@LINUX
def test_a_turn_takes_every_figure_of_its_section(tmp_path: Path) -> None:
    with subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE) as bystander:
        stored, worked, idled = (take_turn(tmp_path, section) for section in ("store", "work", "idle"))
        assert bystander.poll() is None, "a turn ends what was there before it"
        bystander.kill()
    assert [record["problems"] for record in (stored, worked, idled)] == [[], [], []]
    assert stored["figures"].keys() == {"one_by_one", "bulk"}
    assert worked["figures"].keys() == {
        *("start_up", "drain_kept", "drain", "end_to_end", "end_to_end_bulk", "latency"),
    }
    assert idled["figures"]["idle"]["processes"] == 3
    assert stored["about"]["versions"].keys() == {"liteq-queue"}
    # Only what the driver itself wrote is left.
    assert [path.name for path in tmp_path.iterdir()] == ["said"]


@LINUX
def test_a_turn_that_fails_says_why_and_leaves_nothing(tmp_path: Path) -> None:
    record = take_turn(tmp_path, "work", durability="none")
    assert record["figures"] == {}
    assert "durability" in record["problems"][0]
    assert [path.name for path in tmp_path.iterdir()] == ["said"]


def test_a_peer_that_cannot_be_installed_is_skipped_with_its_reason(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def fail(*_: object, **__: object) -> None:
        raise subprocess.CalledProcessError(1, "pip", "", "ERROR: No matching distribution found")

    monkeypatch.setattr("peers.environments.subprocess.run", fail)
    monkeypatch.setattr("peers.run.adopt_orphans", lambda: None)
    monkeypatch.setattr("peers.run.end_in_order", lambda: None)
    monkeypatch.setattr("peers.run.kill_descendants", lambda: None)
    main(["--environments", str(tmp_path), "--only", "rq"])
    printed = capsys.readouterr().out
    assert "rq is missing: pip could not install it: ERROR: No matching distribution found" in printed
