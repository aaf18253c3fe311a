"""Payloads: values to bytes and back, by codecs that are found by name.

What goes in comes out, equal and of the same type, or is refused when it goes in. Decoding never imports
anything that the data names, but for pickle, which has to be asked for.
"""

from __future__ import annotations

from liteq.codec.base import Codec
from liteq.codec.call import decode_call, encode_call
from liteq.codec.registry import get_codec, register_codec
from liteq.codec.types import register_type

__all__ = ["Codec", "decode_call", "encode_call", "get_codec", "register_codec", "register_type"]
