"""What a queue can be told about its payloads: codecs, compression and bounds; checked."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import Any, NamedTuple, TypedDict

from liteq.app.naming import nearest
from liteq.calls.checks import check_flag, check_whole
from liteq.codec.accepting import MAX_DECOMPRESSED, THRESHOLD, Codecs, check_accept
from liteq.codec.compression import algorithm_name
from liteq.codec.encryption import Cipher, make_cipher
from liteq.codec.registry import PICKLE
from liteq.errors import ConfigurationError

__all__ = ["PayloadOptions", "PayloadSettings", "payload_settings"]


class PayloadOptions(TypedDict, total=False):
    """What `Queue(...)` takes for its payloads, besides `serializer` and `max_payload`.

    Attributes:
        accept: the names of the codecs that are read and written; default all that are safe to read: those
            built in but for pickle, and those that were registered. "pickle" needs a `signing_key`.
        unsigned_pickle: accept pickle without a `signing_key`: whoever can write to the queue can then run
            anything in its workers, and in programs that read results.
        compression: "zlib" (or "gzip"), "bzip2", "lzma" or "zstd"; default none. Of arguments and results.
        compression_threshold: bytes from which on they are compressed; default 1024.
        max_decompressed: the most bytes that one may take decompressed; default 16 MiB.
        encryption_key: encrypt arguments, headers, results and failures with this key, of at least 32 bytes,
            so that a copy of the file tells nothing of them. With a list of keys the first encrypts and any
            decrypts. Keys stay in this process: each program and worker has to have them.
    """

    accept: Collection[str] | None
    unsigned_pickle: bool
    compression: str | None
    compression_threshold: int
    max_decompressed: int
    encryption_key: bytes | str | Sequence[bytes | str] | None


class PayloadSettings(NamedTuple):
    """What `PayloadOptions` say, checked."""

    accept: frozenset[str] | None
    compression: str | None
    codecs: Codecs
    cipher: Cipher | None


def payload_settings(options: Mapping[str, Any], serializer: str, is_signed: bool) -> PayloadSettings:
    """Return the settings that options make.

    Args:
        options: as `PayloadOptions` has them.
        serializer: the queue's codec.
        is_signed: whether the queue has a signing key.

    Raises:
        ConfigurationError: a value that an option cannot have, a codec that is not accepted, or pickle
            without a signing key.
        ExtraRequiredError: a codec or compression needs a library that is not installed here.
        TypeError: an option that there is not.
    """
    known = PayloadOptions.__annotations__
    for name in options:
        if name not in known:
            raise TypeError(f"Queue() got an unexpected keyword argument {name!r}.{nearest(name, [*known])}")
    accept = check_accept(options.get("accept"))
    unsigned = check_flag("unsigned_pickle", options.get("unsigned_pickle", False))
    if accept is not None and PICKLE in accept and not is_signed and not unsigned:
        raise ConfigurationError(
            "accept has 'pickle' in it, and there is no signing_key: whoever can write to the queue could "
            "run anything in its workers. Give it a signing_key, or say unsigned_pickle=True if nobody else "
            "can."
        )
    compression = algorithm_name("compression", options.get("compression"))
    codecs = Codecs(
        accept,
        check_whole("compression_threshold", options.get("compression_threshold", THRESHOLD)),
        check_whole("max_decompressed", options.get("max_decompressed", MAX_DECOMPRESSED), least=1),
    )
    # Whether they are there is found out now and not at the first call.
    codecs.writer(serializer, compression)
    return PayloadSettings(accept, compression, codecs, make_cipher(options.get("encryption_key")))
