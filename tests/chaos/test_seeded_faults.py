"""The checker finds each of these faults, and finds nothing where there is none."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor

import pytest

from chaos.checker import Violation
from chaos.scenes import SCENES, play
from chaos.seeded_faults import FAULTS

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="pidfds")

CAUGHT = {
    "id-only fence": ("overtaken", {"superseded"}),
    # Which of them depends on who settles in the other's stead: the worker, or its supervisor.
    "id+state fence": ("overtaken_halfway", {"superseded", "repeated"}),
    "lost attempt": ("killed_while_running", {"attempts"}),
    "deferred BEGIN": ("written_meanwhile", {"refused"}),
    "settle split in two": ("killed_when_done", {"contradiction"}),
    "ack before the run": ("killed_while_running", {"contradiction"}),
    "completion split in two": ("killed_when_paid", {"completion"}),
    "completion without a fence": ("overtaken_before_completion", {"completion"}),
}
"""For each fault, the scene in which it shows and the rules that find it."""

Plays = Mapping[tuple[str, str], "Future[list[Violation]]"]


@pytest.fixture(scope="module")
def plays() -> Iterator[Plays]:
    """Play everything, some at a time: most of a scene is waiting until a lease has run out."""
    wanted = [(scene, fault) for fault, (scene, _) in CAUGHT.items()] + [(scene, "") for scene in SCENES]
    with ThreadPoolExecutor(3) as pool:
        yield {(scene, fault): pool.submit(play, scene, fault) for scene, fault in wanted}


def test_every_fault_and_every_scene_is_used() -> None:
    assert CAUGHT.keys() == FAULTS.keys()
    assert {scene for scene, _ in CAUGHT.values()} == SCENES.keys()


@pytest.mark.parametrize("fault", CAUGHT)
def test_the_checker_finds(fault: str, plays: Plays) -> None:
    scene, rules = CAUGHT[fault]
    found = plays[scene, fault].result()
    assert rules & {violation.rule for violation in found}, found


@pytest.mark.parametrize("scene", SCENES)
def test_the_checker_finds_nothing_without_a_fault(scene: str, plays: Plays) -> None:
    assert plays[scene, ""].result() == []
