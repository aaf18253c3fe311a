"""The registry of the user's own types: enums and dataclasses that may travel in payloads.

A payload names the type, never the code that makes it: only types that were registered in this process
are ever built.
"""

from __future__ import annotations

import dataclasses
import sys
from collections.abc import Callable
from enum import Enum, Flag
from pathlib import Path
from typing import Any, TypeVar, overload

from liteq.errors import ConfigurationError, DecodingError, EncodingError

__all__ = [
    "dotted_name",
    "dump_dataclass",
    "dump_enum",
    "dump_flag",
    "importable_name",
    "is_registered",
    "load_dataclass",
    "load_enum",
    "load_flag",
    "main_module_name",
    "register_type",
]

T = TypeVar("T")

_DIRECT = ("__main__", "__mp_main__")
"""What a script that is run directly is called, the second in children of multiprocessing."""

_names: dict[type, str] = {}
_types: dict[str, type] = {}


@overload
def register_type(cls: type[T], name: str | None = None) -> type[T]: ...
@overload
def register_type(cls: None = None, name: str | None = None) -> Callable[[type[T]], type[T]]: ...
def register_type(
    cls: type[T] | None = None, name: str | None = None
) -> type[T] | Callable[[type[T]], type[T]]:
    """Let the values of an Enum or a dataclass travel in payloads; also a class decorator.

    Enum members travel by name, flags by value, dataclasses as the values of their fields, which are
    put back without calling `__init__`. Producers and workers must register the same type under the
    same name. Registering it twice is harmless, also when its module was run again (a reload, a script
    that is imported too): then what is decoded is of the class that came last.

    Args:
        cls: a subclass of Enum, or a dataclass; without it, a decorator is returned.
        name: what payloads call it. Default: its module and qualified name; for a script that runs as
            `__main__`, the module name under which a worker imports it.

    Raises:
        ConfigurationError: it is neither, it is built on a class written in C, the name belongs to
            another class, or the class has another name.
    """
    if cls is None:
        return lambda decorated: register_type(decorated, name)
    _require_registrable(cls)
    if name is None:
        name = _importable_dotted_name(cls)
    if _names.get(cls, name) != name:
        raise ConfigurationError(f"{dotted_name(cls)} is registered already, as {_names[cls]!r}.")
    known = _types.get(name, cls)
    if _importable_dotted_name(known) != _importable_dotted_name(cls):
        raise ConfigurationError(
            f"The name {name!r} is registered already, for another class ({dotted_name(known)}); "
            f"give {dotted_name(cls)} a name of its own: register_type(cls, name=...)."
        )
    _types[name] = cls
    _names[cls] = name
    return cls


def _importable_dotted_name(cls: type) -> str:
    return f"{importable_name(cls.__module__)}.{cls.__qualname__}"


def is_registered(cls: type) -> bool:
    """Tell whether `register_type` knows exactly this class."""
    return cls in _names


def dotted_name(cls: type) -> str:
    """Return the name by which people know a type: without a module for builtins."""
    return cls.__qualname__ if cls.__module__ == "builtins" else f"{cls.__module__}.{cls.__qualname__}"


def importable_name(module: str) -> str:
    """Return the name under which other processes import this module: its own, but for `__main__`."""
    return main_module_name() if module in _DIRECT else module


def main_module_name() -> str:
    """Return the name under which other processes import what runs here as `__main__`.

    With `python -m`, the module's own name; for a script, its file name without the suffix; in an
    interactive session there is no such name, and it is `"__main__"`.
    """
    main = sys.modules.get("__main__")
    spec = getattr(main, "__spec__", None)
    if spec is not None and spec.name not in _DIRECT:
        return str(spec.name)
    file = getattr(main, "__file__", None)
    return Path(file).resolve().stem if file else "__main__"


def dump_enum(value: Enum) -> list[object]:
    """Return the type's name and the member's."""
    cls, member = type(value), value._name_
    if cls.__members__.get(member) is not value:
        raise EncodingError(f"{value!r} is not one of the members that {dotted_name(cls)} defines.")
    return [_names[cls], member]


def load_enum(parts: list[Any]) -> object:
    """Return the member that `dump_enum` described."""
    name, member = parts
    cls = _type_named(name, Enum)
    if member not in cls.__members__:
        raise DecodingError(
            f"{dotted_name(cls)} has no member {member!r} here; it had one when this was stored."
        )
    return cls.__members__[member]


def dump_flag(value: Flag) -> list[object]:
    """Return the type's name and the flags as an integer: a combination has no name of its own."""
    return [_names[type(value)], value._value_]


def load_flag(parts: list[Any]) -> object:
    """Return the combination that `dump_flag` described."""
    name, bits = parts
    cls = _type_named(name, Flag)
    value = cls(bits)
    if type(value) is not cls or value._value_ != bits:
        raise DecodingError(f"{bits!r} is no combination of the members of {dotted_name(cls)} here.")
    return value


def dump_dataclass(value: Any) -> list[object]:
    """Return the type's name and the fields' values; fields that were never set are left out."""
    fields = dataclasses.fields(value)
    return [
        _names[type(value)],
        {field.name: getattr(value, field.name) for field in fields if hasattr(value, field.name)},
    ]


def load_dataclass(parts: list[Any]) -> object:
    """Return the instance that `dump_dataclass` described.

    A field that the class has gained since takes its default; one that it has lost is refused.
    """
    name, stored = parts
    cls = _type_named(name, object)
    # `__init__` is passed by: it does not take fields with init=False, it may want an InitVar that nobody
    # kept, and a `__post_init__` would do its work a second time. `object.__setattr__` is what a frozen
    # dataclass uses itself, and it writes slots as well.
    value: object = object.__new__(cls)
    missing = object()
    for field in dataclasses.fields(cls):  # type: ignore[arg-type]  # registered: it is a dataclass
        content = stored.pop(field.name, missing)
        if content is missing and field.default is not dataclasses.MISSING:
            content = field.default
        elif content is missing and field.default_factory is not dataclasses.MISSING:
            content = field.default_factory()
        if content is not missing:
            object.__setattr__(value, field.name, content)
        elif field.init:
            raise DecodingError(
                f"The stored {dotted_name(cls)} lacks the field {field.name!r}, which has no default."
            )
    if stored:
        raise DecodingError(
            f"The stored {dotted_name(cls)} has fields that the class lacks here: {', '.join(stored)}."
        )
    return value


def _require_registrable(cls: object) -> None:
    if not isinstance(cls, type) or not (issubclass(cls, Enum) or dataclasses.is_dataclass(cls)):
        raise ConfigurationError(
            f"register_type() takes a subclass of Enum or a dataclass; got {cls!r}. "
            f"Other types travel as their parts."
        )
    if issubclass(cls, Enum):
        return
    for base in cls.__mro__:
        # Only classes written in C have no `__module__` entry; they keep content outside the fields.
        if base is not object and "__module__" not in vars(base):
            raise ConfigurationError(
                f"{dotted_name(cls)} is a dataclass built on {dotted_name(base)}, whose content is in no "
                f"field; register a dataclass that is not."
            )


def _type_named(name: object, base: type[T]) -> type[T]:
    cls = _types.get(name) if isinstance(name, str) else None
    if cls is None:
        raise DecodingError(
            f"The payload holds a value of the type {name!r}, which is not registered here: import the "
            f"module that calls liteq.codec.register_type for it."
        )
    if not issubclass(cls, base):
        raise DecodingError(f"{dotted_name(cls)} is of another kind than when this was stored.")
    return cls
