"""The proofs that are about more than files hold on a real Redis server that each of them starts itself."""

from __future__ import annotations

import shutil
import sys
from pathlib import Path

import pytest
from redis_server import NoServerError, find_server

from chaos.model import MAKERS, run_model
from chaos.proof import PROOFS, check, prove
from liteq.transports.redis import scripts

SIZES = {"storm": PROOFS["storm"].short, "model": 3_000, "simulation": 10_000, "beat": 10}
"""How much of each in the default suite."""
NEED_PIDFDS = ("storm", "beat")

FAULTS = {
    "a fence that looks at the job only": (
        "turn",
        "local matches = r and r[TOKEN] == token",
        "local matches = r",
    ),
    "an attempt that is not counted": ("turn", "r[ATTEMPTS] + 1,", "math.max(r[ATTEMPTS], 1),"),
    "an order without priorities": ("turn", "if a.priority ~= b.priority then", "if false then"),
    "a worker that is expelled although it has renewed": ("expel", "~= seen then", "== nil then"),
    "renewals that do nothing": ("renew", "call('HSET', worker, 'expires', expires)", "call('PING')"),
}
"""For each: the script, what it says, and what a careless hand might have written."""


@pytest.fixture(autouse=True)
def server() -> None:
    try:
        find_server()
    except NoServerError as error:
        pytest.skip(str(error))


@pytest.mark.parametrize("name", SIZES)
def test_what_holds_in_a_file_holds_on_redis(name: str, seed: int) -> None:
    if name in NEED_PIDFDS and sys.platform != "linux":
        pytest.skip("pidfds")
    check(prove(name, SIZES[name], seed, "redis"))


@pytest.mark.parametrize("name", FAULTS)
def test_a_script_that_differs_is_noticed(
    name: str, seed: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    script, says, said_wrongly = FAULTS[name]
    folder = tmp_path / "scripts"
    shutil.copytree(scripts.FOLDER, folder)
    path = folder / f"{script}.lua"
    assert says in path.read_text()
    path.write_text(path.read_text().replace(says, said_wrongly))
    monkeypatch.setattr(scripts, "FOLDER", folder)
    with MAKERS["redis"]() as make_store:
        counts, problems = run_model(make_store, SIZES["model"], seed, shrink=False)
    assert problems, f"{name} went unnoticed in {counts.steps:,} steps"
