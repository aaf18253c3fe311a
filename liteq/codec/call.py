"""The arguments of a call as one payload: `[args, kwargs]`."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from liteq.codec.base import Codec
from liteq.codec.types import dotted_name
from liteq.errors import DecodingError, EncodingError

__all__ = ["decode_call", "encode_call"]


def encode_call(
    codec: Codec, args: Sequence[object], kwargs: Mapping[str, object], names: Sequence[str] = ()
) -> bytes:
    """Return the arguments of a call as bytes.

    Args:
        codec: what encodes them.
        args: the positional arguments.
        kwargs: the arguments by name.
        names: the names of the positional parameters, for error messages.

    Raises:
        EncodingError: an argument cannot be encoded; says which, of what type, and what to do.
    """
    try:
        return codec.encode([[*args], dict(kwargs)])
    except EncodingError as error:
        for label, value in _labelled(args, kwargs, names):
            try:
                codec.encode(value)
            except EncodingError as cause:
                raise EncodingError(
                    f"{label}, of type {dotted_name(type(value))}, cannot be encoded: {cause}"
                ) from cause.__cause__
        raise EncodingError(f"The arguments together cannot be encoded: {error}") from error.__cause__


def decode_call(codec: Codec, data: bytes) -> tuple[list[object], dict[str, object]]:
    """Return the positional arguments and those by name that `encode_call` was given.

    Raises:
        DecodingError: the bytes are not of this codec, or are not the arguments of a call.
    """
    value = codec.decode(data)
    if type(value) is list and len(value) == 2:
        args, kwargs = value
        if type(args) is list and type(kwargs) is dict and all(type(key) is str for key in kwargs):
            return args, kwargs
    raise DecodingError(f"The payload is readable as {codec.name}, but it is not the arguments of a call.")


def _labelled(
    args: Sequence[object], kwargs: Mapping[str, object], names: Sequence[str]
) -> Iterator[tuple[str, object]]:
    for index, value in enumerate(args):
        yield (f"Argument {names[index]!r}" if index < len(names) else f"Argument {index + 1}"), value
    for name, value in kwargs.items():
        yield f"Argument {name!r}", value
