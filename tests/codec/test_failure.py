"""A task's exception comes back as its own type where that is at hand, and never hurts on the way."""

from __future__ import annotations

import math
import socket
import subprocess
import sys
import traceback
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from liteq import errors
from liteq.codec import get_codec, register_type
from liteq.errors import DecodingError, EncodingError, TaskError
from liteq.failure import (
    ATTRIBUTE_LIMIT,
    CONTENT_LIMIT,
    MESSAGE_LIMIT,
    REASON_LIMIT,
    TRACEBACK_LIMIT,
    Failure,
    RemoteTraceback,
    decode_failure,
    encode_failure,
    reason,
    restore,
)


class OwnError(Exception):
    """An exception of the user's, with the usual mistake: its arguments are not those of `__init__`."""

    def __init__(self, code: int, text: str) -> None:
        super().__init__(f"{text} (code {code})")
        self.code = code


class StrictError(Exception):
    def __init__(self, *, key: str) -> None:
        super().__init__()
        self.key = key

    def __str__(self) -> str:
        return f"strict about {self.key}"


class UnstorableError(Exception):
    """It needs an attribute that cannot be stored to say anything."""

    def __init__(self, thing: object) -> None:
        super().__init__()
        self.thing = thing

    def __str__(self) -> str:
        return f"no {type(self.thing).__name__}"


class BrokenText(Exception):
    def __str__(self) -> str:
        raise RuntimeError("broken __str__")

    __repr__ = __str__


class ExitingText(Exception):
    def __str__(self) -> str:
        raise SystemExit(3)

    __repr__ = __str__


class WrongText(Exception):
    def __str__(self) -> Any:
        return 5


class HostileMeta(type):
    def __getattribute__(cls, name: str) -> Any:
        if name in ("__module__", "__name__", "__qualname__"):
            raise RuntimeError(f"broken {name}")
        return super().__getattribute__(name)


class HostileType(Exception, metaclass=HostileMeta):
    pass


class HostileAttributes(Exception):
    def __getattribute__(self, name: str) -> Any:
        if name in ("args", "__dict__", "__notes__", "__traceback__", "__cause__"):
            raise RuntimeError(f"broken {name}")
        return super().__getattribute__(name)


class HostileNotes(Exception):
    __notes__ = 7  # type: ignore[assignment]


class SlyText(str):
    __slots__ = ()

    def __len__(self) -> int:
        raise RuntimeError("broken __len__")

    def __getitem__(self, key: Any) -> str:
        raise RuntimeError("broken __getitem__")


class SlyMessage(Exception):
    def __str__(self) -> str:
        return SlyText("sly")


@dataclass(frozen=True)
class FrozenError(Exception):
    code: int

    def __post_init__(self) -> None:
        Exception.__init__(self, self.code)


def travel(error: BaseException, **options: Any) -> BaseException:
    return restore(decode_failure(encode_failure(error)), **options)


def raised(error: BaseException) -> BaseException:
    try:
        raise error
    except BaseException as caught:
        return caught


def missing_file() -> BaseException:
    try:
        Path("no such file").read_text()
    except OSError as error:
        return error
    raise AssertionError


def undecodable() -> BaseException:
    try:
        b"\xff".decode()
    except UnicodeDecodeError as error:
        return error
    raise AssertionError


@pytest.mark.parametrize(
    "error",
    [
        ValueError("boom"),
        ValueError(),
        ValueError("a", 2, (3,), {"k": [None]}),
        KeyError("key"),
        ZeroDivisionError("division by zero"),
        StopIteration(5),
        OSError(2, "No such file or directory"),
        OSError(18, "Cross-device link", "a", None, "b"),
        ConnectionResetError(104, "reset"),
        socket.gaierror(-2, "unknown"),
        UnicodeEncodeError("ascii", "é", 0, 1, "no"),
        SyntaxError("bad", ("f.py", 1, 2, "x", 1, 3)),
        ImportError("no module", name="nope"),
        TimeoutError(),
        ValueError("x" * (MESSAGE_LIMIT + 10)),
        ValueError("\ud800"),
        OwnError(7, "own"),
        StrictError(key="k"),
        FrozenError(5),
        errors.TaskRevokedError("revoked before it ran"),
        errors.WorkerLostError("lost it 3 times"),
        errors.TimeLimitExceeded("after 5 s"),
        errors.MaxRetriesExceededError("no attempt left"),
        errors.Reject("no", requeue=False),
        errors.Ignore(),
        errors.TaskError("boom", "app.Error", "Traceback ..."),
        errors.StoreBusyError("busy"),
        EncodingError("Argument 1"),
    ],
    ids=lambda error: type(error).__name__,
)
def test_an_exception_comes_back_as_its_own_type_with_message_and_arguments(error: BaseException) -> None:
    back = travel(raised(error))
    assert type(back) is type(error)
    assert str(back) == str(error)
    assert back.args == error.args


def test_file_names_and_positions_of_real_errors_come_back() -> None:
    back = travel(missing_file())
    assert isinstance(back, FileNotFoundError)
    assert back.filename == "no such file"
    assert back.errno == 2
    back = travel(undecodable())
    assert isinstance(back, UnicodeDecodeError)
    assert (back.object, back.start) == (b"\xff", 0)


def test_attributes_come_back_with_an_exception_of_any_constructor() -> None:
    back = travel(raised(OwnError(7, "own")))
    assert isinstance(back, OwnError)
    assert back.code == 7
    reject = travel(errors.Reject({"why": 1}, requeue=True))
    assert isinstance(reject, errors.Reject)
    assert (reject.reason, reject.requeue) == ({"why": 1}, True)


def test_a_type_that_cannot_be_made_the_same_again_comes_back_as_task_error() -> None:
    back = travel(raised(UnstorableError(object())))
    assert type(back) is TaskError
    assert back.message == "no object"
    assert back.exception_type == f"{__name__}.UnstorableError"
    assert str(back) == f"{__name__}.UnstorableError: no object"
    assert back.remote_traceback is not None
    assert back.remote_traceback.endswith("UnstorableError: no object\n")


def test_arguments_that_cannot_be_stored_do_not_hide_the_type() -> None:
    error = raised(ValueError("see", object()))
    failure = decode_failure(encode_failure(error))
    assert failure.args is None
    back = restore(failure)
    assert type(back) is ValueError
    assert str(back) == str(error)


def test_arguments_of_a_type_that_is_not_registered_by_the_reader_are_left_out() -> None:
    @register_type(name="a failure's argument")
    @dataclass
    class Detail:
        x: int

    data = encode_failure(ValueError(Detail(1)))
    assert decode_failure(data).args == (Detail(1),)
    unknown = decode_failure(data.replace(b"a failure's argument", b"an unknown's argumen"))
    assert unknown.args is None
    assert unknown.message == str(ValueError(Detail(1)))


def test_arguments_and_attributes_that_are_too_large_are_left_out() -> None:
    error = OwnError(7, "own")
    error.args = ("x" * (CONTENT_LIMIT + 1),)
    error.blob = "x" * (ATTRIBUTE_LIMIT + 1)  # type: ignore[attr-defined]
    failure = decode_failure(encode_failure(error))
    assert failure.args is None
    assert failure.attributes == {"code": 7}
    assert len(failure.message) == MESSAGE_LIMIT


@pytest.mark.parametrize("kind", [KeyboardInterrupt, SystemExit, GeneratorExit, BaseException])
def test_a_task_cannot_make_its_caller_exit(kind: type[BaseException]) -> None:
    back = travel(kind(3))
    assert type(back) is TaskError
    assert back.exception_type == kind.__name__


HOSTILE = [
    BrokenText("a"),
    ExitingText("a"),
    WrongText("a"),
    HostileType("a"),
    HostileAttributes("a"),
    HostileNotes("a"),
    SlyMessage(SlyText("a")),
    ValueError(BrokenText("a")),
    ValueError(SlyText("a")),
    ExceptionGroup("several", [ValueError("a"), BrokenText("b")]),
    ValueError(math.nan),
]


@pytest.mark.parametrize("error", HOSTILE, ids=map(str, range(len(HOSTILE))))
def test_a_hostile_exception_travels_all_the_same(error: BaseException) -> None:
    caught = raised(error)
    line = reason(caught)
    assert type(line) is str
    assert "\n" not in line
    back = restore(decode_failure(encode_failure(caught)), may_import=True)
    assert isinstance(back, Exception)
    # By way of `object`: the exception that came back is as hostile as the one that was sent.
    cause = str(object.__getattribute__(back, "__cause__"))
    assert "Traceback (most recent call last):" in cause
    assert "in raised" in cause


def test_an_exception_whose_text_fails_comes_back_as_task_error() -> None:
    back = travel(raised(BrokenText()))
    assert type(back) is TaskError
    assert "str() of the exception fails" in str(back)


@settings(max_examples=100, deadline=None)
@given(
    args=st.lists(st.none() | st.integers() | st.text(st.characters()) | st.binary() | st.lists(st.floats())),
    note=st.text(st.characters()),
)
def test_any_plain_arguments_come_back(args: list[object], note: str) -> None:
    error = RuntimeError(*args)
    error.add_note(note)
    back = travel(error)
    assert type(back) is RuntimeError
    assert repr(back.args) == repr(error.args)
    assert str(back) == str(error)
    assert back.__notes__ == [note]


def test_the_remote_traceback_is_the_cause_and_is_printed_with_the_exception() -> None:
    back = travel(raised(ValueError("boom")))
    assert isinstance(back.__cause__, RemoteTraceback)
    text = str(back.__cause__)
    assert text.startswith("Traceback (most recent call last):\n")
    assert text.endswith("ValueError: boom\n")
    assert "in raised\n    raise error\n" in text
    assert text in "".join(traceback.format_exception(back))


def test_an_exception_that_was_never_raised_has_no_traceback() -> None:
    failure = decode_failure(encode_failure(errors.WorkerLostError("gone")))
    assert failure.traceback == ""
    assert restore(failure).__cause__ is None


def test_the_cause_of_an_exception_that_was_never_raised_is_told() -> None:
    error = errors.MaxRetriesExceededError("no attempt left")
    error.__cause__ = raised(ValueError("the reason"))
    assert "ValueError: the reason" in decode_failure(encode_failure(error)).traceback


def test_the_traceback_starts_at_the_first_frame_that_is_not_liteqs() -> None:
    class Task:
        name = "task"

        def encode(self, value: object) -> bytes:
            return get_codec("msgpack").encode(object())

        def decode(self, data: bytes) -> object:
            raise ZeroDivisionError("in user code")

    from liteq.codec import decode_call

    # Here liteq's `decode_call` stands for the worker that calls the user's function.
    try:
        decode_call(Task(), b"")
    except ZeroDivisionError as error:
        inner = error.with_traceback(error.__traceback__.tb_next if error.__traceback__ else None)
        text = decode_failure(encode_failure(inner)).traceback
    assert "call.py" not in text
    assert 'in decode\n    raise ZeroDivisionError("in user code")\n' in text
    # Frames below the user's are kept, and so are all of them where there are no others.
    try:
        Task().encode(1)
    except EncodingError as error:
        text = decode_failure(encode_failure(error)).traceback
        own = (
            error.__traceback__.tb_next.tb_next
            if error.__traceback__ and error.__traceback__.tb_next
            else None
        )
        bare = decode_failure(encode_failure(error.with_traceback(own))).traceback
    assert "in encode\n    return get_codec" in text
    assert "lowering.py" in text
    assert "lowering.py" in bare


def test_a_traceback_given_as_text_is_stored_as_it_is() -> None:
    assert decode_failure(encode_failure(ValueError("a"), "the text")).traceback == "the text"


def test_what_is_long_is_cut() -> None:
    failure = decode_failure(encode_failure(ValueError("y" * 10**6), "a" * 10**6 + "z"))
    assert len(failure.message) == MESSAGE_LIMIT
    assert failure.message.endswith("…")
    assert len(failure.traceback) <= TRACEBACK_LIMIT
    assert failure.traceback.endswith("z")
    assert len(encode_failure(OwnError(1, "q" * 10**6))) < 100_000


def test_of_an_endless_recursion_only_the_last_frames_are_read(monkeypatch: pytest.MonkeyPatch) -> None:
    read = []

    class Counting(traceback.TracebackException):
        def __init__(self, *args: Any, **options: Any) -> None:
            super().__init__(*args, **options)
            read.append(len(self.stack))

    def down(depth: int) -> None:
        if depth == 0:
            raise ValueError("at the bottom")
        down(depth - 1)

    monkeypatch.setattr("liteq.failure.tracebacks.TracebackException", Counting)
    limit = sys.getrecursionlimit()
    sys.setrecursionlimit(20_000)
    try:
        down(10_000)
    except ValueError as error:
        failure = decode_failure(encode_failure(error))
    finally:
        sys.setrecursionlimit(limit)
    assert read == [1000]
    assert "at the bottom" in failure.traceback


def test_the_reason_is_one_line() -> None:
    assert reason(ValueError("boom")) == "ValueError: boom"
    assert reason(ValueError()) == "ValueError"
    assert reason(KeyError("k")) == "KeyError: 'k'"
    assert reason(OwnError(1, "two\n  lines")) == "OwnError: two lines (code 1)"
    assert len(reason(ValueError("x" * 10**6))) == REASON_LIMIT


def failure_of(module: str, kind: str, message: str = "m") -> Failure:
    return Failure(module, kind, message, (message,), "", (), {})


@pytest.mark.parametrize(
    ("module", "kind"),
    [
        ("builtins", "print"),
        ("builtins", "int"),
        ("builtins", "NoSuchError"),
        ("builtins", "ValueError.args"),
        ("builtins", ""),
        ("", ""),
        ("nowhere.at.all", "Error"),
        ("..relative", "Error"),
        (__name__, "travel.<locals>.Error"),
        ("os", "system"),
        ("subprocess", "Popen"),
    ],
)
def test_only_exceptions_are_ever_made(module: str, kind: str) -> None:
    back = restore(failure_of(module, kind), may_import=True)
    assert type(back) is TaskError
    assert back.message == "m"


def test_a_module_is_imported_only_where_that_is_allowed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "fresh_failures.py").write_text("class FreshError(Exception): pass\n")
    (tmp_path / "exiting_failures.py").write_text("raise SystemExit(3)\n")
    monkeypatch.syspath_prepend(tmp_path)
    failure = failure_of("fresh_failures", "FreshError")
    assert type(restore(failure)) is TaskError
    assert "fresh_failures" not in sys.modules
    back = restore(failure, may_import=True)
    assert type(back).__name__ == "FreshError"
    monkeypatch.delitem(sys.modules, "fresh_failures")
    assert type(restore(failure_of("exiting_failures", "Error"), may_import=True)) is TaskError


def test_a_modules_own_lookup_code_is_not_run(monkeypatch: pytest.MonkeyPatch) -> None:
    module = ModuleType("lazy_failures")
    asked: list[str] = []
    module.__getattr__ = asked.append  # type: ignore[method-assign]
    monkeypatch.setitem(sys.modules, "lazy_failures", module)
    assert type(restore(failure_of("lazy_failures", "Error"))) is TaskError
    assert asked == []


def test_a_scripts_own_exception_is_that_of_the_running_script(tmp_path: Path) -> None:
    script = tmp_path / "shop.py"
    script.write_text(
        "from liteq.failure import *\n"
        "class SoldOut(Exception): pass\n"
        "failure = decode_failure(encode_failure(SoldOut('tea')))\n"
        "back = restore(failure, may_import=True)\n"
        "print(failure.dotted, type(back) is SoldOut, back)\n"
    )
    done = subprocess.run([sys.executable, script], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "shop.SoldOut True tea"


@settings(max_examples=200, deadline=None)
@given(data=st.binary(max_size=40))
def test_bytes_that_are_no_failure_raise_nothing_but_decoding_error(data: bytes) -> None:
    try:
        restore(decode_failure(data))
    except DecodingError:
        pass


scraps = st.none() | st.text(max_size=3) | st.binary(max_size=3) | st.lists(st.text(max_size=2), max_size=3)


@settings(max_examples=200, deadline=None)
@given(fields=st.lists(scraps | st.lists(st.lists(scraps, max_size=2), max_size=2), min_size=5, max_size=8))
def test_other_values_are_no_failure(fields: list[object]) -> None:
    try:
        back = restore(decode_failure(get_codec("msgpack").encode(fields)))
    except DecodingError:
        return
    assert isinstance(back, TaskError)
