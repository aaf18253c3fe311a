"""Damaged rows: a job that cannot run ends FAILURE with what is wrong, and nobody else is disturbed."""

from __future__ import annotations

import random
import shutil
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from damage import NOT_UTF8, damage, loosen

from liteq.errors import LiteqError, NotAQueueError
from liteq.job import Claim, ClaimRequest, Job, JobFilter, NewJob, TaskOrigin, WorkerInfo
from liteq.lifecycle import Returned, Succeeded, decide
from liteq.states import FAILURE, PENDING, STARTED, SUCCESS
from liteq.testing.clock import ManualClock
from liteq.transports.sqlite.soundness import DAMAGED
from liteq.transports.sqlite.transport import SqliteTransport
from liteq.worker.recovery import Recovery

NOW = 1_700_000_000.0
DAY = 86400.0
BOTH = ClaimRequest({"add": 1, "mul": 1})

DAMAGES = {
    "id = x'6162'": "its id is no text",
    "id = NULL": "its id is no text",
    f"id = {NOT_UTF8}": "its id is not written in UTF-8",
    "priority = 'high'": "its priority is no integer below 32768",
    "priority = NULL": "its priority is no integer below 32768",
    "priority = 9223372036854775807": "its priority is no integer below 32768",
    "due = 'soon'": "the time at which it became ready is none",
    "due = NULL": "the time at which it became ready is none",
    "due = 9e999": "the time at which it became ready is none",
    "attempts = 9223372036854775807": "its attempts is no count",
    "attempts = NULL": "its attempts is no count",
    "retries = 'two'": "its retries is no count",
    "crashes = x'00'": "its crashes is no count",
    "max_crashes = NULL": "its max_crashes is no count",
    "max_crashes = 1e300": "its max_crashes is no count",
    "eta = 'noon'": "its eta is no time",
    "eta = -9e999": "its eta is no time",
    "eta = 253402300800.0": "its eta is no time",
    "expires = x'ff'": "its expires is no time",
    "expires = 1e300": "its expires is no time",
    "payload = NULL": "its arguments are missing",
    "lane = 77": "the queue and the task that it names are not there",
    "lane = 'add'": "the queue and the task that it names are not there",
    "lane = x'61'": "the queue and the task that it names are not there",
    f"lane = {NOT_UTF8}": "the queue and the task that it names are not there",
    "lane = 1.5": "the queue and the task that it names are not there",
}


@pytest.fixture(scope="module")
def template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A file without constraints and without jobs, which knows two tasks."""
    path = tmp_path_factory.mktemp("template") / "queue.db"
    with SqliteTransport(path, durability="normal") as transport:
        transport.enqueue([NewJob("first", "add", b"1"), NewJob("second", "mul", b"2")], NOW)
    loosen(path)
    damage(path, "DELETE FROM liteq_jobs")
    return path


@pytest.fixture
def path(template: Path, tmp_path: Path) -> Path:
    return Path(shutil.copy(template, tmp_path / "queue.db"))


@pytest.fixture
def transport(path: Path) -> Iterator[SqliteTransport]:
    with SqliteTransport(path, durability="normal") as transport:
        yield transport


def register(transport: SqliteTransport) -> int:
    return transport.register(WorkerInfo("w", "host", 1, 1), 60.0, NOW)


def jobs_of(transport: SqliteTransport) -> list[Job]:
    return transport.find(JobFilter(limit=1000))


@pytest.mark.parametrize("lanes", [1, 2])
@pytest.mark.parametrize("change", DAMAGES)
def test_a_damaged_job_ends_with_what_is_wrong_and_the_others_are_claimed(
    transport: SqliteTransport, path: Path, change: str, lanes: int
) -> None:
    tasks = ["add", "mul"][:lanes]
    sound = [NewJob(f"{task} {number}", task, b"payload") for number in range(3) for task in tasks]
    transport.enqueue([NewJob("bad", "add", b"payload"), *sound], NOW)
    damage(path, f"UPDATE liteq_jobs SET {change} WHERE id = 'bad'")
    holder = register(transport)
    claimed = transport.claim(holder, BOTH, NOW)
    claimed += transport.claim(holder, BOTH, NOW)
    assert sorted(claim.id for claim in claimed) == sorted(job.id for job in sound)
    [bad] = transport.find(JobFilter(states=[FAILURE]))
    assert bad.reason == f"damaged: {DAMAGES[change]}; it was not run"
    assert (bad.finished, bad.holder, bad.done) == (True, None, NOW)
    assert transport.next_due(BOTH) is None
    assert transport.claim(holder, BOTH, NOW) == []
    assert {job.state for job in jobs_of(transport)} == {FAILURE, STARTED}
    assert transport.next_sweep() == NOW + DAY


@pytest.mark.parametrize(
    ("change", "complaint"),
    [
        ("lane = NULL", "it belongs to no queue and no task"),
        ("stage = 1, due = NULL", "the time at which it is due is none"),
        ("stage = 1, due = 'tomorrow'", "the time at which it is due is none"),
        ("stage = 1, due = x'00'", "the time at which it is due is none"),
        ("stage = 1, due = 9e999", "the time at which it is due is none"),
        ("stage = 2, holder = NULL, token = 1", "its lease is nobody's"),
        ("stage = 2, holder = 'me', token = 1", "its lease is nobody's"),
        ("stage = 2, holder = 1, token = NULL", "its lease is nobody's"),
        ("stage = 2, holder = 1, token = 'x'", "its lease is nobody's"),
    ],
)
def test_a_job_that_no_claim_would_meet_is_ended_by_the_next_sweep(
    transport: SqliteTransport, path: Path, change: str, complaint: str
) -> None:
    transport.enqueue([NewJob("bad", "add", b"payload"), NewJob("good", "add", b"payload")], NOW)
    damage(path, f"UPDATE liteq_jobs SET {change} WHERE id = 'bad'")
    holder = register(transport)
    assert [claim.id for claim in transport.claim(holder, BOTH, NOW)] == ["good"]
    assert transport.next_due(BOTH) is None
    assert transport.next_sweep() == 0.0
    assert transport.sweep(NOW) == 1
    assert transport.sweep(NOW) == 0
    [bad] = transport.find(JobFilter(states=[FAILURE]))
    assert (bad.id, bad.reason) == ("bad", f"damaged: {complaint}; it was not run")


def test_a_lane_whose_task_has_no_name_leads_nowhere(transport: SqliteTransport, path: Path) -> None:
    for number, name in enumerate(["x'616464'", NOT_UTF8, "NULL"]):
        transport.enqueue([NewJob(f"bad {number}", f"task {number}", b"payload")], NOW)
        damage(path, f"UPDATE liteq_tasks SET name = {name} WHERE name = 'task {number}'")
    # Its own names for lanes are what it has stored, so this takes a process that has not met them.
    with SqliteTransport(path, durability="normal") as other:
        assert [(lane.queue, lane.task, lane.jobs) for lane in other.count()] == [(DAMAGED, DAMAGED, 3)]
        assert other.next_due(BOTH) == 0.0
        assert other.claim(register(other), BOTH, NOW) == []
        assert {job.state for job in jobs_of(other)} == {FAILURE}


def test_a_damaged_job_is_kept_for_a_day_at_least_and_longer_if_it_says_so(
    transport: SqliteTransport, path: Path
) -> None:
    kept = {"'x'": DAY, "-1e300": DAY, "5": DAY, "0": None, "200000": 200000.0, "1e300": DAY, "NULL": DAY}
    jobs = [NewJob(str(number), "add", b"payload") for number in range(len(kept))]
    transport.enqueue(jobs, NOW)
    for job, seconds in zip(jobs, kept, strict=True):
        damage(
            path, f"UPDATE liteq_jobs SET result_expires = {seconds}, priority = 'x' WHERE id = '{job.id}'"
        )
    assert transport.claim(register(transport), BOTH, NOW) == []
    transport.sweep(NOW + DAY - 1)
    assert len(jobs_of(transport)) == len(jobs)
    transport.sweep(NOW + DAY)
    assert sorted(job.id for job in jobs_of(transport)) == ["3", "4"]


def test_a_damaged_job_can_be_put_back_and_is_found_damaged_again(
    transport: SqliteTransport, path: Path
) -> None:
    transport.enqueue([NewJob("bad", "add", b"payload")], NOW)
    damage(path, "UPDATE liteq_jobs SET retries = 'x'")
    holder = register(transport)
    assert transport.claim(holder, BOTH, NOW) == []
    assert transport.requeue(["bad"], NOW) == [True]
    # Its retries are counted anew, so that now it is whole.
    assert [claim.id for claim in transport.claim(holder, BOTH, NOW)] == ["bad"]


def test_a_sound_job_does_not_wait_behind_a_thousand_damaged_ones(
    transport: SqliteTransport, path: Path
) -> None:
    jobs = [NewJob(str(number), "add", b"payload") for number in range(1002)]
    transport.enqueue(jobs, NOW)
    damage(
        path,
        "UPDATE liteq_jobs SET crashes = NULL WHERE id NOT IN ('500', '1001')",
        f"UPDATE liteq_jobs SET id = {NOT_UTF8} WHERE id = '7'",
    )
    holder = register(transport)
    one_at_a_time = ClaimRequest({"add": 20_000}, limit=128)
    assert [claim.id for claim in transport.claim(holder, one_at_a_time, NOW)] == ["500"]
    assert [claim.id for claim in transport.claim(holder, BOTH, NOW)] == ["1001"]
    assert {lane.state: lane.jobs for lane in transport.count()} == {FAILURE: 1000, STARTED: 2}


# ---- reading ---------------------------------------------------------------------------------------------

COLUMNS = (
    *("id", "lane", "stage", "state", "priority", "due", "eta", "expires", "holder", "token", "attempts"),
    *("retries", "crashes", "max_crashes", "ignore_result", "result_expires", "enqueued", "started", "done"),
    *("discard", "codec", "options", "reason", "result", "payload"),
)
VALUES = (
    "NULL",
    "'text'",
    "x'00ff'",
    NOT_UTF8,
    "9223372036854775807",
    "-9223372036854775808",
    "9e999",
    "1.5",
)


@pytest.mark.parametrize("column", COLUMNS)
def test_readers_show_what_can_be_shown_of_any_damage_at_any_station(
    transport: SqliteTransport, path: Path, column: str
) -> None:
    jobs = [
        NewJob(str(number), "add", b"payload", eta=NOW + 5 if number == 2 else None) for number in range(4)
    ]
    for value in VALUES:
        damage(
            path, "DELETE FROM liteq_jobs", "CREATE UNIQUE INDEX IF NOT EXISTS liteq_ids ON liteq_jobs (id)"
        )
        transport.enqueue(jobs[:2], NOW)
        holder = register(transport)
        running, finished = transport.claim(holder, BOTH, NOW)
        transport.settle(holder, [decide(finished, Succeeded(b"value"), NOW, random.random)], NOW)
        transport.enqueue(jobs[2:], NOW)
        damage(path, "DROP INDEX liteq_ids", f"UPDATE liteq_jobs SET {column} = {value}")
        read_everything(transport, [job.id for job in jobs])
        transport.sweep(NOW)
        transport.turn(holder, NOW + 10, [decide(running, Succeeded(b""), NOW, random.random)], BOTH)
        transport.sweep(NOW + 10)
        read_everything(transport, [job.id for job in jobs])
        transport.expel(holder, None)


def read_everything(transport: SqliteTransport, job_ids: list[str]) -> None:
    """Read through every reader, and check that what comes has the shape that it promises."""
    found = jobs_of(transport)
    for job in [*found, *transport.get(job_ids)]:
        if job is not None:
            assert_shaped(job)
    assert sum(lane.jobs for lane in transport.count()) == len(found)
    for record in transport.workers():
        for claim in transport.leases(record.holder):
            assert_shaped(claim)
            decide(claim, Returned(), NOW, random.random)
    for finding in transport.diagnose(NOW):
        assert isinstance(finding.detail, str)
    for moment in (transport.next_sweep(), transport.next_due(BOTH)):
        assert moment is None or isinstance(moment, float)


def assert_shaped(record: Job | Claim) -> None:
    """Check that a record has the types that its fields promise."""
    number, maybe_number = (int,), (int, type(None))
    time_, maybe_time = (int, float), (int, float, type(None))
    fields = {
        **dict.fromkeys(("id", "task", "queue", "codec"), (str,)),
        **dict.fromkeys(("priority", "attempts", "retries", "crashes", "max_crashes", "seq"), number),
        **dict.fromkeys(("due",), time_),
        **dict.fromkeys(("eta", "expires"), maybe_time),
        "payload": (bytes,),
        "options": (bytes, type(None)),
    }
    if isinstance(record, Job):
        fields |= {
            "state": (str,),
            "finished": (bool,),
            "ignore_result": (bool,),
            "enqueued": time_,
            "started": maybe_time,
            "done": maybe_time,
            "holder": maybe_number,
            "result": (bytes, type(None)),
            "reason": (str, type(None)),
        }
    wrong = {
        name: getattr(record, name)
        for name, types in fields.items()
        if type(getattr(record, name)) not in types
    }
    assert wrong == {}


def test_only_modules_that_are_named_in_words_are_origins(transport: SqliteTransport, path: Path) -> None:
    for number, root in enumerate(["'/root'", "NULL", "x'00'", "5", "'a' || char(0)"]):
        transport.declare(TaskOrigin(f"task {number}", "module", "/root", "/work"))
        transport.enqueue([NewJob(str(number), f"task {number}", b"")], NOW)
        damage(path, f"UPDATE liteq_tasks SET root = {root} WHERE name = 'task {number}'")
    # The number is turned into a text by the column.
    assert [origin.task for origin in transport.origins()] == ["task 0", "task 3"]


# ---- workers ---------------------------------------------------------------------------------------------

WORKER_DAMAGES = (
    *("name = x'00'", "name = NULL", f"boot = {NOT_UTF8}", "hostname = NULL", "pid = 'x'", "pid = 1 << 40"),
    *("pid = -5", "supervisor = 'x'", "supervisor = 1 << 40", "queues = 'no JSON'", "queues = '5'"),
    *(
        "queues = '[1]'",
        "queues = x'00'",
        "started = 'x'",
        "expires = 'x'",
        "expires = NULL",
        "expires = 9e999",
    ),
    *("visibility_timeout = NULL", "visibility_timeout = 'x'", "boot = NULL", "life = NULL", "life = x'00'"),
    *("life = '../../../etc/passwd'", "life = 'x/../../queue.db'", "life = ''"),
)


@pytest.mark.parametrize("change", WORKER_DAMAGES)
def test_a_worker_whose_row_is_damaged_counts_as_dead_and_its_jobs_are_recovered(
    transport: SqliteTransport, path: Path, change: str
) -> None:
    transport.enqueue([NewJob("job", "add", b"payload")], NOW)
    holder = register(transport)
    [claim] = transport.claim(holder, BOTH, NOW)
    damage(path, f"UPDATE liteq_workers SET {change}")
    clock = ManualClock(wall=NOW)
    recovery = Recovery(transport, clock, random.random)
    recovery.look()
    assert transport.leases(holder) == []
    assert transport.workers() == []
    other = register(transport)
    assert [again.id for again in transport.claim(other, BOTH, clock.wall())] == ["job"]
    assert transport.settle(holder, [decide(claim, Returned(), NOW, random.random)], NOW) != []


@pytest.mark.parametrize("change", ["expires = 'x'", "visibility_timeout = 'x'", "visibility_timeout = -1"])
def test_a_living_worker_whose_lease_is_damaged_is_told_to_register_anew(
    transport: SqliteTransport, path: Path, change: str
) -> None:
    holder = register(transport)
    transport.enqueue([NewJob("job", "add", b"payload")], NOW)
    damage(path, f"UPDATE liteq_workers SET {change}")
    assert transport.claim(holder, BOTH, NOW) == []
    assert not transport.is_registered(holder)
    assert [claim.id for claim in transport.claim(register(transport), BOTH, NOW)] == ["job"]


# ---- the rest of the file --------------------------------------------------------------------------------


@pytest.mark.parametrize("value", ["'1'", "'text'", "NULL", "x'00'", "-1", "0", "1.5"])
def test_a_damaged_format_number_is_told_as_such(transport: SqliteTransport, path: Path, value: str) -> None:
    damage(path, f"UPDATE liteq_meta SET value = {value} WHERE key = 'version'")
    with pytest.raises(NotAQueueError, match="number of its format"):
        transport.enqueue([NewJob("job", "add", b"payload")], NOW)
    with pytest.raises(NotAQueueError, match="number of its format"):
        SqliteTransport(path)


def test_a_missing_format_number_is_told_as_such(transport: SqliteTransport, path: Path) -> None:
    damage(path, "DELETE FROM liteq_meta")
    with pytest.raises(NotAQueueError, match="number of its format"):
        transport.claim(1, BOTH, NOW)
    with pytest.raises(NotAQueueError, match="number of its format"):
        SqliteTransport(path)


@pytest.mark.parametrize(
    "statement",
    [
        *(
            f"DROP TABLE liteq_{table}"
            for table in ("jobs", "bodies", "tasks", "queues", "lanes", "workers", "meta")
        ),
        *(f"ALTER TABLE liteq_jobs RENAME COLUMN {column} TO other" for column in COLUMNS),
        "CREATE TRIGGER t BEFORE UPDATE ON liteq_jobs BEGIN SELECT RAISE (ABORT, 'no'); END",
        "CREATE TRIGGER t BEFORE INSERT ON liteq_jobs BEGIN SELECT RAISE (ROLLBACK, 'no'); END",
    ],
)
def test_tables_that_are_not_liteqs_end_in_an_error_of_ours(
    transport: SqliteTransport, path: Path, statement: str
) -> None:
    transport.enqueue([NewJob("job", "add", b"p" * 5000)], NOW)
    holder = register(transport)
    damage(path, statement)
    for act in (
        lambda: transport.enqueue([NewJob("other", "mul", b"payload")], NOW),
        lambda: transport.claim(holder, BOTH, NOW),
        lambda: jobs_of(transport),
        lambda: transport.get(["job"]),
        transport.count,
        transport.workers,
        transport.origins,
        lambda: transport.leases(holder),
        lambda: transport.sweep(NOW),
        transport.next_sweep,
        lambda: transport.next_due(BOTH),
        lambda: transport.revoke(["job"], NOW, "test"),
        lambda: transport.diagnose(NOW),
        lambda: transport.tend(time.time()),
    ):
        try:
            act()
        except LiteqError:
            pass


def test_doctor_tells_of_damaged_jobs(transport: SqliteTransport, path: Path) -> None:
    transport.enqueue([NewJob(str(number), "add", b"payload") for number in range(5)], NOW)
    [rows] = [finding for finding in transport.diagnose(NOW) if finding.check == "rows"]
    assert rows.ok
    damage(
        path,
        "UPDATE liteq_jobs SET stage = 7 WHERE id = '0'",
        "UPDATE liteq_jobs SET stage = NULL WHERE id = '1'",
        "UPDATE liteq_jobs SET priority = 'x' WHERE id = '2'",
    )
    [rows] = [finding for finding in transport.diagnose(NOW) if finding.check == "rows"]
    assert (rows.ok, rows.detail) == (False, "3 unfinished jobs are damaged")
    assert {lane.waiting: lane.jobs for lane in transport.count()} == {DAMAGED: 2, "ready": 3}


def test_states_of_sound_jobs_are_what_they_were(transport: SqliteTransport) -> None:
    transport.enqueue([NewJob("a", "add", b"payload"), NewJob("b", "add", b"payload")], NOW)
    holder = register(transport)
    first, _ = transport.claim(holder, BOTH, NOW)
    transport.settle(holder, [decide(first, Succeeded(b"value"), NOW, random.random)], NOW)
    transport.enqueue([NewJob("c", "add", b"payload")], NOW)
    assert {job.id: job.state for job in jobs_of(transport)} == {"a": SUCCESS, "b": STARTED, "c": PENDING}
