"""How a task's exception travels from the worker to whoever asks for the result.

It is stored as data: the name of its type, its message, arguments and attributes, and its traceback as
text. `restore` builds an exception of the same type from that where the type is at hand, and a
`TaskError` where it is not.
"""

from __future__ import annotations

import contextlib
import importlib
import os
import sys
import traceback as tracebacks
from collections.abc import Callable, Iterator, Mapping
from functools import partial
from types import ModuleType, TracebackType
from typing import Any, NamedTuple, TypeVar

from liteq.codec.msgpack_codec import MsgpackCodec
from liteq.codec.types import importable_name, main_module_name
from liteq.errors import DecodingError, TaskError

__all__ = [
    "ATTRIBUTE_LIMIT",
    "CONTENT_LIMIT",
    "MESSAGE_LIMIT",
    "REASON_LIMIT",
    "TRACEBACK_LIMIT",
    "Failure",
    "RemoteTraceback",
    "decode_failure",
    "encode_failure",
    "reason",
    "restore",
]

T = TypeVar("T")

MESSAGE_LIMIT = 10_000
"""Characters of a message, or of a note, that are kept."""
TRACEBACK_LIMIT = 60_000
"""Characters of a traceback that are kept: its first half and its last."""
CONTENT_LIMIT = 60_000
"""Bytes that the encoded arguments may take; larger ones are not kept."""
ATTRIBUTE_LIMIT = 5_000
"""Bytes that each encoded attribute may take; larger ones are not kept."""
REASON_LIMIT = 500
"""Characters of `reason`."""
_NAME_LIMIT = 500
_FRAME_LIMIT = 1000
"""Frames of a traceback that are looked at, the last ones, as Python itself does; each takes 20 µs."""
_COUNT_LIMIT = 20

_UNPRINTABLE = "<the message cannot be read: str() of the exception fails>"
_UNREADABLE = object()
_NO_FAILURE = "The stored result is readable as msgpack, but it is not a failure."

_PACKAGE = os.path.dirname(os.path.abspath(__file__)) + os.sep  # noqa: PTH100, PTH120 (compared with plain str)
_codec = MsgpackCodec()


class RemoteTraceback(Exception):
    """The cause that `restore` gives an exception: its text is the traceback in the worker."""

    def __init__(self, text: str) -> None:
        super().__init__(text)
        self.text = text

    def __str__(self) -> str:
        return self.text


class Failure(NamedTuple):
    """An exception as it is stored."""

    module: str
    """The module that its type is defined in."""
    type: str
    """The qualified name of its type."""
    message: str
    """What `str()` of it gives."""
    args: tuple[object, ...] | None
    """What its type is called with to make it again; None if that cannot be stored or read here."""
    traceback: str
    """The traceback as text; empty if it was never raised."""
    notes: tuple[str, ...]
    """What `add_note` added."""
    attributes: Mapping[str, object]
    """Its own attributes, those that can be stored and read here."""

    @property
    def dotted(self) -> str:
        """The name of its type for people: without a module for builtins."""
        return self.type if self.module == "builtins" else f"{self.module}.{self.type}"


def encode_failure(error: BaseException, traceback: str | None = None) -> bytes:
    """Return an exception as bytes, always msgpack; raises nothing, whatever the exception does.

    Args:
        error: the exception; its arguments are left out if they cannot be encoded.
        traceback: its traceback as text. Default: its own, from the first frame that is not liteq's.
    """
    kind = type(error)
    module = _guarded(lambda: _text(type.__getattribute__(kind, "__module__")), "?")
    nothing: list[Any] = []
    return _codec.encode(
        [
            _cut(importable_name(module), _NAME_LIMIT),
            _cut(_text(type.__getattribute__(kind, "__qualname__")), _NAME_LIMIT),
            _guarded(partial(_message, error), _UNPRINTABLE),
            _content(lambda: list(_arguments(error)), CONTENT_LIMIT),
            _cut_middle(_guarded(partial(_traceback, error), "") if traceback is None else traceback),
            _guarded(partial(_notes, error), nothing),
            _guarded(lambda: list(_attributes(error)), nothing),
        ]
    )


def decode_failure(data: bytes) -> Failure:
    """Return the failure that `encode_failure` made.

    Arguments and attributes of types that are not registered here are left out, so that the rest of the
    failure can be read all the same.

    Raises:
        DecodingError: the bytes are not a failure.
    """
    fields: Any = _codec.decode(data)
    try:
        module, kind, message, args, traceback, notes, attributes = fields
        readable = {name: value for name, item in attributes if (value := _read(item)) is not _UNREADABLE}
        arguments = _UNREADABLE if args is None else _read(args)
        texts = (module, kind, message, traceback, *notes, *readable)
    except (TypeError, ValueError) as error:
        raise DecodingError(_NO_FAILURE) from error
    if not all(isinstance(text, str) for text in texts):
        raise DecodingError(_NO_FAILURE)
    known = tuple(arguments) if isinstance(arguments, list) else None
    return Failure(module, kind, message, known, traceback, tuple(notes), readable)


def reason(error: BaseException) -> str:
    """Return an exception as one line for people, `ValueError: boom`; raises nothing.

    It is at most `REASON_LIMIT` characters long.
    """
    name = _text(type.__getattribute__(type(error), "__name__"))
    message = " ".join(_guarded(partial(_message, error), _UNPRINTABLE).split())
    line = f"{name}: {message}" if message else name
    # It is stored and printed as text, which has no room for half a character.
    return _cut(line.encode(errors="backslashreplace").decode(), REASON_LIMIT)


def restore(failure: Failure, *, may_import: bool = False) -> BaseException:
    """Return the exception, as its own type where that is at hand; raises nothing.

    Its type is at hand if its module is loaded, and if it is an ordinary exception: a task cannot make
    its caller exit. The instance must then say the same as the one in the worker did; otherwise, and for
    every other type, it is a `TaskError` that names the type. In both cases its cause is a
    `RemoteTraceback`.

    Args:
        failure: what `decode_failure` returned.
        may_import: also import the type's module; an import that fails counts as not at hand.
    """
    kind = _find_type(failure, may_import)
    error = None if kind is None else _rebuild(kind, failure)
    if error is None:
        error = TaskError(failure.message, failure.dotted)
    text = failure.traceback
    if isinstance(error, TaskError) and getattr(error, "remote_traceback", None) is None:
        error.remote_traceback = text or None
    # By way of the base class: a frozen dataclass, say, refuses to have its attributes set.
    for note in failure.notes:
        _guarded(partial(BaseException.add_note, error, note), None)
    if text:
        BaseException.__setattr__(error, "__cause__", RemoteTraceback(text))
    return error


# ---- reading an exception, which may be hostile ------------------------------------------------------


def _guarded(read: Callable[[], T], default: T) -> T:
    # BaseException: an exception whose `__str__` exits or is interrupted must not take the worker along.
    try:
        return read()
    except BaseException:
        return default


def _text(value: object) -> str:
    # A subclass of str may have any behaviour; this makes an exact one.
    return str.__str__(str(value))


def _message(error: BaseException) -> str:
    return _cut(_text(error), MESSAGE_LIMIT)


def _arguments(error: BaseException) -> tuple[object, ...]:
    """Return what its type is called with: `args`, and for an OSError the file names too."""
    # By way of `object`, here and below: the class may have any idea of what its attributes are.
    args: tuple[object, ...] = object.__getattribute__(error, "args")
    if not isinstance(error, OSError) or len(args) != 2 or error.filename is None:
        return args
    if error.filename2 is None:
        return (*args, error.filename)
    return (*args, error.filename, None, error.filename2)


def _notes(error: BaseException) -> list[str]:
    notes = getattr(error, "__notes__", ())
    return [_cut(_text(note), MESSAGE_LIMIT) for note in list(notes)[:_COUNT_LIMIT] if isinstance(note, str)]


def _attributes(error: BaseException) -> Iterator[list[object]]:
    own: dict[str, object] = object.__getattribute__(error, "__dict__")
    for name, value in list(own.items())[:_COUNT_LIMIT]:
        content = None if name.startswith("__") else _content(partial(_same, value), ATTRIBUTE_LIMIT)
        if content is not None:
            yield [_text(name), content]


def _same(value: object) -> object:
    return value


def _content(read: Callable[[], object], limit: int) -> bytes | None:
    # Each is encoded by itself, so that one that cannot be read back does not spoil the rest.
    content = _guarded(lambda: _codec.encode(read()), None)
    return content if content is None or len(content) <= limit else None


def _traceback(error: BaseException) -> str:
    own: list[Any] = [
        object.__getattribute__(error, f"__{name}__") for name in ("traceback", "cause", "context")
    ]
    if all(part is None for part in own):
        return ""
    frames = _user_frames(own[0])
    try:
        whole = tracebacks.TracebackException(type(error), error, frames, limit=-_FRAME_LIMIT, compact=True)
        return "".join(whole.format())
    except Exception:
        lines = tracebacks.format_list(tracebacks.extract_tb(frames, -_FRAME_LIMIT))
        return "".join(["Traceback (most recent call last):\n", *lines, reason(error), "\n"])


def _user_frames(frames: TracebackType | None) -> TracebackType | None:
    """Drop liteq's own frames at the top; keep them all if there are no others."""
    first = frames
    while first is not None and first.tb_frame.f_code.co_filename.startswith(_PACKAGE):
        first = first.tb_next
    return first if first is not None else frames


def _cut(text: str, limit: int) -> str:
    return text if len(text) <= limit else text[: limit - 1] + "…"


def _cut_middle(text: str) -> str:
    if len(text) <= TRACEBACK_LIMIT:
        return text
    half = TRACEBACK_LIMIT // 2 - 20
    return f"{text[:half]}\n  … (left out) …\n{text[-half:]}"


# ---- making it again ---------------------------------------------------------------------------------


def _read(content: object) -> object:
    if not isinstance(content, bytes):
        raise TypeError(f"expected bytes, got {type(content).__name__}")
    try:
        return _codec.decode(content)
    except DecodingError:
        return _UNREADABLE


def _find_type(failure: Failure, may_import: bool) -> type[Exception] | None:
    for module in _modules(failure.module, may_import):
        found = _guarded(partial(_look_up, module, failure.type), None)
        if isinstance(found, type) and issubclass(found, Exception):
            return found
    return None


def _look_up(module: ModuleType, qualified_name: str) -> object:
    found: object = module
    # `vars`, not `getattr`: a module's `__getattr__` runs code, and may import more.
    for part in qualified_name.split("."):
        found = vars(found).get(part)
    return found


def _modules(name: str, may_import: bool) -> Iterator[ModuleType]:
    # A script's own classes are those of `__main__`, though workers know them under the script's name.
    if name == main_module_name() and "__main__" in sys.modules:
        yield sys.modules["__main__"]
    module = sys.modules.get(name)
    if module is None and may_import and all(part.isidentifier() for part in name.split(".")):
        # A script without a guard may exit when it is imported; Ctrl-C goes through.
        with contextlib.suppress(Exception, SystemExit):
            module = importlib.import_module(name)
    if module is not None:
        yield module


def _rebuild(kind: type[Exception], failure: Failure) -> Exception | None:
    for make in (_call, _make_without_init):
        error = _guarded(partial(make, kind, failure), None)
        if error is not None and _guarded(partial(_is_same, error, kind, failure), False):
            return error
    return None


def _call(kind: type[Exception], failure: Failure) -> Exception | None:
    if failure.args is None:
        return None
    error = kind(*failure.args)
    return error if _arguments(error) == failure.args else None


def _make_without_init(kind: type[Exception], failure: Failure) -> Exception:
    error: Exception = kind.__new__(kind)
    args = (failure.message,) if failure.args is None else failure.args
    BaseException.__setattr__(error, "args", args)
    return error


def _is_same(error: Exception, kind: type[Exception], failure: Failure) -> bool:
    if type(error) is not kind:
        return False
    own: dict[str, object] = object.__getattribute__(error, "__dict__")
    own.update(failure.attributes)
    return _message(error) == failure.message
