"""The codecs of this process by name: built in, registered, or brought along by an installed package."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, cast

from liteq.codec.base import Codec
from liteq.codec.guarded import Guarded, check_codec
from liteq.errors import ConfigurationError

__all__ = [
    "ENTRY_POINTS",
    "PICKLE",
    "SEPARATOR",
    "get_codec",
    "guarded_codec",
    "is_installed",
    "is_known",
    "no_codec",
    "register_codec",
]

ENTRY_POINTS = "liteq.codecs"
"""The group of entry points in which packages name their codecs."""
PICKLE = "pickle"
"""The one codec that is built in and not safe to read: decoding can run anything."""
SEPARATOR = "+"
"""Stands between a codec's name and what is done with its bytes, as in `msgpack+zlib`."""


def _msgpack() -> Codec:
    from liteq.codec.msgpack_codec import MsgpackCodec

    return MsgpackCodec()


def _json() -> Codec:
    from liteq.codec.json_codec import JsonCodec

    return JsonCodec()


def _yaml() -> Codec:
    from liteq.codec.yaml_codec import YamlCodec

    return YamlCodec()


def _pickle() -> Codec:
    from liteq.codec.pickle_codec import PickleCodec

    return PickleCodec()


_built_in: dict[str, Callable[[], Codec]] = {
    "msgpack": _msgpack,
    "json": _json,
    "yaml": _yaml,
    PICKLE: _pickle,
}
_codecs: dict[str, Codec] = {}


def get_codec(name: str) -> Codec:
    """Return the codec of this name: built in, registered, or of an installed package.

    A package names its codecs in the entry point group `liteq.codecs`; they are looked up, and imported, only
    for a name that is not known otherwise.

    Raises:
        ConfigurationError: there is none; the message names those that there are. Or the package that brings
            it along cannot be imported.
        ExtraRequiredError: it needs a library that is not installed here.
    """
    codec = _codecs.get(name)
    if codec is None:
        make = _built_in.get(name)
        codec = _installed(name) if make is None else make()
        if codec is None:
            raise no_codec(name)
        codec = _codecs.setdefault(name, codec)
    return codec


def guarded_codec(name: str) -> Codec:
    """Return the codec of this name, which raises nothing but the errors of codecs; raises as `get_codec`."""
    codec = get_codec(name)
    return codec if name in _built_in else Guarded(codec)


def register_codec(codec: Codec) -> None:
    """Make a codec known to this process under its `name`; workers must do the same.

    Queues accept it unless their `accept` says otherwise, so it has to be safe to decode what others wrote.

    Raises:
        ConfigurationError: the name is empty, not a string, or has a plus sign; or another codec has it; or
            it has no `encode` or `decode`.
    """
    name = _checked_name(codec)
    if name in _built_in or _codecs.setdefault(name, codec) is not codec:
        raise ConfigurationError(f"A serializer named {name!r} exists already; give yours another name.")


def is_known(name: object) -> bool:
    """Tell whether a codec is built in, registered or loaded, without loading anything."""
    return name in _built_in or name in _codecs


def is_installed(name: str) -> bool:
    """Tell whether an installed package brings a codec of this name along, without importing it."""
    return any(point.name == name for point in _entry_points())


def no_codec(name: object) -> ConfigurationError:
    """Return the error about a name that no codec has."""
    known = ", ".join(sorted({*_built_in, *_codecs}))
    return ConfigurationError(
        f"There is no serializer named {name!r:.100}; known are {known}. "
        f"Add your own with liteq.codec.register_codec()."
    )


def _installed(name: str) -> Codec | None:
    for point in _entry_points():
        if point.name == name:
            codec = _load(point)
            if _checked_name(codec) != name:
                raise ConfigurationError(
                    f"The entry point {name!r} of the group {ENTRY_POINTS} ({point.value}) is a codec that "
                    f"calls itself {codec.name!r}; the two names have to be the same."
                )
            return codec
    return None


def _load(point: Any) -> Codec:
    try:
        loaded = point.load()
        return cast(Codec, loaded() if isinstance(loaded, type) else loaded)
    except ConfigurationError:
        raise
    # A module that exits when it is imported too: the program that names a codec goes on.
    except (Exception, SystemExit) as error:
        raise ConfigurationError(
            f"The codec {point.name!r} of the entry point {point.value} cannot be loaded: "
            f"{type(error).__name__}: {error}"
        ) from error


def _entry_points() -> Any:
    # Imported here because it is slow, and hardly a program has a use for it.
    from importlib.metadata import entry_points

    return entry_points(group=ENTRY_POINTS)


def _checked_name(codec: Codec) -> str:
    name: object = getattr(codec, "name", None)
    if not isinstance(name, str) or not name:
        raise ConfigurationError(f"A codec needs a name, a string that is not empty; got {name!r}.")
    if SEPARATOR in name:
        raise ConfigurationError(f"A codec's name has no {SEPARATOR!r} in it, as {name!r} has.")
    check_codec(codec)
    return name
