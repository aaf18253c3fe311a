"""Codec, compression, encryption and signature, one after the other: what goes in comes out."""

from __future__ import annotations

from collections.abc import Callable
from itertools import product

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from test_codec_roundtrip import picture, values

from liteq.codec import decode_call, encode_call
from liteq.codec.accepting import Codecs
from liteq.codec.compression import ALGORITHMS
from liteq.codec.contents import Contents
from liteq.codec.encryption import make_cipher
from liteq.codec.protection import Protection
from liteq.codec.signing import make_signer
from liteq.errors import DecodingError, EncryptionKeyError
from liteq.job import NewJob

CODECS = Codecs(threshold=1)
ENCRYPTED = Protection(None, make_cipher("k" * 32))
BOTH = Protection(make_signer("s" * 32), make_cipher(["k" * 32, "o" * 32]))
NEITHER = Protection()
LABELS = [
    f"{codec}{compression}"
    for codec, compression in product(("msgpack", "json", "yaml"), ("", *(f"+{name}" for name in ALGORITHMS)))
]
labels = st.sampled_from(LABELS)
protections = st.sampled_from([NEITHER, ENCRYPTED, BOTH])


def job(label: str, payload: bytes, options: bytes | None = None) -> NewJob:
    return NewJob("the id", "the task", payload, label, options=options)


@settings(max_examples=100, deadline=None)
@given(
    label=labels,
    protection=protections,
    args=st.lists(values, max_size=3),
    kwargs=st.dictionaries(st.text(max_size=5), values, max_size=2),
)
def test_a_call_comes_back_through_all_layers(
    label: str, protection: Protection, args: list[object], kwargs: dict[str, object]
) -> None:
    codec = CODECS.get(label)
    new = job(label, encode_call(codec, args, kwargs), b"\x80")
    sealed = protection.seal(new)
    assert protection.refusal(sealed) is None
    assert (sealed.codec, sealed == new) == (
        label + "+aes" * (protection is not NEITHER),
        protection is NEITHER,
    )
    opened = protection.opened(sealed)
    assert opened == new
    assert picture(decode_call(CODECS.get(opened.codec), opened.payload)) == picture((args, kwargs))


@settings(max_examples=100, deadline=None)
@given(
    label=labels,
    protection=protections,
    value=values,
    state=st.sampled_from(["SUCCESS", "PROGRESS", "FAILURE"]),
)
def test_a_result_comes_back_through_all_layers(
    label: str, protection: Protection, value: object, state: str
) -> None:
    contents = Contents(CODECS, protection)
    owner = job(label, b"")
    data = contents.write(owner, state, value)
    assert picture(contents.read(owner, state, data)) == picture(value)
    # It is the same whether the job was opened or not.
    assert picture(contents.read(owner._replace(codec=protection.seal(owner).codec), state, data)) == picture(
        value
    )


def damaged(data: bytes, place: int, change: int) -> bytes:
    spoilt = bytearray(data)
    spoilt[place % len(data)] ^= change
    return bytes(spoilt)


@settings(max_examples=150, deadline=None)
@given(place=st.integers(min_value=0), change=st.integers(1, 255), cut=st.integers(0, 200))
def test_an_encrypted_value_that_was_changed_anywhere_is_refused(place: int, change: int, cut: int) -> None:
    contents = Contents(CODECS, ENCRYPTED)
    owner = job("msgpack", b"")
    data = contents.write(owner, "SUCCESS", ["a", 1, None])
    for spoilt in (damaged(data, place, change), data[: cut % len(data)], data + b"x"):
        with pytest.raises(DecodingError):
            contents.read(owner, "SUCCESS", spoilt)
    sealed = ENCRYPTED.seal(job("msgpack", b"payload", b"options"))
    openings: list[Callable[[], object]] = [
        lambda: ENCRYPTED.opened(sealed._replace(payload=damaged(sealed.payload, place, change))),
        lambda: ENCRYPTED.opened(sealed._replace(options=damaged(sealed.options or b"", place, change))),
    ]
    for opening in openings:
        with pytest.raises(DecodingError):
            opening()


@settings(max_examples=300, deadline=None)
@given(label=labels, protection=protections, data=st.binary(max_size=80))
def test_any_bytes_are_a_value_or_a_decoding_error(label: str, protection: Protection, data: bytes) -> None:
    contents = Contents(CODECS, protection)
    mark = b"" if protection.cipher is None else contents.write(job(label, b""), "SUCCESS", None)[:6]
    for each in (data, mark + data):
        try:
            contents.read(job(label, b""), "SUCCESS", each)
        except DecodingError:
            pass
        try:
            opened = protection.opened(job(protection.seal(job(label, b"")).codec, each, each))
            decode_call(CODECS.get(opened.codec), opened.payload)
        except DecodingError:
            pass


@settings(max_examples=30, deadline=None)
@given(value=values)
def test_what_is_encrypted_is_read_by_nobody_without_the_key(value: object) -> None:
    owner = job("msgpack+aes", b"")
    data = Contents(CODECS, ENCRYPTED).write(owner, "SUCCESS", value)
    other = Protection(None, make_cipher("n" * 32))
    for protection in (NEITHER, other):
        with pytest.raises(EncryptionKeyError):
            Contents(CODECS, protection).read(owner, "SUCCESS", data)
        with pytest.raises(EncryptionKeyError):
            protection.opened(ENCRYPTED.seal(job("msgpack", b"payload")))
