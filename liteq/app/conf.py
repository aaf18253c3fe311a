"""What a queue and a task can be told when they are made, checked."""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import timedelta, tzinfo
from pathlib import Path
from typing import Any, TypedDict, Unpack

from liteq.app.guard import base_directory
from liteq.app.payload_conf import PayloadOptions, payload_settings
from liteq.calls.checks import (
    check_flag,
    check_limits,
    check_name,
    check_number,
    check_options,
    check_priority,
    check_seconds,
    check_whole,
)
from liteq.codec.accepting import Codecs
from liteq.codec.compression import NONE, algorithm_name
from liteq.codec.contents import Contents
from liteq.codec.encryption import Cipher
from liteq.codec.protection import Protection
from liteq.codec.signing import Signer, make_signer
from liteq.errors import ConfigurationError
from liteq.job import DEFAULT_QUEUE, DEFAULT_RESULT_EXPIRES
from liteq.retry import RetryPolicy
from liteq.urls import hide_passwords, is_redis, read_redis_url, require_slashes
from liteq.zones import read_zone

__all__ = [
    "MEMORY_URL",
    "SERVED",
    "QueueSettings",
    "SigningKey",
    "TaskOptions",
    "TaskSettings",
    "absolute_url",
    "passwords_in",
    "queue_settings",
]

SigningKey = bytes | str | Sequence[bytes | str] | None
"""What `Queue(signing_key=...)` takes: one key, or several to verify with, of which the first signs."""

MEMORY_URL = "memory://"
_SQLITE = "sqlite:///"
SERVED = f"A queue can be a file's path, {_SQLITE}path, {MEMORY_URL}, or on Redis: redis://host/0"
_SCHEME = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*://")

DURABILITIES = ("full", "normal")
FILE_MODES = (0o600, 0o660)


@dataclass(frozen=True, slots=True, kw_only=True)
class QueueSettings:
    """A queue's settings, checked; see `liteq.Queue` for what they mean."""

    url: str
    durability: str
    serializer: str
    result_expires: float
    """Seconds; 0 for ever."""
    visibility_timeout: float
    timezone: tzinfo
    eager: bool
    max_payload: int
    disable_sync_subtasks: bool
    default_queue: str
    busy_timeout: float
    create: bool
    file_mode: int
    accept: frozenset[str] | None
    compression: str | None
    codecs: Codecs
    """What `accept` and the options of compression come to."""
    signer: Signer | None = None
    """Has the keys; shows them to nobody."""
    cipher: Cipher | None = None
    """The same of the keys that encrypt."""
    passwords: Mapping[str, str] = field(default_factory=dict, repr=False)
    """Those that the URL had, by the name of the option; it has them no more."""

    @property
    def contents(self) -> Contents:
        """What writes and reads the results of its jobs."""
        return Contents(self.codecs, self.protection)

    @property
    def protection(self) -> Protection:
        """What signs and encrypts its jobs."""
        return Protection(self.signer, self.cipher)

    def transport_settings(self) -> dict[str, Any]:
        """Return the keyword arguments for `open_transport`; all of them can be written as JSON."""
        return {
            "durability": self.durability,
            "busy_timeout": self.busy_timeout,
            "create": self.create,
            "file_mode": self.file_mode,
            **self.passwords,
        }


def queue_settings(
    url: str | os.PathLike[str],
    *,
    durability: str,
    serializer: str,
    result_expires: float | timedelta | None,
    visibility_timeout: float | timedelta,
    timezone: str | tzinfo,
    eager: bool,
    max_payload: int,
    disable_sync_subtasks: bool,
    default_queue: str,
    busy_timeout: float | timedelta,
    create: bool,
    file_mode: int,
    signing_key: SigningKey = None,
    **payload_options: Unpack[PayloadOptions],
) -> QueueSettings:
    """Return the settings of a queue.

    Raises:
        ConfigurationError: a value that a setting cannot have.
        ExtraRequiredError: a codec or compression needs a library that is not installed.
    """
    if durability not in DURABILITIES:
        raise ConfigurationError(f'durability must be "full" or "normal", not {durability!r}.')
    if not isinstance(serializer, str):
        raise ConfigurationError(f"serializer must be the name of a codec, not {serializer!r}.")
    signer = make_signer(signing_key)
    payloads = payload_settings(payload_options, serializer, signer is not None)
    return QueueSettings(
        url=absolute_url(url),
        durability=durability,
        serializer=serializer,
        result_expires=_kept_for(result_expires),
        visibility_timeout=check_seconds("visibility_timeout", visibility_timeout, least=0.1),
        timezone=read_zone(timezone),
        eager=check_flag("eager", eager),
        max_payload=check_whole("max_payload", max_payload, least=1),
        disable_sync_subtasks=check_flag("disable_sync_subtasks", disable_sync_subtasks),
        default_queue=check_name("default_queue", default_queue),
        busy_timeout=check_seconds("busy_timeout", busy_timeout),
        create=check_flag("create", create),
        file_mode=_file_mode(file_mode),
        accept=payloads.accept,
        compression=payloads.compression,
        codecs=payloads.codecs,
        signer=signer,
        cipher=payloads.cipher,
        passwords=passwords_in(url),
    )


def absolute_url(url: str | os.PathLike[str]) -> str:
    """Return a queue's URL, or the absolute path of its file; a relative path starts where the guard says.

    A URL has no password any more; `passwords_in` returns those that it had.

    Raises:
        ConfigurationError: neither a path nor a URL.
    """
    text = os.fspath(url) if isinstance(url, str | os.PathLike) else url
    if not isinstance(text, str):
        raise ConfigurationError(f"A queue's url must be a string or a path, not {url!r}. {SERVED}.")
    if not text or "\0" in text or text == ":memory:" or text.startswith("file:"):
        raise ConfigurationError(f"{text!r} names no queue file. {SERVED}.")
    if isinstance(url, str):
        if text == MEMORY_URL:
            return text
        if text.startswith(_SQLITE):
            text = text.removeprefix(_SQLITE)
            if not text or text == ":memory:":
                hint = f" For a queue in memory, write {MEMORY_URL}." if text else ""
                raise ConfigurationError(f"{url!r} names no file. {SERVED}.{hint}")
        elif is_redis(text):
            return read_redis_url(text).shown
        elif match := _SCHEME.match(text):
            raise ConfigurationError(
                f"{hide_passwords(text)!r}: there is no transport for {match.group()}. {SERVED}."
            )
        else:
            require_slashes(text)
    return str(Path(base_directory(), text))


def passwords_in(url: str | os.PathLike[str]) -> dict[str, str]:
    """Return the passwords in a URL that `absolute_url` let pass, by the name of their option."""
    return dict(read_redis_url(url).secrets) if isinstance(url, str) and is_redis(url) else {}


def _file_mode(value: object) -> int:
    # Whoever uses a queue has to write its file, and whoever can write it can run code in its workers.
    if not isinstance(value, int) or value not in FILE_MODES:
        shown = f"0o{value:o}" if isinstance(value, int) else repr(value)
        raise ConfigurationError(
            f"file_mode must be 0o600 (this user alone) or 0o660 (the file's group as well), not {shown}: "
            "whoever can write a queue's file can run code in its workers."
        )
    return value


def _kept_for(value: object) -> float:
    return 0.0 if value is None else check_seconds("result_expires", value)


class TaskOptions(TypedDict, total=False):
    """What `@q.task(...)` takes.

    Attributes:
        name: the task's name; default `module.function`.
        bind: pass the task itself as the first argument, with `request`, `retry`, `update_state` and
            `transaction`.
        queue: the queue name its jobs wait in; default the queue's `default_queue`.
        priority: from -32768 to 32767, default 0; a higher one runs first.
        expires: seconds from a call after which the job no longer starts and ends REVOKED.
        ignore_result: store nothing of a success; failures are kept all the same.
        max_retries: how many failed attempts are tried again; default 3, None for no limit.
        default_retry_delay: seconds before a retry where nothing else says how long; default 180.
        autoretry_for: exception types that are retried without asking.
        dont_autoretry_for: exception types that are not, even if a type above would match.
        retry_backoff: True or a number of seconds for exponentially growing delays.
        retry_backoff_max: the most seconds that the back-off may give; default 600.
        retry_jitter: draw the back-off's delay at random between 0 and its value; default True.
        retry_kwargs: `{"max_retries": ..., "countdown": ...}`, another way to say `max_retries` and
            `default_retry_delay`.
        time_limit: seconds after which the process that runs a job is killed; default none.
        soft_time_limit: seconds after which `SoftTimeLimitExceeded` is raised inside the task; default none,
            and less than `time_limit` where both are given.
        max_crashes: how many times a job's process may die under it; default 3, 0 for at most one run.
        serializer: the codec of arguments and results; default the queue's.
        compression: what compresses them; default the queue's, "none" for nothing.
        result_expires: seconds that a finished job is kept, None or 0 for ever; default the queue's.
    """

    name: str | None
    queue: str | None
    priority: int
    expires: float | timedelta | None
    ignore_result: bool
    max_retries: int | None
    default_retry_delay: float | timedelta
    autoretry_for: Iterable[type[BaseException]]
    dont_autoretry_for: Iterable[type[BaseException]]
    retry_backoff: bool | float
    retry_backoff_max: float
    retry_jitter: bool
    retry_kwargs: Mapping[str, Any]
    time_limit: float | timedelta | None
    soft_time_limit: float | timedelta | None
    max_crashes: int
    serializer: str | None
    compression: str | None
    result_expires: float | timedelta | None


_LATER = "this is not built yet."
NOT_BUILT = {
    "base": "a task is always a liteq.Task; use bind=True and plain functions.",
    "rate_limit": _LATER,
    "acks_late": "every job is acknowledged when it is done; max_crashes=0 gives at most one run.",
    "reject_on_worker_lost": "a job whose worker died runs again; see max_crashes.",
    "track_started": "STARTED is always stored.",
    "store_errors_even_if_ignored": "failures are always stored.",
    "send_events": _LATER,
    "throws": _LATER,
    "typing": "arguments are always checked against the signature.",
    "shared": "a task belongs to one queue.",
    "pydantic": _LATER,
    "trail": _LATER,
}
"""Options that Celery takes and liteq does not (yet), each with what to do."""

KNOWN = frozenset(TaskOptions.__annotations__) | {"bind"}


@dataclass(frozen=True, slots=True, kw_only=True)
class TaskSettings:
    """A task's options, checked; see `TaskOptions` for what they mean."""

    name: str | None = None
    bind: bool = False
    queue: str = DEFAULT_QUEUE
    priority: int = 0
    expires: float | None = None
    ignore_result: bool = False
    policy: RetryPolicy = field(default_factory=RetryPolicy)
    time_limit: float | None = None
    soft_time_limit: float | None = None
    max_crashes: int = 3
    serializer: str = "msgpack"
    compression: str | None = None
    result_expires: float | None = None
    """As a job carries it: None for the store's default, 0 for ever."""

    @classmethod
    def of(cls, options: Mapping[str, Any], queue: QueueSettings) -> TaskSettings:
        """Return the settings that options make on a queue.

        Raises:
            NotSupportedError: an option that is not built yet.
            ConfigurationError: an unknown option, or a value that it cannot have.
        """
        check_options("@q.task", options, KNOWN, NOT_BUILT)
        name = options.get("name")
        limits = [_seconds_of(name, options) for name in ("time_limit", "soft_time_limit")]
        check_limits("@q.task", *limits)
        expires = options.get("expires")
        serializer = options.get("serializer")
        if serializer is not None and not isinstance(serializer, str):
            raise ConfigurationError(f"serializer must be the name of a codec, not {serializer!r}.")
        kept = queue.result_expires
        if "result_expires" in options:
            kept = _kept_for(options["result_expires"])
        return cls(
            name=None if name is None else check_name("name", name),
            bind=check_flag("bind", options.get("bind", False)),
            queue=check_name("queue", options.get("queue") or queue.default_queue),
            priority=check_priority(options.get("priority", 0)),
            expires=None if expires is None else check_seconds("expires", expires),
            ignore_result=check_flag("ignore_result", options.get("ignore_result", False)),
            policy=_policy(options),
            time_limit=limits[0],
            soft_time_limit=limits[1],
            max_crashes=check_whole("max_crashes", options.get("max_crashes", 3)),
            serializer=serializer or queue.serializer,
            compression=algorithm_name(
                "compression", options.get("compression") or queue.compression or NONE
            ),
            result_expires=None if kept == DEFAULT_RESULT_EXPIRES else kept,
        )


def _seconds_of(name: str, options: Mapping[str, Any]) -> float | None:
    limit = options.get(name)
    return None if limit is None else check_seconds(name, limit, least=0.001)


def _policy(options: Mapping[str, Any]) -> RetryPolicy:
    options = _with_retry_kwargs(options)
    default = RetryPolicy()
    limit = options.get("max_retries", default.max_retries)
    backoff = options.get("retry_backoff", default.retry_backoff)
    return RetryPolicy(
        max_retries=None if limit is None else check_whole("max_retries", limit),
        default_retry_delay=check_seconds(
            "default_retry_delay", options.get("default_retry_delay", default.default_retry_delay)
        ),
        autoretry_for=_exceptions("autoretry_for", options.get("autoretry_for", ())),
        dont_autoretry_for=_exceptions("dont_autoretry_for", options.get("dont_autoretry_for", ())),
        retry_backoff=backoff if isinstance(backoff, bool) else check_number("retry_backoff", backoff),
        retry_backoff_max=check_seconds(
            "retry_backoff_max", options.get("retry_backoff_max", default.retry_backoff_max)
        ),
        retry_jitter=check_flag("retry_jitter", options.get("retry_jitter", default.retry_jitter)),
    )


def _with_retry_kwargs(options: Mapping[str, Any]) -> Mapping[str, Any]:
    given = options.get("retry_kwargs")
    if not given:
        return options
    if not isinstance(given, Mapping):
        raise ConfigurationError(f"retry_kwargs must be a dict, not {given!r}.")
    names = {"max_retries": "max_retries", "countdown": "default_retry_delay"}
    check_options("retry_kwargs", given, names, {})
    changes = {names[option]: value for option, value in given.items()}
    for name in changes.keys() & options.keys():
        raise ConfigurationError(f"{name} is given twice: by itself and in retry_kwargs; give it once.")
    return {**options, **changes}


def _exceptions(option: str, value: object) -> tuple[type[BaseException], ...]:
    types = (value,) if isinstance(value, type) else value
    if isinstance(types, Iterable):
        types = tuple(types)
        if all(isinstance(kind, type) and issubclass(kind, BaseException) for kind in types):
            return types
    raise ConfigurationError(f"{option} must be a tuple of exception types, not {value!r}.")
