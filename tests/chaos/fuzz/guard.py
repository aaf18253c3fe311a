"""Notices what decoding must never do: import, open, run, and call what the data names."""

from __future__ import annotations

import sys
import types
import zoneinfo
from typing import Any

__all__ = ["Guard", "canary"]

FORBIDDEN = (
    *(
        "import",
        "exec",
        "compile",
        "open",
        "marshal.",
        "pickle.",
        "code.",
        "ctypes.",
        "socket.",
        "subprocess.",
    ),
    *(
        "os.",
        "shutil.",
        "urllib.",
        "http.",
        "mmap.",
        "signal.",
        "cpython.run",
        "sqlite3.",
        "glob.",
        "tempfile.",
    ),
    *(
        "sys.addaudithook",
        "sys.setprofile",
        "sys.settrace",
        "sys.unraisablehook",
        "gc.",
        "webbrowser.",
        "builtins.input",
    ),
)


class Guard:
    """An audit hook that is asleep except while untrusted bytes are decoded.

    Attributes:
        seen: what was forbidden and happened since `watch`.
    """

    def __init__(self) -> None:
        self.seen: list[str] = []
        self._awake = False
        self._lenient = False
        zones = tuple(zoneinfo.TZPATH)

        def hook(event: str, arguments: tuple[Any, ...]) -> None:
            if not self._awake or not event.startswith(FORBIDDEN):
                return
            if event == "open" and str(arguments[0]).startswith(zones):
                return
            # A failure is told with its traceback, for which Python reads its own sources.
            if self._lenient and event in ("open", "compile", "exec", "code.__new__", "os.stat"):
                return
            self.seen.append(f"{event} {str(arguments)[:100]}")

        sys.addaudithook(hook)
        sys.meta_path.insert(0, _Finder(self))

    def notice(self, what: str) -> None:
        """Note something, if it is time to."""
        if self._awake:
            self.seen.append(what)

    def watch(self, lenient: bool) -> None:
        """Begin to notice; `lenient` lets Python read source files for a traceback."""
        self.seen.clear()
        self._lenient = lenient
        self._awake = True

    def rest(self) -> None:
        """Notice nothing until the next `watch`."""
        self._awake = False


class _Finder:
    """Finds nothing, and knows who looks: importlib raises no audit event for what is not there."""

    def __init__(self, guard: Guard) -> None:
        self._guard = guard

    def find_spec(self, name: str, *_: object) -> None:
        self._guard.notice(f"an import of {name[:100]}")


class _Calls:
    """What was called of the module that data may name."""

    def __init__(self) -> None:
        self.made: list[str] = []

    def install(self) -> None:
        """Put the module `canary` where anything that looks for it finds it."""
        module: Any = types.ModuleType("canary")
        module.__file__ = "canary.py"
        made = self.made

        class Bird:
            def __init__(self, *args: object) -> None:
                made.append("Bird was made")

            def __setstate__(self, state: object) -> None:
                made.append("Bird was unpickled")

        def sing(*args: object, **kwargs: object) -> None:
            made.append("sing was called")

        Bird.__module__ = sing.__module__ = "canary"
        module.Bird, module.system, module.sing = Bird, sing, sing
        module.__getattr__ = lambda name: made.append(f"{name} was looked up")
        sys.modules["canary"] = module


canary = _Calls()
