"""A queue writes and reads the codecs that it accepts, compressed as it says, and mixed producers work."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from liteq import Queue
from liteq.codec import decode_call, get_codec, register_codec
from liteq.codec.registry import _codecs
from liteq.errors import (
    ConfigurationError,
    ContentDisallowed,
    DecodingError,
    EncodingError,
    ExtraRequiredError,
    PayloadTooLargeError,
)
from liteq.job import Claim, ClaimRequest, Job, NewJob, WorkerInfo
from liteq.states import FAILURE, SUCCESS
from liteq.worker.executor import Executor

KEY = "a key for the tests, long enough"
LONG = "the same words again and again, " * 100


def echo(value: object) -> object:
    return value


def work(queue: Queue, at: Queue | None = None) -> Job:
    """Run the one ready job of a queue with the tasks of it, or of another one; return its record."""
    transport, worker = queue.transport, queue if at is None else at
    holder = transport.register(WorkerInfo("w", "here", 1, 1), 60.0, 0.0)
    claims: list[Claim] = transport.claim(holder, ClaimRequest(dict.fromkeys(worker.tasks, 1)), 1e11)
    [claim] = claims
    decided = Executor(worker.tasks, transport).run(claim)
    assert decided is not None
    assert transport.settle(holder, [decided], 1e11) == []
    [job] = transport.get([claim.id])
    assert job is not None
    return job


@pytest.fixture
def make(tmp_path: Path) -> Iterator[Callable[..., Queue]]:
    """Make queues on one file, each with the task `echo`."""
    made: list[Queue] = []

    def make(**settings: Any) -> Queue:
        made.append(Queue(tmp_path / "queue.db", **settings))
        made[-1].task(name="echo")(echo)
        return made[-1]

    yield make
    for queue in made:
        queue.close()


# ---- which codec -----------------------------------------------------------------------------------------


def test_a_call_says_how_it_is_encoded_else_its_task_else_its_queue(make: Callable[..., Queue]) -> None:
    queue = make(serializer="json", compression="gzip", compression_threshold=1)
    own = queue.task(name="own", serializer="yaml", compression="none")(echo)
    echoed = queue.tasks["echo"]
    labels = {
        echoed.delay(1): "json+zlib",
        echoed.options(serializer="msgpack").delay(1): "msgpack+zlib",
        echoed.options(compression="none").options(serializer="yaml").delay(1): "yaml",
        echoed.apply_async((1,), serializer="yaml", compression="xz"): "yaml+lzma",
        echoed.s(1).apply_async(compression="bzip2"): "json+bzip2",
        echoed.apply_async((1,), serializer=None, compression=None): "json+zlib",
        own.delay(1): "yaml",
        own.options(compression="zstd").delay(1): "yaml+zstd",
        queue.send_task("elsewhere", (1,), serializer="msgpack"): "msgpack+zlib",
    }
    labels.update(zip(queue.enqueue_many([own.s(1), echoed.s(1)]), ("yaml", "json+zlib"), strict=True))
    for result, label in labels.items():
        [job] = queue.transport.get([result.id])
        assert job is not None
        assert job.codec == label
        assert decode_call(queue.settings.codecs.get(label), job.payload) == ([1], {})


@pytest.mark.parametrize(
    "label", ["msgpack", "json", "yaml+zlib", "msgpack+zstd", "msgpack+lzma", "json+bzip2"]
)
def test_the_result_is_encoded_and_compressed_as_the_job_says(make: Callable[..., Queue], label: str) -> None:
    producer, worker = make(), make(serializer="json")
    serializer, _, compression = label.partition("+")
    result = producer.tasks["echo"].apply_async(
        (LONG,), serializer=serializer, compression=compression or None
    )
    job = work(producer, at=worker)
    assert (job.state, job.codec) == (SUCCESS, label)
    assert job.result is not None
    assert (len(job.result) < 500) is bool(compression)
    assert result.get() == LONG


def test_a_format_that_cannot_be_is_refused_before_anything_is_stored(make: Callable[..., Queue]) -> None:
    queue = make(accept={"msgpack", "json"})
    task = queue.tasks["echo"]
    for options in (
        {"serializer": "none such"},
        {"serializer": "yaml"},
        {"serializer": "pickle"},
        {"serializer": 5},
        {"compression": "brotli"},
        {"compression": 5},
    ):
        given: Any = options
        for call in (
            lambda: task.apply_async((1,), **given),  # noqa: B023
            lambda: task.options(**given),  # noqa: B023
            lambda: queue.task(name="other", **given)(echo),  # noqa: B023
        ):
            with pytest.raises(ConfigurationError, match=r"serializer|compression"):
                call()
        with pytest.raises(ConfigurationError, match=r"serializer|compression"):
            task.options(priority=1).options(**given).delay(1)
    assert queue.transport.count() == []


def test_max_payload_counts_the_bytes_that_are_stored(make: Callable[..., Queue]) -> None:
    queue = make(max_payload=1000, compression="zlib")
    queue.tasks["echo"].delay(LONG)
    with pytest.raises(PayloadTooLargeError, match="max_payload is 1,000"):
        queue.tasks["echo"].options(compression="none").delay(LONG)


def test_a_bomb_ends_its_own_job_with_the_setting_named(make: Callable[..., Queue]) -> None:
    result = make(compression="zlib").tasks["echo"].delay("a" * 500_000)
    worker = make(max_decompressed=100_000)
    job = work(worker)
    assert job.state == FAILURE
    with pytest.raises(
        DecodingError, match=r"more than 100,000 bytes once it is decompressed.*max_decompressed"
    ):
        worker.AsyncResult(result.id).get()


def test_an_eager_queue_encodes_as_the_call_says() -> None:
    with Queue("memory://", eager=True, compression="zlib") as queue:
        task = queue.task(name="echo")(echo)
        assert task.delay(LONG).get() == LONG
        assert task.options(serializer="json").delay([1]).get() == [1]


# ---- which codecs are accepted ---------------------------------------------------------------------------


class Hostile:
    """A codec that must not be asked."""

    name = "hostile"

    def encode(self, value: object) -> bytes:
        return b"hostile"

    def decode(self, data: bytes) -> object:
        raise AssertionError("it was decoded")


register_codec(Hostile())


@pytest.mark.parametrize("codec", ["hostile", "json", "yaml", "pickle", "json+zlib"])
def test_a_job_of_a_codec_that_is_not_accepted_is_quarantined_and_not_decoded(
    make: Callable[..., Queue], codec: str
) -> None:
    queue = make(accept={"msgpack"})
    task = queue.task(name="retried", autoretry_for=(Exception,))(echo)
    queue.transport.enqueue([NewJob("hostile", task.name, b"cos\nsystem\n(S'exit 1'\ntR.", codec)], 0.0)
    job = work(queue)
    assert (job.state, job.finished, job.attempts) == (FAILURE, True, 1)
    name = codec.partition("+")[0]
    assert job.reason is not None
    assert job.reason.startswith(f"DecodingError: The arguments of this job cannot be read as {codec}")
    assert f"add {name!r} to accept=" in job.reason


@pytest.mark.parametrize("label", ["{0}", "msgpack+{0}", "{0}+zlib"])
@pytest.mark.parametrize("accept", [None, {"msgpack"}])
def test_a_label_of_any_length_is_told_in_a_line(
    make: Callable[..., Queue], label: str, accept: Any, caplog: pytest.LogCaptureFixture
) -> None:
    queue = make(accept=accept)
    queue.transport.enqueue([NewJob("a", "echo", b"\x92\x91\x01\x80", label.format("x" * 1_000_000))], 0.0)
    job = work(queue)
    assert job.state == FAILURE
    with pytest.raises(DecodingError) as told:
        queue.AsyncResult(job.id).get()
    assert len(str(told.value)) < 700
    assert len(caplog.text) < 10_000


def test_a_result_of_a_codec_that_is_not_accepted_is_not_decoded(make: Callable[..., Queue]) -> None:
    writer = make()
    result = writer.tasks["echo"].options(serializer="json").delay(5)
    work(writer)
    reader = make(accept={"msgpack"})
    with pytest.raises(ContentDisallowed, match="'json' are not accepted here"):
        reader.AsyncResult(result.id).get()
    with pytest.raises(ContentDisallowed):
        _ = reader.AsyncResult(result.id).result
    assert reader.AsyncResult(result.id).status == SUCCESS
    assert result.get() == 5


def test_all_that_is_safe_is_accepted_where_nothing_is_said(make: Callable[..., Queue]) -> None:
    codecs = make().settings.codecs
    for name in ("msgpack", "json", "yaml", "hostile"):
        assert codecs.get(name).name == name
    with pytest.raises(ContentDisallowed, match="'pickle' are not accepted"):
        codecs.get("pickle")
    get_codec("pickle")
    with pytest.raises(ContentDisallowed, match="'pickle' are not accepted"):
        make().settings.codecs.get("pickle")


@pytest.mark.parametrize(
    ("accept", "why"),
    [
        ("json", "accept takes a set"),
        (5, "accept takes a set"),
        ([], "accept is empty"),
        (["jsn"], "no serializer named 'jsn'"),
        ([5], "no serializer named 5"),
        ({"json"}, "serializer='msgpack' is not among"),
        ({"msgpack", "pickle"}, "no signing_key"),
    ],
)
def test_an_accept_that_cannot_be_is_refused(accept: Any, why: str) -> None:
    with pytest.raises(ConfigurationError, match=why):
        Queue("memory://", accept=accept)


def test_a_misspelt_setting_is_refused_with_the_nearest() -> None:
    options: Any = {"acept": {"json"}}
    with pytest.raises(TypeError, match=r"unexpected keyword argument 'acept'.*Did you mean 'accept'"):
        Queue("memory://", **options)


# ---- codecs of others ------------------------------------------------------------------------------------


class Reversed:
    """A codec of an installed package."""

    name = "reversed"

    def encode(self, value: object) -> bytes:
        return get_codec("json").encode(value)[::-1]

    def decode(self, data: bytes) -> object:
        return get_codec("json").decode(data[::-1])


@pytest.fixture
def installed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Install a package with two codecs, one of which calls itself otherwise than its entry point."""
    folder = tmp_path / "packages"
    info = folder / "reversing-1.0.dist-info"
    info.mkdir(parents=True)
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: reversing\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text(
        f"[liteq.codecs]\nreversed = {__name__}:Reversed\nbackwards = {__name__}:Reversed\n"
    )
    monkeypatch.syspath_prepend(folder)
    importlib.invalidate_caches()
    before = dict(_codecs)
    yield
    _codecs.clear()
    _codecs.update(before)


@pytest.mark.usefixtures("installed")
def test_the_codec_of_an_installed_package_is_found_by_its_name(make: Callable[..., Queue]) -> None:
    plain, by_accept = make(), make(accept={"msgpack", "reversed"})
    foreign = NewJob("foreign", "echo", Reversed().encode([[1], {}]), "reversed")
    plain.transport.enqueue([foreign], 0.0)
    # A job alone has nothing imported.
    assert "no serializer named 'reversed'" in str(work(plain).reason)
    plain.transport.enqueue([foreign], 0.0)
    assert work(by_accept).state == SUCCESS
    queue = make(serializer="reversed", compression="zlib")
    result = queue.tasks["echo"].delay([1, (2,)])
    assert work(queue).state == SUCCESS
    assert result.get() == [1, (2,)]
    with pytest.raises(ConfigurationError, match=r"'backwards'.* calls itself 'reversed'"):
        make(serializer="backwards")


@pytest.mark.parametrize(
    ("source", "why"),
    [
        ("raise RuntimeError('no luck')", "cannot be loaded: RuntimeError: no luck"),
        ("raise SystemExit(3)", "cannot be loaded: SystemExit: 3"),
        ("Codec = 7", "A codec needs a name"),
        ("class Codec: name = 'broken'", r"has no method encode\(\)"),
        ("class Codec:\n    name = 'broken'\n    def __init__(self): 1 / 0", "ZeroDivisionError"),
    ],
    ids=["raises", "exits", "is none", "is half of one", "cannot be made"],
)
@pytest.mark.usefixtures("installed")
def test_a_codec_that_cannot_be_loaded_is_named(
    make: Callable[..., Queue], source: str, why: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    packages = tmp_path / "packages"
    (packages / "reversing-1.0.dist-info" / "entry_points.txt").write_text(
        "[liteq.codecs]\nbroken = broken_codec:Codec\n"
    )
    (packages / "broken_codec.py").write_text(source)
    importlib.invalidate_caches()
    monkeypatch.setitem(sys.modules, "broken_codec", None)
    monkeypatch.delitem(sys.modules, "broken_codec")
    with pytest.raises(ConfigurationError, match=why):
        make(serializer="broken")


class Careless:
    """A codec that keeps no promise; what it does with a value is the value's business."""

    name = "careless"

    def encode(self, value: Any) -> Any:
        done = value if isinstance(value, str) else value[0][0]
        return {"text": "text", "view": memoryview(b"view")}.get(done) or {}[done]

    def decode(self, data: bytes) -> object:
        if data == b"view":
            return [["view"], {}]
        raise OSError("no such value")


register_codec(Careless())


def test_a_codec_that_keeps_no_promise_is_told_as_such(make: Callable[..., Queue]) -> None:
    queue = make(serializer="careless")
    echo = queue.tasks["echo"]
    with pytest.raises(EncodingError, match="'careless' returned str and not bytes"):
        echo.delay("text")
    with pytest.raises(EncodingError, match="'careless' failed: KeyError: 'anything'"):
        echo.delay("anything")
    result = echo.delay("view")
    job = work(queue)
    assert (job.state, job.payload) == (SUCCESS, b"view")
    with pytest.raises(DecodingError, match="'careless' failed: OSError: no such value"):
        queue.settings.contents.read(job, SUCCESS, b"other")
    assert result.get() == [["view"], {}]


def test_a_plus_sign_is_no_part_of_a_codecs_name() -> None:
    class Odd(Hostile):
        name = "odd+even"

    with pytest.raises(ConfigurationError, match=r"'odd\+even'"):
        register_codec(Odd())


def test_a_job_whose_codec_needs_a_missing_extra_fails_and_names_it(
    make: Callable[..., Queue], monkeypatch: pytest.MonkeyPatch
) -> None:
    def missing() -> Any:
        raise ExtraRequiredError("serializer='yaml' needs the yaml extra: pip install 'liteq-queue[yaml]'")

    queue = make()
    queue.transport.enqueue([NewJob("a", "echo", b"[[], {}]", "yaml")], 0.0)
    monkeypatch.setattr("liteq.codec.registry._codecs", {})
    monkeypatch.setitem(__import__("liteq.codec.registry", fromlist=["_built_in"])._built_in, "yaml", missing)
    assert "pip install 'liteq-queue[yaml]'" in str(work(queue).reason)


def test_bytes_that_are_no_payload_raise_a_decoding_error() -> None:
    with pytest.raises(DecodingError):
        get_codec("pickle").decode(b"no pickle")
