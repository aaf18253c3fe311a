"""A power cut takes nothing that had been promised: nothing at `full`, the last second or so at `normal`."""

from __future__ import annotations

import random

import pytest

from chaos.calls import why_not
from chaos.disk import SECTOR, Disk, Event
from chaos.powercut import cover
from chaos.powercut_run import DATABASE, WAL
from chaos.proof import PROOFS, check, prove

CUTS = 60


@pytest.fixture(scope="module", autouse=True)
def reachable() -> None:
    if why := why_not():
        pytest.skip(why)


def test_nothing_promised_is_lost_when_the_power_is_cut(seed: int) -> None:
    proof = prove("powercut", PROOFS["powercut"].short, seed)
    check(proof)
    assert proof.figures["lost"] == 0
    assert proof.figures["of them caught"]


def test_a_disk_that_forgets_to_sync_the_wal_is_found(seed: int) -> None:
    assert cover("full", CUTS, seed, forgets={WAL}).caught


def test_a_disk_that_forgets_to_sync_the_database_is_found(seed: int) -> None:
    # The WAL that could have repaired it begins anew after a checkpoint.
    assert cover("full", 4 * CUTS, seed, forgets={DATABASE}).caught


@pytest.mark.parametrize(
    "fault", ["a full durability that is normal", "a maintainer that does not checkpoint"]
)
def test_a_seeded_fault_is_found(seed: int, fault: str) -> None:
    durability = "full" if fault.startswith("a full") else "normal"
    assert cover(durability, 4 * CUTS, seed, fault=fault).caught


# ---- the disk itself ---------------------------------------------------------------------------------


def disks(events: list[Event]) -> list[dict[str, bytes]]:
    """Cut the power many times after the same events."""
    disk = Disk()
    disk.play(events)
    return [disk.cut(random.Random(number)) for number in range(300)]


MADE = [Event("create", "file", 1), Event("sync directory")]


def test_what_was_synced_is_always_there() -> None:
    written = [Event("write", "file", 1, 0, b"a" * 2000), Event("sync", "file", 1)]
    assert all(files == {"file": b"a" * 2000} for files in disks([*MADE, *written]))


def test_what_was_not_synced_is_there_or_not_or_in_whole_sectors() -> None:
    found = {files["file"] for files in disks([*MADE, Event("write", "file", 1, 100, b"a" * 1000)])}
    assert {b"", bytes(100) + b"a" * 1000} < found
    torn = [content for content in found if 0 < content.count(b"a") < 1000]
    assert torn
    for content in torn:
        sectors = [content[begin : begin + SECTOR] for begin in range(0, 1100, SECTOR)]
        # What stands before the write is no part of it.
        sectors[0] = sectors[0][100:]
        assert all(len(set(sector)) <= 1 for sector in sectors)


def test_a_write_may_be_there_without_the_one_before_it() -> None:
    written = [Event("write", "file", 1, 0, b"a" * SECTOR), Event("write", "file", 1, SECTOR, b"b" * SECTOR)]
    found = {files["file"] for files in disks([*MADE, *written])}
    assert bytes(SECTOR) + b"b" * SECTOR in found


def test_a_name_that_was_not_synced_may_be_gone_but_no_later_one_comes_before_an_earlier() -> None:
    made = [Event("create", "file", 1), Event("create", "other", 2), Event("delete", "file", 1)]
    found = {frozenset(files) for files in disks(made)}
    assert found == {frozenset(), frozenset({"file"}), frozenset({"file", "other"}), frozenset({"other"})}
