"""Payloads: values to bytes and back, by codecs that are found by name.

What goes in comes out, equal and of the same type, or is refused when it goes in. Decoding never
imports anything that the data names.
"""

from __future__ import annotations

from liteq.codec.base import Codec
from liteq.codec.call import decode_call, encode_call
from liteq.codec.types import register_type
from liteq.errors import ConfigurationError

__all__ = ["Codec", "decode_call", "encode_call", "get_codec", "register_codec", "register_type"]


def _msgpack() -> Codec:
    from liteq.codec.msgpack_codec import MsgpackCodec

    return MsgpackCodec()


def _json() -> Codec:
    from liteq.codec.json_codec import JsonCodec

    return JsonCodec()


_built_in = {"msgpack": _msgpack, "json": _json}
_codecs: dict[str, Codec] = {}


def get_codec(name: str) -> Codec:
    """Return the codec of this name: "msgpack", "json", or one that was registered.

    Raises:
        ConfigurationError: there is none; the message names those that there are.
    """
    codec = _codecs.get(name)
    if codec is None:
        make = _built_in.get(name)
        if make is None:
            known = ", ".join(sorted({*_built_in, *_codecs}))
            raise ConfigurationError(
                f"There is no serializer named {name!r}; known are {known}. "
                f"Add your own with liteq.codec.register_codec()."
            )
        codec = _codecs.setdefault(name, make())
    return codec


def register_codec(codec: Codec) -> None:
    """Make a codec known to this process under its `name`; workers must do the same.

    Raises:
        ConfigurationError: the name is empty or not a string, or another codec has it.
    """
    name: object = codec.name
    if not isinstance(name, str) or not name:
        raise ConfigurationError(f"A codec needs a name, a string that is not empty; got {name!r}.")
    if name in _built_in or _codecs.setdefault(name, codec) is not codec:
        raise ConfigurationError(f"A serializer named {name!r} exists already; give yours another name.")
