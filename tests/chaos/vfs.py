"""The file layer under SQLite, with a handler around every call.

`FileLayer` registers a default VFS in the very library that `sqlite3` uses, so that liteq's own code runs
over it. It opens files with SQLite's own VFS, and gives them a copy of their table of methods in which each
entry goes through the handler first. Nobody can register it twice or take it back, so it belongs into
a process of its own.
"""

from __future__ import annotations

import _sqlite3
import ctypes
import os
import sqlite3
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple, Protocol

__all__ = ["Call", "FileLayer", "Handler", "Proceed", "is_create", "syncs_directory"]

INT, INT64, POINTER = ctypes.c_int, ctypes.c_int64, ctypes.c_void_p

KINDS = {0x100: "database", 0x800: "journal", 0x4000: "journal", 0x80000: "wal"}
"""What a file is, by the flag with which SQLite opens it."""
OPEN_CREATE = 0x4


class Call(NamedTuple):
    """One call that SQLite makes of the file layer."""

    operation: str
    file: str
    """`database`, `wal`, `journal`, `shm`, or `other`."""
    path: str
    handle: int = 0
    """The open file that it goes to; 0 for the calls that name a path."""
    offset: int = 0
    size: int = 0
    """Bytes; of a truncation, the new size."""
    flags: int = 0
    address: int = 0

    def content(self) -> bytes:
        """Return what is to be written."""
        return ctypes.string_at(self.address, self.size)

    def __str__(self) -> str:
        where = f" at {self.offset}, {self.size} bytes" if self.operation in {"read", "write"} else ""
        return f"{self.operation} of the {self.file}{where}"


class Proceed(Protocol):
    """Makes the real call; of a write, with `size` only so many of its bytes. Returns SQLite's code."""

    def __call__(self, size: int | None = None) -> int: ...


Handler = Callable[[Call, Proceed], int]
"""Stands around a call: returns what SQLite is told, and proceeds to the real one or not."""


class _Vfs(ctypes.Structure):
    _fields_ = [
        ("version", INT),
        ("file_size", INT),
        ("longest_path", INT),
        ("next", POINTER),
        ("name", ctypes.c_char_p),
        ("data", POINTER),
        *(
            (name, POINTER)
            for name in (
                "open",
                "delete",
                "access",
                "full_path",
                "dl_open",
                "dl_error",
                "dl_sym",
                "dl_close",
                "randomness",
                "sleep",
                "current_time",
                "last_error",
                "current_time_64",
                "set_system_call",
                "get_system_call",
                "next_system_call",
            )
        ),
    ]


class _Method(NamedTuple):
    """One entry of a file's table: its C type, and which arguments say what in a `Call`."""

    name: str
    arguments: Sequence[type]
    version: int = 1
    file: str = ""
    offset: int = 0
    size: int = 0
    flags: int = 0
    address: int = 0
    result: type | None = INT


METHODS = (
    _Method("close", (POINTER,)),
    _Method("read", (POINTER, POINTER, INT, INT64), size=2, offset=3),
    _Method("write", (POINTER, POINTER, INT, INT64), address=1, size=2, offset=3),
    _Method("truncate", (POINTER, INT64), size=1),
    _Method("sync", (POINTER, INT), flags=1),
    _Method("file_size", (POINTER, POINTER)),
    _Method("lock", (POINTER, INT), flags=1),
    _Method("unlock", (POINTER, INT), flags=1),
    _Method("check_reserved_lock", (POINTER, POINTER)),
    _Method("file_control", (POINTER, INT, POINTER), flags=1),
    _Method("sector_size", (POINTER,)),
    _Method("device_characteristics", (POINTER,)),
    _Method("shm_map", (POINTER, INT, INT, INT, POINTER), 2, "shm", offset=1, size=2, flags=3),
    _Method("shm_lock", (POINTER, INT, INT, INT), 2, "shm", offset=1, size=2, flags=3),
    _Method("shm_barrier", (POINTER,), 2, "shm", result=None),
    _Method("shm_unmap", (POINTER, INT), 2, "shm", flags=1),
    _Method("fetch", (POINTER, INT64, INT, POINTER), 3, offset=1, size=2),
    _Method("unfetch", (POINTER, INT64, POINTER), 3, offset=1),
)
ANSWERS = {"sector_size", "device_characteristics"}
"""These two tell what the disk is like: they do nothing, and their result is no code."""


class _Table(ctypes.Structure):
    _fields_ = [("version", INT), *((method.name, POINTER) for method in METHODS)]


class _File(ctypes.Structure):
    _fields_ = [("methods", ctypes.POINTER(_Table))]


class FileLayer:
    """SQLite's files, as all connections of this process that are opened from now on see them.

    Attributes:
        handler: stands around each call; None lets them through.
        broken: what a handler raised, which cannot travel through C. SQLite was told of an I/O error then.
    """

    def __init__(self) -> None:
        """Register it.

        Raises:
            OSError, AttributeError: the library that `sqlite3` uses cannot be reached from here.
            RuntimeError: connections do not go through it.
        """
        self.handler: Handler | None = None
        self.broken: list[BaseException] = []
        self._open: dict[int, tuple[str, str]] = {}
        self._tables: dict[int, _Table] = {}
        self._kept: list[object] = []
        # A symbol is looked up in what a library depends on as well, so this is the very library.
        library = ctypes.CDLL(getattr(_sqlite3, "__file__", None))
        library.sqlite3_vfs_find.restype = ctypes.POINTER(_Vfs)
        library.sqlite3_vfs_find.argtypes = [ctypes.c_char_p]
        library.sqlite3_vfs_register.argtypes = [ctypes.POINTER(_Vfs), INT]
        self._real = library.sqlite3_vfs_find(None)
        self._vfs = _Vfs.from_buffer_copy(self._real.contents)
        self._vfs.name = b"liteq-chaos"
        self._vfs.next = None
        self._wrap_vfs()
        if library.sqlite3_vfs_register(ctypes.byref(self._vfs), 1) != sqlite3.SQLITE_OK:
            raise RuntimeError("SQLite did not accept the file layer")
        self._check()

    def _check(self) -> None:
        seen = []

        def see(call: Call, proceed: Proceed) -> int:
            seen.append(call)
            return proceed()

        self.handler = see
        with tempfile.TemporaryDirectory() as folder:
            connection = sqlite3.connect(Path(folder, "probe.db"))
            connection.execute("CREATE TABLE probe (a)")
            connection.close()
        self.handler = None
        if not any(call.operation == "write" and call.file == "database" for call in seen):
            raise RuntimeError("the connections of sqlite3 do not go through the file layer")

    # ---- calls that name a path ------------------------------------------------------------------

    def _wrap_vfs(self) -> None:
        vfs = POINTER
        self._wrap_entry("open", [vfs, POINTER, POINTER, INT, POINTER], self._around_open)
        self._wrap_entry("delete", [vfs, POINTER, INT], self._around_path)
        self._wrap_entry("access", [vfs, POINTER, INT, POINTER], self._around_path)
        self._wrap_entry("full_path", [vfs, POINTER, INT, POINTER], self._around_path)

    def _wrap_entry(
        self, name: str, arguments: list[type], around: Callable[[str, Any, Sequence[int]], int]
    ) -> None:
        prototype = ctypes.CFUNCTYPE(INT, *arguments)
        real = prototype(getattr(self._vfs, name))
        wrapped = prototype(self._safe(lambda *given: around(name, real, given)))
        self._kept += [real, wrapped]
        setattr(self._vfs, name, ctypes.cast(wrapped, POINTER).value)

    def _around_open(self, name: str, real: Any, given: Sequence[int]) -> int:
        _, path_address, file, flags, out = given
        path = _text(path_address)
        kind = next((kind for flag, kind in KINDS.items() if flags & flag), "other")

        def proceed(size: int | None = None) -> int:
            code = int(real(ctypes.addressof(self._real.contents), path_address, file, flags, out))
            if code == sqlite3.SQLITE_OK:
                self._open[file] = (kind, path)
                self._wrap_file(file)
            return code

        return self._handle(Call(name, kind, path, file, flags=flags), proceed)

    def _around_path(self, name: str, real: Any, given: Sequence[int]) -> int:
        path = _text(given[1])
        kind = "wal" if path.endswith("-wal") else "journal" if path.endswith("-journal") else "database"

        def proceed(size: int | None = None) -> int:
            return int(real(ctypes.addressof(self._real.contents), *given[1:]))

        return self._handle(Call(name, kind, path, flags=given[2]), proceed)

    # ---- calls on an open file -------------------------------------------------------------------

    def _wrap_file(self, address: int) -> None:
        file = ctypes.cast(address, ctypes.POINTER(_File)).contents
        original = ctypes.addressof(file.methods.contents)
        if original not in self._tables:
            self._tables[original] = self._wrapped_table(original)
        file.methods = ctypes.pointer(self._tables[original])

    def _wrapped_table(self, original: int) -> _Table:
        version = INT.from_address(original).value
        table = _Table()
        present = [method for method in METHODS if method.version <= version]
        last = getattr(_Table, present[-1].name)
        ctypes.memmove(ctypes.addressof(table), original, last.offset + last.size)
        for method in present:
            if getattr(table, method.name) and method.name not in ANSWERS:
                self._wrap_method(table, method)
        return table

    def _wrap_method(self, table: _Table, method: _Method) -> None:
        prototype = ctypes.CFUNCTYPE(method.result, *method.arguments)
        real = prototype(getattr(table, method.name))

        def around(*given: int) -> int | None:
            code = self._handle(self._describe(method, given), lambda size=None: _call(real, given, size))
            if method.name == "close":
                self._open.pop(given[0], None)
            return None if method.result is None else code

        wrapped = prototype(self._safe(around))
        self._kept += [real, wrapped]
        setattr(table, method.name, ctypes.cast(wrapped, POINTER).value)

    def _describe(self, method: _Method, given: Sequence[int]) -> Call:
        kind, path = self._open.get(given[0], ("other", ""))

        def argument(position: int) -> int:
            return (given[position] or 0) if position else 0

        places = (method.offset, method.size, method.flags, method.address)
        return Call(method.name, method.file or kind, path, given[0], *map(argument, places))

    # ---- in between ------------------------------------------------------------------------------

    def _handle(self, call: Call, proceed: Proceed) -> int:
        handler = self.handler
        return proceed() if handler is None else handler(call, proceed)

    def _safe(self, function: Callable[..., int | None]) -> Callable[..., int | None]:
        def safe(*given: int) -> int | None:
            try:
                return function(*given)
            except BaseException as error:
                self.broken.append(error)
                return sqlite3.SQLITE_IOERR

        return safe


def _call(real: Any, given: Sequence[int], size: int | None) -> int:
    if size is not None:
        given = (*given[:2], size, *given[3:])
    return real(*given) or 0


def _text(address: int | None) -> str:
    return os.fsdecode(ctypes.string_at(address)) if address else ""


def is_create(call: Call) -> bool:
    """Tell whether an opening may create its file."""
    return bool(call.flags & OPEN_CREATE)


def syncs_directory(call: Call) -> bool:
    """Tell whether SQLite syncs the file's directory as well, at the first sync of what this call opens.

    It does so for a journal or a WAL that it may have created, and for no database.
    """
    return is_create(call) and call.file in {"journal", "wal"}
