"""Everything that decodes bytes which somebody hostile may have written, and what must hold of each."""

from __future__ import annotations

import time
from collections.abc import Callable
from random import Random
from typing import Any, NamedTuple

from chaos.fuzz.timetables import check_schedule, warm_up
from chaos.fuzz.values import ACCEPTED, CODECS, KEY
from liteq import Queue
from liteq.app.store import Store
from liteq.calls.options import decode_options, encode_options
from liteq.calls.request import Request
from liteq.codec import Codec, decode_call
from liteq.codec.encryption import make_cipher
from liteq.codec.protection import Protection
from liteq.codec.signing import Signer
from liteq.errors import DecodingError, EncodingError, LiteqError
from liteq.failure import decode_failure, encode_failure, restore
from liteq.job import Claim, Job, NewJob, Transition
from liteq.result import EagerResult
from liteq.states import FAILURE, RETRY, SUCCESS
from liteq.worker.executor import Executor
from liteq.worker.log import JobLog

__all__ = ["Broken", "Target", "make_targets"]

Check = Callable[[bytes, Random], bool]
"""Decodes bytes; tells whether they came out as something. Raises `Broken`, or what must not get out."""


class Broken(AssertionError):
    """A promise did not hold."""


class Target(NamedTuple):
    """One way in for hostile bytes."""

    name: str
    kinds: tuple[str, ...]
    """Which samples are worth mutating for it."""
    codec: str | None
    """Of which codec; None for any."""
    check: Check
    tells_tracebacks: bool = False
    """Whether it words failures, for which Python reads source files."""


def make_targets() -> list[Target]:
    """Return all ways in; everything that they import is imported when they have run once."""
    fuzzed = _Fuzzed()
    warm_up()
    targets = [
        Target("options", ("options",), None, _options),
        Target("failure", ("failure",), None, _failure),
        Target("schedule", ("schedule",), None, check_schedule),
        Target("encryption", ("options", "call"), None, _encrypted),
        Target("signature", ("options", "call"), None, _signature),
        Target("result", ("value", "failure"), None, fuzzed.result),
        Target("executor", ("call", "options"), None, fuzzed.executor, tells_tracebacks=True),
    ]
    for name in CODECS:
        codec = ACCEPTED.get(name)
        targets.append(Target(f"{name} value", ("value", "call", "failure"), name, _value_of(codec)))
        targets.append(Target(f"{name} call", ("call",), name, _call_of(codec)))
    return targets


def _value_of(codec: Codec) -> Check:
    def check(data: bytes, random: Random) -> bool:
        try:
            value = codec.decode(data[: _most(codec)])
        except DecodingError:
            return False
        encode_again(codec, value)
        return True

    return check


def _most(codec: Codec) -> int | None:
    """Return how many bytes are decoded at most; of YAML, some take 20 µs and 2 kB each."""
    return 4000 if codec.name == "yaml" else None


def encode_again(codec: Codec, value: object) -> None:
    """Demand that what came out can go in again, and comes out."""
    try:
        again = codec.encode(value)
    except EncodingError as error:
        # Values are read at any depth that the format allows, and written at a hundred levels.
        if "levels deep" in str(error):
            return
        raise Broken(f"it was decoded and cannot be encoded: {error}") from error
    if type(codec.decode(again)) is not type(value):
        raise Broken("it comes back as another type")


def _call_of(codec: Codec) -> Check:
    def check(data: bytes, random: Random) -> bool:
        try:
            args, kwargs = decode_call(codec, data[: _most(codec)])
        except DecodingError:
            return False
        if type(args) is not list or not all(type(name) is str for name in kwargs):
            raise Broken("no arguments of a call")
        encode_again(codec, [args, kwargs])
        return True

    return check


def _options(data: bytes, random: Random) -> bool:
    try:
        options = decode_options(data)
    except DecodingError:
        return False
    try:
        encode_options(options)
    except EncodingError as error:
        if "levels deep" not in str(error):
            raise Broken(f"options were decoded and cannot be encoded: {error}") from error
    # The worker adds the limit to a time before it begins.
    if options.time_limit is not None and not 0 < time.monotonic() + options.time_limit < 1e11:
        raise Broken(f"a time limit of {options.time_limit!r}")
    Request.of(_claim(b"", "msgpack", data), [], {})
    return True


def _failure(data: bytes, random: Random) -> bool:
    try:
        failure = decode_failure(data)
    except DecodingError:
        return False
    error = restore(failure)
    if not isinstance(error, Exception):
        raise Broken(f"{type(error)} is no ordinary exception")
    decode_failure(encode_failure(error, traceback=""))
    return True


def _claim(payload: Any, codec: Any, options: Any, **changes: Any) -> Claim:
    claim = Claim(
        *(1, 2, "id", "fuzz.echo", "default", payload, codec, 0, 0.0, None, None, 1, 0, 0, 3, False, options)
    )
    return claim._replace(**changes)


_SIGNER = Signer([KEY])


def _signature(data: bytes, random: Random) -> bool:
    """Nothing but the very job that was signed may pass."""
    original = _claim(b"payload", "msgpack", None)
    signed = _SIGNER.sign("id", "fuzz.echo", "default", "msgpack", b"payload", None, 3)
    field = random.choice(["payload", "options", "both", "codec", "id", "task", "queue", "max_crashes"])
    changes: dict[str, Any] = {"options": signed}
    if field == "payload":
        changes["payload"] = data
    elif field == "options":
        changes["options"] = signed[: random.randrange(len(signed) + 1)] + data
    elif field == "both":
        cut = random.randrange(len(data) + 1)
        changes.update(payload=data[:cut], options=signed + data[cut:])
    elif field == "max_crashes":
        changes["max_crashes"] = random.choice([0, 1, 4, 2**31, 3.5, "3", None])
    else:
        changes[field] = random.choice([data, data.decode("latin-1"), None, 5])
    forged = original._replace(**changes)
    unchanged = forged == original._replace(options=signed)
    if (_SIGNER.refusal(forged) is None) != unchanged:
        raise Broken(f"a job with another {field} passes as signed")
    return unchanged


_PROTECTION = Protection(None, make_cipher(KEY + b" for encryption"))


def _encrypted(data: bytes, random: Random) -> bool:
    """Nothing but the very job that was encrypted may be opened."""
    sealed = _PROTECTION.seal(NewJob("id", "fuzz.echo", b"payload", options=b"options"))
    options = sealed.options or b""
    start = random.choice([0, 2, 6, 18, len(sealed.payload)])
    changes: dict[str, Any] = {
        "payload": sealed.payload[:start] + data,
        "options": options[:start] + data,
        "codec": random.choice([data, data.decode("latin-1"), "json+aes", "msgpack", None]),
        "id": data.decode("latin-1"),
        "task": random.choice([data.decode("latin-1"), None]),
    }
    field = random.choice(list(changes))
    if getattr(sealed, field) == changes[field]:
        return False
    try:
        opened = _PROTECTION.opened(sealed._replace(**{field: changes[field]}))
    except DecodingError:
        return False
    raise Broken(f"with another {field} it was opened as {opened!r:.100}")


class _Fuzzed:
    """A queue whose results are read and whose jobs are run."""

    def __init__(self) -> None:
        self._queue = Queue("memory://")
        self._task = self._queue.task(name="fuzz.echo", bind=True)(_echo)
        tasks = {"fuzz.echo": self._task}
        log = JobLog()
        log._logger.disabled = True
        self._executor = Executor(tasks, self._queue.transport, log=log)

    def result(self, data: bytes, random: Random) -> bool:
        """Read a result as its caller does."""
        state = random.choice([SUCCESS, FAILURE, RETRY, "PROGRESS", "(damaged)"])
        codec = random.choice(["msgpack", "msgpack", "json", "msgpack+zlib", "pickle", "none such", ""])
        result = EagerResult(_job(state, codec, data), "id", _store(self._queue))
        read = False
        for look in (
            lambda: result.result,
            lambda: result.traceback,
            lambda: result.get(propagate=False),
            lambda: result.status,
        ):
            try:
                look()
                read = True
            except LiteqError:
                pass
        return read

    def executor(self, data: bytes, random: Random) -> bool:
        """Run a job as a worker does."""
        payload, options = (data, None) if random.random() < 0.6 else (b"\x92\x90\x80", data)
        codec = random.choice(
            ["msgpack", "msgpack", "json", "msgpack+lzma", "pickle", "none such", b"msgpack", None]
        )
        if random.random() < 0.1:
            payload = random.choice([None, "text", 5, 1.5])
        job = _claim(payload, codec, options)
        limit = self._executor.time_limit(job)
        if limit is not None and not 0 < limit < 1e11:
            raise Broken(f"a time limit of {limit!r}")
        decided = self._executor.run(job)
        if type(decided) is not Transition or decided.state not in (SUCCESS, FAILURE):
            raise Broken(f"it decided {decided!r:.100}")
        return decided.state == SUCCESS


def _echo(self: Any, *args: object, **kwargs: object) -> object:
    request = self.request
    return [request.headers, request.root_id, request.timelimit, args, kwargs]


def _store(queue: Queue) -> Store:
    return queue.store


def _job(state: str, codec: str, result: bytes) -> Job:
    return Job(
        *(
            1,
            "id",
            "fuzz.echo",
            "default",
            state,
            True,
            0,
            0.0,
            0.0,
            None,
            None,
            None,
            0.0,
            1,
            0,
            0,
            3,
            False,
        ),
        *(None, codec, b"", None, result, "a reason"),
    )
