"""Damaged schedules: they are shown as broken, never fire, and disturb nobody."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import closing
from dataclasses import fields, replace
from pathlib import Path

import pytest
from damage import NOT_UTF8, damage, loosen

from liteq.app.reconciling import reconcile
from liteq.job import NewJob
from liteq.timetable import Firing, ScheduleRecord
from liteq.transports.sqlite.schema import MIGRATIONS, run_migrations
from liteq.transports.sqlite.transport import SqliteTransport

NOW = 1_700_000_000.0
JOB = NewJob("", "add", b"payload")
TEXTS = ("name", "task", "spec", "policy")
NUMBERS = ("runs", "paused", "revision")
OTHERS = ("next_run", "last_run", "last_job", "broken", "module", "declaration", "created")
OF_JOB = (
    *("queue", "priority", "max_crashes", "ignore_result", "result_expires", "codec", "options", "payload"),
)
VALUES = ("NULL", "'text'", "x'00ff'", NOT_UTF8, "9223372036854775807", "9e999", "1.5")
RIGHT_TYPES = {
    **dict.fromkeys(("name", "task", "spec", "policy"), (str,)),
    "job": (NewJob, type(None)),
    **dict.fromkeys(("next_run", "last_run"), (float, int, type(None))),
    "created": (float, int),
    **dict.fromkeys(("runs", "revision"), (int,)),
    "paused": (bool,),
    **dict.fromkeys(("last_job", "broken", "module", "declaration"), (str, type(None))),
}


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "queue.db"


@pytest.fixture
def transport(path: Path) -> Iterator[SqliteTransport]:
    with SqliteTransport(path, durability="normal") as transport:
        yield transport


def schedule(name: str) -> ScheduleRecord:
    return ScheduleRecord(name=name, task="add", spec="{}", policy="{}", job=JOB, next_run=NOW, created=NOW)


@pytest.mark.parametrize("column", [*TEXTS, *NUMBERS, *OTHERS, *OF_JOB])
def test_any_damage_to_a_schedule_is_shown_as_far_as_it_can_be_and_leaves_the_others_alone(
    transport: SqliteTransport, path: Path, column: str
) -> None:
    loosen(path)
    for value in VALUES:
        damage(path, "DELETE FROM liteq_schedules")
        transport.save_schedules([schedule("calm"), schedule("wild")])
        damage(path, f"UPDATE liteq_schedules SET {column} = {value} WHERE name = 'wild'")
        assert len(transport.schedules()) == 2
        for record in (*transport.schedules(), *transport.due_schedules(NOW)):
            for field in fields(record):
                assert isinstance(getattr(record, field.name), RIGHT_TYPES[field.name]), (field.name, value)
        next_tick = transport.next_tick()
        assert next_tick is not None
        assert next_tick <= NOW
        assert "calm" in [record.name for record in transport.due_schedules(NOW)]
        [calm] = transport.schedules(["calm"])
        fired = transport.fire([Firing(replace(calm, next_run=NOW + 10), (JOB._replace(id="a"),))], NOW)
        assert fired == [True]
        assert all(isinstance(finding.detail, str) for finding in transport.diagnose(NOW))
        transport.revoke(["a"], NOW, "done")


@pytest.mark.parametrize("change", ["runs = 'many'", "policy = x'00'", "payload = 'text'", "codec = x'00'"])
def test_a_schedule_whose_row_makes_no_sense_counts_as_broken(
    transport: SqliteTransport, path: Path, change: str
) -> None:
    transport.save_schedules([schedule("calm"), schedule("wild")])
    damage(path, f"UPDATE liteq_schedules SET {change} WHERE name = 'wild'")
    calm, wild = transport.schedules()
    assert calm.broken is None
    assert wild.broken == "Its row in the file is damaged; remove it and add it anew."
    [finding] = [finding for finding in transport.diagnose(NOW) if finding.check == "schedules"]
    assert (finding.ok, finding.detail) == (False, "1 is broken")
    assert transport.remove_schedules(["wild"]) == [True]
    [finding] = [finding for finding in transport.diagnose(NOW) if finding.check == "schedules"]
    assert finding.ok


@pytest.mark.parametrize(
    "change",
    [
        "runs = 9223372036854775807",
        "revision = 9223372036854775807",
        "revision = -1",
        "revision = 'x'",
        "runs = -5",
        "spec = x'00'",
        f"name = {NOT_UTF8}",
        "name = x'ff'",
    ],
)
def test_whoever_meets_a_due_schedule_that_nobody_could_move_on_sets_it_aside(
    transport: SqliteTransport, path: Path, change: str
) -> None:
    for number in range(5):
        transport.save_schedules([replace(schedule(f"wild {number}"), next_run=NOW - 10)])
        damage(path, f"UPDATE liteq_schedules SET {change} WHERE name = 'wild {number}'")
        if "name" in change:
            break
    transport.save_schedules([schedule("calm")])
    for _ in range(5):
        due = transport.due_schedules(NOW, limit=2)
    assert [record.name for record in due] == ["calm"]
    assert transport.next_tick() == NOW


@pytest.mark.parametrize("revision", ["9223372036854775807", "'x'", "NULL", "1.5"])
def test_a_schedule_whose_revision_makes_no_sense_can_be_saved_over(
    transport: SqliteTransport, path: Path, revision: str
) -> None:
    loosen(path)
    transport.save_schedules([schedule("a")])
    damage(path, f"UPDATE liteq_schedules SET revision = {revision}")
    [seen] = transport.schedules()
    assert (seen.revision, seen.broken) == (0, "Its row in the file is damaged; remove it and add it anew.")
    assert transport.save_schedules([replace(seen, broken=None, runs=3)]) == [True]
    assert transport.schedules() == [replace(schedule("a"), runs=3, revision=1)]
    assert transport.save_schedules([schedule("a")]) == [False]


@pytest.mark.parametrize(
    ("change", "left"),
    [
        ("revision = 'x'", 0),
        ("revision = 9223372036854775807", 0),
        ("revision = -1", 0),
        ("runs = 'x'", 0),
        ("name = x'00'", 1),
    ],
)
def test_a_damaged_row_that_is_declared_no_more_is_removed_if_it_can_be_and_keeps_nobody_from_starting(
    transport: SqliteTransport, path: Path, change: str, left: int
) -> None:
    transport.save_schedules([replace(schedule("wild"), module="shop@/srv")])
    damage(path, f"UPDATE liteq_schedules SET {change}")
    reconcile(transport, [], lambda _: True)
    assert len(transport.schedules()) == left


def test_a_file_of_the_format_before_schedules_keeps_its_jobs_and_gets_a_place_for_schedules(
    path: Path,
) -> None:
    with closing(sqlite3.connect(path, isolation_level=None)) as connection:
        connection.execute("PRAGMA journal_mode = WAL")
        run_migrations(connection, MIGRATIONS[:1])
        connection.execute("INSERT INTO liteq_queues (name) VALUES ('default')")
        connection.execute("INSERT INTO liteq_tasks (name) VALUES ('add')")
        connection.execute("INSERT INTO liteq_lanes (queue, task) VALUES (1, 1)")
        connection.execute(
            "INSERT INTO liteq_jobs (id, lane, stage, state, priority, due, attempts, retries, crashes, "
            "max_crashes, ignore_result, enqueued, payload) "
            "VALUES ('old', 1, 0, 'PENDING', 0, ?1, 0, 0, 0, 3, 0, ?1, x'61')",
            (NOW,),
        )
    with SqliteTransport(path) as transport:
        [job] = transport.get(["old"])
        assert job is not None
        assert (job.task, job.queue, job.payload) == ("add", "default", b"a")
        assert transport.save_schedules([schedule("new")]) == [True]


def test_a_schedule_saved_in_a_users_transaction_goes_with_it(transport: SqliteTransport) -> None:
    class OwnError(Exception):
        pass

    def fail() -> None:
        with transport.transaction():
            transport.save_schedules([schedule("a")])
            raise OwnError

    with pytest.raises(OwnError):
        fail()
    assert transport.schedules() == []
    with transport.transaction():
        transport.save_schedules([schedule("a")])
    assert [record.name for record in transport.schedules()] == ["a"]
