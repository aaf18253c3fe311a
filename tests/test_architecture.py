"""The house rules: imports point one way, and modules stay readable.

`PLACES` is the order of the layers. A module may import what lies on a lower layer, and its own
neighbours where the layer says so; a module with no place fails, so that nobody adds one without deciding.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import pytest

import liteq

PACKAGE = Path(liteq.__file__).parent
MAX_LINES = 400

RECORDS, PURE, PORT, BUILDERS, WORKER, QUEUE, ROOT, FACE = range(8)
LAYERS = [
    "records",
    "pure",
    "port",
    "tasks and transports",
    "worker",
    "queue",
    "liteq itself",
    "entry points",
]

PLACES: dict[str, int] = {
    "liteq.errors": RECORDS,
    "liteq.states": RECORDS,
    "liteq.job": RECORDS,
    "liteq.timetable": RECORDS,
    "liteq.moving": RECORDS,
    "liteq.clock": RECORDS,
    "liteq.drained": RECORDS,
    "liteq.signals": PURE,
    "liteq.retry": PURE,
    "liteq.lifecycle": PURE,
    "liteq.canvas": PURE,
    "liteq.firing": PURE,
    "liteq.codec": PURE,
    "liteq.failure": PURE,
    "liteq.ids": PURE,
    "liteq.urls": PURE,
    "liteq.schedule": PURE,
    "liteq.zones": PURE,
    "liteq.calls.arguments": PURE,
    "liteq.transport": PORT,
    "liteq.schedule_store": PORT,
    "liteq.move_store": PORT,
    "liteq.remote_store": PORT,
    "liteq.transports": BUILDERS,
    "liteq.calls": BUILDERS,
    "liteq.app": BUILDERS,
    "liteq.aio": BUILDERS,
    "liteq.task": BUILDERS,
    "liteq.log": BUILDERS,
    "liteq.registry": BUILDERS,
    "liteq.result": BUILDERS,
    "liteq.worker": WORKER,
    "liteq.testing": WORKER,
    "liteq.app.draining": QUEUE,
    "liteq.app.opening": QUEUE,
    "liteq.app.starting": QUEUE,
    "liteq.app.mover": QUEUE,
    "liteq.app.moving": QUEUE,
    "liteq.queue": QUEUE,
    "liteq.testing.overriding": QUEUE,
    "liteq.testing.plugin": QUEUE,
    "liteq.testing.worker": QUEUE,
    "liteq": ROOT,
    "liteq.bench": FACE,
    "liteq.celery": FACE,
    "liteq.cli": FACE,
    "liteq.child": FACE,
    "liteq.__main__": FACE,
}
"""A package's place holds for everything in it, unless a module inside has one of its own."""


PICKERS = {"liteq.app.opening", "liteq.testing"}
"""Who may import a concrete transport, besides the transports themselves."""


SHARED = "local"
"""What all transports may use, and what uses none of them."""


@dataclass(frozen=True)
class Import:
    """One import of a liteq module, by its full name."""

    target: str
    line: int
    at_module_level: bool


def read_package(folder: Path, name: str = "liteq") -> dict[str, ast.Module]:
    """Parse every module of a package, keyed by its dotted name."""
    modules = {}
    for path in sorted(folder.rglob("*.py")):
        parts = [name, *path.relative_to(folder).with_suffix("").parts]
        if parts[-1] == "__init__":
            parts.pop()
        modules[".".join(parts)] = ast.parse(path.read_text(encoding="utf-8"), str(path))
    return modules


def is_package(module: str, modules: Mapping[str, ast.Module]) -> bool:
    return any(other.startswith(module + ".") for other in modules)


def imports_of(module: str, modules: Mapping[str, ast.Module]) -> Iterator[Import]:
    """Yield the liteq modules that a module imports, wherever in its text it does."""
    tree = modules[module]
    lazy = {
        id(node)
        for function in ast.walk(tree)
        if isinstance(function, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda)
        for node in ast.walk(function)
    }
    for node in ast.walk(tree):
        for target in imported_names(node, module, modules):
            if target == "liteq" or target.startswith("liteq."):
                yield Import(target, getattr(node, "lineno", 0), id(node) not in lazy)


def imported_names(node: ast.AST, module: str, modules: Mapping[str, ast.Module]) -> Iterator[str]:
    if isinstance(node, ast.Import):
        yield from (alias.name for alias in node.names)
    elif isinstance(node, ast.ImportFrom):
        base = node.module or ""
        if node.level:
            own = module.split(".")
            depth = len(own) - node.level + is_package(module, modules)
            base = ".".join([*own[:depth], *([node.module] if node.module else [])])
        for alias in node.names:
            submodule = f"{base}.{alias.name}"
            yield submodule if submodule in modules else base


def place(module: str) -> int:
    """Return a module's layer: its own, or that of the nearest package around it that has one."""
    if module == "liteq":
        return ROOT
    if module.rpartition(".")[2] == "child":
        return FACE  # the entry point of a worker process, wherever its file lies
    name = module
    while name != "liteq":
        if name in PLACES:
            return PLACES[name]
        name = name.rpartition(".")[0]
    raise LookupError(f"{module} has no place in tests/test_architecture.py; decide on its layer")


def house(module: str) -> str:
    """Return the top-level module or package that a module belongs to, such as `liteq.worker`."""
    return ".".join(module.split(".")[:2])


def concrete_transport(module: str) -> str | None:
    """Return which transport a module is part of, such as `sqlite`; None if of none."""
    parts = module.split(".")
    inside = parts[:2] == ["liteq", "transports"] and len(parts) > 2
    return parts[2] if inside and parts[2] != SHARED else None


def refusal(module: str, target: str) -> str | None:
    """Say why a module may not import another; None if it may."""
    own, other = place(module), place(target)
    if other > own:
        return f"{LAYERS[own]} must not import {LAYERS[other]}"
    if house(module) == house(target):
        ours, theirs = concrete_transport(module), concrete_transport(target)
        if theirs and not ours and module.startswith(f"liteq.transports.{SHARED}."):
            return f"what transports share imports transport {theirs}"
        return f"transport {ours} imports transport {theirs}" if ours and theirs and ours != theirs else None
    if house(target) == "liteq.testing":
        return "the library must not need liteq.testing"
    if house(target) == "liteq.transports" and not {module, house(module)} & PICKERS:
        return f"only {' and '.join(sorted(PICKERS))} may pick a concrete transport"
    if house(module) == "liteq.transports" and other > PORT:
        return "a transport may import the port and what is below it, nothing else"
    return None


def wrong_imports(modules: Mapping[str, ast.Module]) -> list[str]:
    """List every import that points the wrong way."""
    wrong = []
    for module in modules:
        for found in imports_of(module, modules):
            why = refusal(module, found.target)
            if why is not None:
                wrong.append(f"{module}:{found.line} imports {found.target}: {why}")
    return wrong


def cycles(modules: Mapping[str, ast.Module]) -> list[list[str]]:
    """List circles among imports that run when a module is imported, each as the way round."""
    graph = {
        module: sorted(
            {found.target for found in imports_of(module, modules) if found.at_module_level} & modules.keys()
        )
        for module in modules
    }
    circles: list[list[str]] = []
    finished: set[str] = set()

    def visit(module: str, path: list[str]) -> None:
        if module in path:
            circles.append([*path[path.index(module) :], module])
        elif module not in finished:
            for target in graph[module]:
                visit(target, [*path, module])
            finished.add(module)

    for module in graph:
        visit(module, [])
    return circles


def names_used(tree: ast.Module) -> set[str]:
    """Return every bare, dotted and imported name in a module."""
    found = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Name):
            found.add(node.id)
        elif isinstance(node, ast.Attribute):
            found.add(node.attr)
        elif isinstance(node, ast.alias):
            found.add(node.name)
    return found


def calls_print(tree: ast.Module) -> bool:
    return any(
        isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "print"
        for node in ast.walk(tree)
    )


MODULES = read_package(PACKAGE)


def test_every_module_has_a_place():
    for module in MODULES:
        place(module)


def test_imports_point_one_way():
    assert wrong_imports(MODULES) == []


def test_no_modules_import_each_other_in_a_circle():
    assert cycles(MODULES) == []


def test_no_import_is_for_type_checkers_only():
    assert [name for name, tree in MODULES.items() if "TYPE_CHECKING" in names_used(tree)] == []


def test_only_the_command_line_prints():
    assert [name for name, tree in MODULES.items() if house(name) != "liteq.cli" and calls_print(tree)] == []


def test_no_module_has_grown_past_reading():
    long = {
        path.relative_to(PACKAGE).as_posix(): lines
        for path in PACKAGE.rglob("*.py")
        if (lines := len(path.read_text(encoding="utf-8").splitlines())) > MAX_LINES
    }
    assert long == {}


FAKES = [
    "liteq.job",
    "liteq.retry",
    "liteq.codec.base",
    "liteq.transport",
    "liteq.transports.memory",
    "liteq.transports.sqlite.schema",
    "liteq.task",
    "liteq.worker.config",
    "liteq.queue",
]


def made_up(**sources: str) -> dict[str, ast.Module]:
    """Return a small library of empty modules and the given ones; `__` in a name stands for a dot."""
    texts = dict.fromkeys(FAKES, "") | {f"liteq.{name.replace('__', '.')}": sources[name] for name in sources}
    packages = {name.rpartition(".")[0] for name in texts} | {"liteq.transports"}
    return {name: ast.parse(text) for name, text in (dict.fromkeys(packages, "") | texts).items()}


@pytest.mark.parametrize(
    ("module", "text"),
    [
        ("job", "from liteq.lifecycle import decide"),
        ("errors", "import liteq.transport"),
        ("lifecycle", "from liteq.transport import Transport"),
        ("transport", "from .task import Task"),
        ("codec__extra", "from ..transport import Transport"),
        ("task", "from liteq.transports.memory import MemoryTransport"),
        ("task", "def late():\n    from liteq.queue import Queue"),
        ("worker__loop", "from liteq.queue import Queue"),
        ("worker__loop", "from liteq.worker.child import main"),
        ("worker__loop", "from liteq.testing import ManualClock"),
        ("worker__loop", "from liteq.transports import sqlite"),
        ("queue", "from liteq.cli.main import main"),
        ("queue", "from liteq.testing import ManualClock"),
        ("queue", "from liteq import Queue"),
        ("transports__memory", "from liteq.result import AsyncResult"),
        ("transports__memory", "from liteq.transports.sqlite.schema import CREATE"),
        ("cli__main", "from liteq.transports.memory import MemoryTransport"),
        ("testing__contract", "from liteq.queue import Queue"),
    ],
)
def test_an_import_that_points_the_wrong_way_is_found(module: str, text: str):
    assert len(wrong_imports(made_up(**{module: text}))) == 1


@pytest.mark.parametrize(
    ("module", "text"),
    [
        ("lifecycle", "from liteq.job import Claim\nfrom . import retry"),
        ("codec__extra", "from liteq.codec.base import Codec\nfrom . import base"),
        ("transports__memory", "from liteq.transport import Transport\nfrom liteq.retry import backoff"),
        ("app__opening", "def pick():\n    from liteq.transports.memory import MemoryTransport"),
        ("worker__loop", "from liteq.task import Task\nfrom . import config"),
        ("worker__child", "from liteq.queue import Queue\nfrom liteq.worker.config import WorkerConfig"),
        ("testing__contract", "from liteq.transports.memory import MemoryTransport"),
        ("cli__main", "from liteq.queue import Queue\nfrom liteq import job"),
    ],
)
def test_an_import_that_points_the_right_way_is_let_pass(module: str, text: str):
    assert wrong_imports(made_up(**{module: text})) == []


def test_a_module_without_a_place_is_found():
    with pytest.raises(LookupError, match=r"liteq\.attic"):
        wrong_imports(made_up(attic="import liteq.job"))


def test_a_circle_is_found_and_one_broken_by_a_late_import_is_none():
    circle = made_up(worker__a="import liteq.worker.b", worker__b="import liteq.worker.a")
    broken = made_up(worker__a="import liteq.worker.b", worker__b="def late():\n    import liteq.worker.a")

    assert any({"liteq.worker.a", "liteq.worker.b"} == set(found) for found in cycles(circle))
    assert not any("liteq.worker.a" in found for found in cycles(broken))


@pytest.mark.parametrize(
    "text",
    ["from typing import TYPE_CHECKING", "import typing\nif typing.TYPE_CHECKING:\n    import liteq.task"],
)
def test_an_import_for_type_checkers_is_found(text: str):
    assert "TYPE_CHECKING" in names_used(ast.parse(text))


def test_a_print_is_found_and_a_word_is_not():
    assert calls_print(ast.parse("def show():\n    print('here')"))
    assert not calls_print(ast.parse("'print(1)'\nfingerprint(1)"))
