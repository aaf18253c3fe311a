"""With an encryption key, the file tells nothing of arguments, results, failures, headers and progress."""

from __future__ import annotations

import pickle
import sqlite3
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from liteq import Queue, TaskError
from liteq.cli.main import main
from liteq.codec.encryption import Cipher, make_cipher
from liteq.errors import (
    ConfigurationError,
    DecodingError,
    EncryptionKeyError,
    ExtraRequiredError,
    NotSupportedError,
    SecurityError,
)
from liteq.job import Claim, ClaimRequest, Job, JobFilter, NewJob, WorkerInfo
from liteq.states import FAILURE, PENDING, RETRY, SUCCESS
from liteq.testing.clock import ManualClock
from liteq.worker.code import LoadedCode
from liteq.worker.executor import LEAVE_FOR, Executor
from liteq.worker.scheduler import Scheduler

KEY = "a key for the tests, which is long enough"
OTHER = "another key for the tests, long enough too"
SIGNING = "a signing key for the tests"
SECRET = "the card 4711"
NOW = 4e9


def register(queue: Queue) -> None:
    @queue.task(name="echo")
    def echo(value: object) -> object:
        return value

    @queue.task(name="fail", autoretry_for=(KeyError,))
    def fail(value: object, kind: str = "value") -> None:
        raise (KeyError if kind == "key" else ValueError)(f"no such card: {value}")

    @queue.task(name="report", bind=True)
    def report(self: Any, value: object) -> object:
        self.update_state("PROGRESS", {"at": value})
        return [self.request.headers, self.request.timelimit]


@pytest.fixture
def make(tmp_path: Path) -> Iterator[Callable[..., Queue]]:
    made: list[Queue] = []

    def make(key: Any = KEY, **settings: Any) -> Queue:
        queue = Queue(tmp_path / "queue.db", encryption_key=key, **settings)
        made.append(queue)
        register(queue)
        return queue

    yield make
    for queue in made:
        queue.close()


def claim(queue: Queue, at: float = NOW) -> tuple[int, Claim]:
    transport = queue.transport
    holder = transport.register(WorkerInfo("w", "here", 1, 1), 60.0, at)
    [claimed] = transport.claim(holder, ClaimRequest(dict.fromkeys(queue.tasks, 1), limit=1), at)
    return holder, claimed


def work(queue: Queue, at: float = NOW, clock: ManualClock | None = None) -> Job:
    """Run the one ready job of a queue; return its record."""
    transport = queue.transport
    holder, claimed = claim(queue, at)
    executor = Executor(queue.tasks, transport, clock)
    executor.time_limit(claimed)
    decided = executor.run(claimed)
    assert decided is not None
    assert transport.settle(holder, [decided], at) == []
    transport.unregister(holder)
    [job] = transport.get([claimed.id])
    assert job is not None
    return job


def stored(queue: Queue) -> bytes:
    """Return everything that is in the file and beside it."""
    queue.close()
    folder = Path(queue.url).parent
    return b"".join(path.read_bytes() for path in folder.rglob("queue.db*") if path.is_file())


def change(queue: Queue, statement: str, *values: object) -> None:
    """Change a file by hand."""
    queue.close()
    connection = sqlite3.connect(queue.url)
    with connection:
        connection.execute(statement, values)
    connection.close()


# ---- what the file tells ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "settings", [{}, {"signing_key": SIGNING, "compression": "zlib", "serializer": "json"}]
)
def test_the_file_tells_nothing_of_what_jobs_carry(
    make: Callable[..., Queue], settings: dict[str, Any]
) -> None:
    queue = make(**settings)
    tasks = queue.tasks
    results = [
        (tasks["echo"].delay(SECRET), SUCCESS),
        (tasks["fail"].delay(SECRET), FAILURE),
        (tasks["fail"].delay(SECRET, kind="key"), RETRY),
        (tasks["report"].options(headers={"card": SECRET}, time_limit=5).delay(SECRET), SUCCESS),
    ]
    tasks["echo"].options(countdown=3e9).delay(SECRET * 300)
    queue.schedules.add(3600, tasks["echo"].s(SECRET), name="hourly", headers={"card": SECRET})
    for result, state in results:
        job = work(queue, at=NOW - len(results))
        assert (job.id, job.state) == (result.id, state)
    raw = stored(queue)
    for secret in (SECRET.encode(), b"4711", b"no such card", KEY.encode()):
        assert secret not in raw
    # What can be read all the same.
    for open_part in (b"echo", b"ValueError", results[0][0].id.encode()):
        assert open_part in raw


def test_everything_comes_back_to_who_has_the_key(make: Callable[..., Queue]) -> None:
    queue = make()
    assert work_and_get(queue, "echo", (1, {"a": SECRET})) == (1, {"a": SECRET})
    assert work_and_get(queue, "echo", None) is None
    result = queue.tasks["report"].options(headers={"card": SECRET}, time_limit=5).delay(1)
    work(queue)
    assert result.get() == [{"card": SECRET}, (None, 5)]
    failed = queue.tasks["fail"].delay(SECRET)
    job = work(queue)
    assert job.reason == "ValueError (the message is encrypted)"
    with pytest.raises(ValueError, match=f"no such card: {SECRET}"):
        failed.get()
    assert f"no such card: {SECRET}" in str(failed.traceback)


def work_and_get(queue: Queue, task: str, *args: object) -> object:
    result = queue.tasks[task].apply_async(args)
    work(queue)
    return result.get()


def test_progress_is_encrypted_and_read(make: Callable[..., Queue]) -> None:
    queue = make()
    seen: list[Any] = []

    @queue.task(name="watched", bind=True)
    def watched(self: Any) -> None:
        self.update_state("PROGRESS", {"card": SECRET})
        result = queue.AsyncResult(self.request.id)
        seen.append((result.status, result.info))
        seen.append(queue.transport.get([self.request.id])[0])

    watched.delay()
    work(queue)
    assert seen[0] == ("PROGRESS", {"card": SECRET})
    assert SECRET.encode() not in seen[1].result


def test_the_same_value_is_never_stored_as_the_same_bytes(make: Callable[..., Queue]) -> None:
    queue = make()
    ids = [queue.tasks["echo"].options(task_id=f"job {number}").delay(1).id for number in range(3)]
    assert len({job.payload for job in queue.transport.get(ids) if job is not None}) == 3


def test_a_job_that_ends_in_a_transaction_of_its_own_is_encrypted_too(make: Callable[..., Queue]) -> None:
    queue = make()

    @queue.task(name="completes", bind=True)
    def completes(self: Any) -> None:
        with self.transaction():
            self.complete(SECRET)

    result = completes.delay()
    _, claimed = claim(queue)
    assert Executor(queue.tasks, queue.transport).run(claimed) is None
    assert result.get() == SECRET
    assert SECRET.encode() not in stored(queue)


def test_an_eager_queue_encrypts_nothing_and_works() -> None:
    with Queue("memory://", encryption_key=KEY, eager=True) as queue:
        register(queue)
        assert queue.tasks["echo"].delay(SECRET).get() == SECRET
        with pytest.raises(ValueError, match="no such card"):
            queue.tasks["fail"].delay(1).get()


# ---- keys ------------------------------------------------------------------------------------------------


def test_keys_are_changed_by_a_list_of_which_the_first_encrypts(make: Callable[..., Queue]) -> None:
    old = make(OTHER)
    first, second = old.tasks["echo"].delay(1), old.tasks["echo"].delay(2)
    work(old)
    both = make([KEY, OTHER])
    assert both.AsyncResult(first.id).get() == 1
    work(both)
    with pytest.raises(EncryptionKeyError, match="another key than the encryption_key here"):
        old.AsyncResult(second.id).get()
    # The arguments are as they were, and the result is of the new key.
    assert make(KEY).AsyncResult(second.id).get() == 2


CHANGING = [[OTHER], [OTHER, KEY], [KEY, OTHER], [KEY]]
"""What the programs have one after the other while OTHER is replaced by KEY."""


@pytest.mark.parametrize("step", range(3))
@pytest.mark.parametrize("first", ["caller", "worker"])
def test_while_a_key_is_changed_step_by_step_callers_and_workers_read_each_other(
    make: Callable[..., Queue], step: int, first: str
) -> None:
    before, after = CHANGING[step : step + 2]
    caller_has, worker_has = (after, before) if first == "caller" else (before, after)
    # What is pickled is signed both ways too.
    rest = {"serializer": "pickle", "accept": {"pickle", "msgpack"}}
    caller = make(caller_has, signing_key=caller_has, **rest)
    worker = make(worker_has, signing_key=worker_has, **rest)
    result = caller.tasks["echo"].delay({SECRET})
    assert work(worker).state == SUCCESS
    assert result.get() == {SECRET}


@pytest.mark.parametrize("key", [None, OTHER])
def test_a_worker_without_the_key_leaves_a_job_to_others_and_costs_it_no_attempt(
    make: Callable[..., Queue], key: str | None
) -> None:
    result = make().tasks["echo"].delay(5)
    poor = make(key)
    job = work(poor, clock=ManualClock(wall=NOW))
    assert (job.state, job.finished, job.attempts, job.due) == (PENDING, False, 0, NOW + LEAVE_FOR)
    assert job.reason is not None
    assert job.reason.startswith("EncryptionKeyError: It is encrypted")
    rich = make()
    assert work(rich, at=NOW + LEAVE_FOR + 1).attempts == 1
    assert result.get() == 5


@pytest.mark.parametrize("key", [None, OTHER])
def test_a_reader_without_the_key_is_told_so(make: Callable[..., Queue], key: str | None) -> None:
    queue = make()
    result, failed = queue.tasks["echo"].delay(5), queue.tasks["fail"].delay(5)
    work(queue)
    work(queue)
    reader = make(key)
    for job_id in (result.id, failed.id):
        with pytest.raises(EncryptionKeyError, match="It is encrypted"):
            reader.AsyncResult(job_id).get()
    assert reader.AsyncResult(failed.id).status == FAILURE


def test_a_key_is_never_shown_and_stays_in_its_process(make: Callable[..., Queue]) -> None:
    queue = make(KEY, signing_key=SIGNING)
    cipher = queue.settings.cipher
    assert cipher is not None
    for shown in (repr(cipher), repr(queue.settings), repr(queue), str(dir(queue.conf))):
        assert KEY not in shown
    with pytest.raises(TypeError, match="does not leave its process"):
        pickle.dumps(cipher)
    assert KEY not in repr(queue.settings.transport_settings())
    with pytest.raises(ConfigurationError, match="no setting"):
        _ = queue.conf.cipher


@pytest.mark.parametrize(
    ("key", "why"),
    [
        (b"x" * 31, "at least 32 bytes, and this one has 31"),
        ("", "at least 32 bytes"),
        ([], "empty list"),
        ([KEY, "short"], "this one has 5"),
        (5, "not int"),
        ([KEY, None], "not NoneType"),
        ("\ud800" * 40, "cannot be written as UTF-8"),
    ],
)
def test_what_is_no_key_is_refused_without_showing_it(key: Any, why: str) -> None:
    with pytest.raises(ConfigurationError, match=why) as refused:
        Queue("memory://", encryption_key=key)
    assert "short" not in str(refused.value)
    assert refused.value.__cause__ is None


def test_a_missing_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(__import__("sys").modules, "cryptography.exceptions", None)
    with pytest.raises(ExtraRequiredError, match=r"crypto extra: pip install 'liteq-queue\[crypto\]'"):
        make_cipher(KEY)


# ---- those who can write the file ------------------------------------------------------------------------


def test_a_plain_job_is_refused_where_there_is_a_key(make: Callable[..., Queue]) -> None:
    make(None).tasks["echo"].delay(5)
    queue = make()
    job = work(queue)
    assert job.state == FAILURE
    with pytest.raises(SecurityError, match=r"it is not encrypted; its queue has an encryption key"):
        queue.AsyncResult(job.id).get()


@pytest.mark.parametrize(
    "swap",
    [
        "payload = (SELECT payload FROM liteq_jobs WHERE id = 'other')",
        "options = (SELECT options FROM liteq_jobs WHERE id = 'other')",
        "options = payload",
        "payload = options",
        "options = x'80'",
        "payload = x'929080'",
        "codec = 'json+aes'",
        "lane = (SELECT lane FROM liteq_jobs WHERE id = 'of another task')",
    ],
)
def test_a_value_is_of_no_use_anywhere_but_in_its_own_job(make: Callable[..., Queue], swap: str) -> None:
    queue = make()
    echo = queue.tasks["echo"]
    for name in ("mine", "other"):
        echo.options(task_id=name, headers={"of": name}, countdown=0 if name == "mine" else 1e9).delay(name)
    queue.tasks["report"].options(task_id="of another task", countdown=1e9).delay(1)
    change(queue, f"UPDATE liteq_jobs SET {swap} WHERE id = 'mine'")
    job = work(queue, at=queue.transport.get(["mine"])[0].due + 1)  # type: ignore[union-attr]
    assert (job.id, job.state) == ("mine", FAILURE)
    with pytest.raises(DecodingError, match=r"changed, or belongs to another job|not encrypted"):
        queue.AsyncResult("mine").get()


def test_a_result_is_of_no_use_anywhere_but_in_its_own_job_and_state(make: Callable[..., Queue]) -> None:
    queue = make()
    mine, other = (queue.tasks["echo"].options(task_id=name).delay(name) for name in ("mine", "other"))
    work_all(queue, 2)
    assert (mine.get(), other.get()) == ("mine", "other")
    for statement in (
        "UPDATE liteq_jobs SET result = (SELECT result FROM liteq_jobs WHERE id = 'other') WHERE id = 'mine'",
        "UPDATE liteq_jobs SET result = x'01' WHERE id = 'mine'",
        "UPDATE liteq_jobs SET result = x'01', codec = NULL WHERE id = 'mine'",
        "UPDATE liteq_jobs SET state = 'PROGRESS' WHERE id = 'other'",
    ):
        change(queue, statement)
        which = "other" if "PROGRESS" in statement else "mine"
        with pytest.raises(DecodingError, match=r"changed, or belongs to another job|not encrypted"):
            _ = queue.AsyncResult(which).result


def work_all(queue: Queue, count: int) -> None:
    transport = queue.transport
    holder = transport.register(WorkerInfo("w", "here", 1, 1), 60.0, NOW)
    claims = transport.claim(holder, ClaimRequest(dict.fromkeys(queue.tasks, 1)), NOW)
    assert len(claims) == count
    executor = Executor(queue.tasks, transport)
    transport.settle(holder, [decided for job in claims if (decided := executor.run(job))], NOW)


def test_a_failure_that_a_supervisor_tells_is_read(make: Callable[..., Queue]) -> None:
    from liteq.errors import WorkerLostError
    from liteq.failure import encode_failure, reason
    from liteq.lifecycle import Lost, decide

    queue = make()
    result = queue.tasks["echo"].delay(1)
    holder, claimed = claim(queue)
    lost = WorkerLostError("its worker is gone")
    claimed = claimed._replace(max_crashes=0)
    ended = decide(claimed, Lost(True, encode_failure(lost), reason(lost)), NOW, lambda: 0.5)
    queue.transport.settle(holder, [ended], NOW)
    with pytest.raises(WorkerLostError, match="its worker is gone"):
        result.get()


# ---- schedules -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("signing", [None, SIGNING])
def test_schedules_fire_change_and_run_encrypted(make: Callable[..., Queue], signing: str | None) -> None:
    queue = make(signing_key=signing)
    echo = queue.tasks["echo"]
    added = queue.schedules.add(10, echo.s(SECRET), name="often", headers={"card": SECRET})
    assert added.args == (SECRET,)
    assert queue.schedules.change("often", args=(SECRET,), schedule=20, priority=3).args == (SECRET,)
    assert queue.schedules.change("often", serializer="json").args == (SECRET,)
    now = queue.schedules.run_now("often")
    assert work(queue).codec == "json+aes"
    assert now.get() == SECRET
    next_run = queue.schedules.get("often").next_run
    assert next_run is not None
    clock = ManualClock(wall=next_run.timestamp() + 1)
    code = LoadedCode(queue.url, prefer=queue.registry)
    scheduler = Scheduler(queue.transport, clock, lambda: 0.5, code=code)
    scheduler.look()
    scheduler.close()
    last = queue.schedules.get("often").last_job
    assert last is not None
    work(queue)
    assert queue.AsyncResult(last).get() == SECRET
    assert SECRET.encode() not in stored(queue)
    # Who has no key sees that there is one, and can do nothing with it.
    poor = make(None)
    assert (poor.schedules.get("often").args, poor.schedules.get("often").task) == (None, "echo")
    with pytest.raises(NotSupportedError, match=r"Schedule 'often' is (signed|encrypted)"):
        poor.schedules.run_now("often")


def test_a_schedule_needs_a_name_that_does_not_show_its_arguments(make: Callable[..., Queue]) -> None:
    queue = make()
    with pytest.raises(ConfigurationError, match=r"needs a name=\.\.\. in a queue with an encryption_key"):
        queue.add_periodic_task(60, queue.tasks["echo"].s(SECRET))
    queue.add_periodic_task(60, queue.tasks["echo"].s(SECRET), name="echoes")


def test_the_digest_of_a_declaration_can_be_made_with_the_key_only(make: Callable[..., Queue]) -> None:
    from liteq.app.digests import digest_of

    queue = make()
    queue.add_periodic_task(60, queue.tasks["echo"].s(SECRET), name="echoes")
    [declaration] = queue.declarations.all()
    digests = {digest_of(declaration.work, cipher) for cipher in (None, make_cipher(KEY), make_cipher(OTHER))}
    assert len(digests) == 3
    assert digest_of(declaration.work, make_cipher([KEY, OTHER])) in digests


# ---- the command line ------------------------------------------------------------------------------------


def test_the_command_line_says_what_it_cannot_read(make: Callable[..., Queue]) -> None:
    queue = make()
    result, failed = queue.tasks["echo"].delay(SECRET), queue.tasks["fail"].delay(SECRET)
    work_all(queue, 2)
    queue.close()

    def run(*args: str) -> str:
        return CliRunner().invoke(main, list(args)).output

    for job_id in (result.id, failed.id):
        shown = run("jobs", "show", queue.url, job_id)
        assert "there is no encryption_key here" in shown
        assert SECRET not in shown
    assert "encrypted" in run("call", queue.url, "echo", "1")
    assert "there is no encryption_key here" in run("result", queue.url, result.id)


def test_ciphers_of_the_same_keys_understand_each_other_and_bind_what_they_are_told() -> None:
    one, two = Cipher([KEY.encode()]), Cipher([OTHER.encode(), KEY.encode()])
    sealed = one.seal(b"data", "result", "id")
    assert two.open(sealed, "result", "id") == b"data"
    assert one.open(one.seal(b"", "a"), "a") == b""
    for data, facts in (
        (sealed, ("result", "other")),
        (sealed[:-1], ("result", "id")),
        (sealed + b"x", ("result", "id")),
        (sealed[:20], ("result", "id")),
    ):
        with pytest.raises(DecodingError):
            one.open(data, *facts)
    with pytest.raises(EncryptionKeyError):
        one.open(two.seal(b"data", "a"), "a")


def test_an_unknown_type_of_exception_is_told_by_its_name(make: Callable[..., Queue]) -> None:
    queue = make()
    queue.transport.enqueue([NewJob("a", "echo", b"x", "msgpack+aes")], 0.0)
    assert work(queue).reason == "DecodingError (the message is encrypted)"
    with pytest.raises((TaskError, DecodingError)):
        queue.AsyncResult("a").get()


def test_a_worker_without_the_key_tells_so_once_for_each_task(
    make: Callable[..., Queue], caplog: pytest.LogCaptureFixture
) -> None:
    queue = make()
    for number in range(3):
        queue.tasks["echo"].delay(number)
    poor = make(None)
    work_all(poor, 3)
    assert len([line for line in caplog.messages if "It is encrypted" in line]) == 1
    assert [job.attempts for job in poor.transport.find(JobFilter())] == [0, 0, 0]
