"""A signature is good for exactly the job that was signed, and shows its key to nobody."""

from __future__ import annotations

import copy
import hashlib
import pickle
import struct
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from liteq.codec.signing import LEAST_KEY, Signer, is_signed, make_signer, without_signature
from liteq.errors import ConfigurationError
from liteq.job import Claim

KEY, OTHER = b"k" * 32, b"o" * 32
SIGNED = ("id", "task", "queue", "codec", "payload", "options", "max_crashes")

texts = st.text(max_size=5) | st.sampled_from(["", "a", "ab", "\udc80", "default"])
jobs = st.tuples(
    *(texts, texts, texts, texts, st.binary(max_size=6), st.none() | st.binary(min_size=1, max_size=6)),
    st.integers(0, 300),
)


def claim_of(job: tuple[Any, ...], options: bytes | None) -> Claim:
    job_id, task, queue, codec, payload, _, max_crashes = job
    return Claim(
        *(1, 2, job_id, task, queue, payload, codec, 0, 0.0, None, None, 1, 0, 0, max_crashes, False, options)
    )


def signed(job: tuple[Any, ...], key: bytes = KEY) -> Claim:
    return claim_of(job, Signer([key]).sign(*job))


JOB = ("an id", "app.task", "default", "msgpack", b"payload", b"options", 3)


@given(job=jobs)
def test_a_signed_job_is_accepted_and_its_options_come_back(job: tuple[Any, ...]) -> None:
    claim = signed(job)
    assert is_signed(claim.options)
    assert without_signature(claim.options) == job[5]
    assert Signer([KEY]).refusal(claim) is None


@given(job=jobs, other=jobs)
def test_the_signature_of_one_job_is_that_of_no_other(job: tuple[Any, ...], other: tuple[Any, ...]) -> None:
    signature = Signer([KEY]).sign(*job)[:34]
    moved = claim_of(other, signature + (other[5] or b""))
    assert (Signer([KEY]).refusal(moved) is None) == (job == other)


@pytest.mark.parametrize("field", SIGNED)
def test_a_change_of_anything_that_decides_what_runs_is_noticed(field: str) -> None:
    claim = signed(JOB)
    changed: dict[str, Any] = {
        "payload": b"payloae",
        "options": (claim.options or b"") + b"!",
        "max_crashes": 4,
    }
    altered = claim._replace(**{field: changed.get(field, "another")})
    assert Signer([KEY]).refusal(altered) == "its signature does not match"


def test_the_order_and_the_borders_of_the_parts_count() -> None:
    claim = signed(("ab", "c", "d", "e", b"f", b"g", 1))
    for changes in ({"id": "a", "task": "bc"}, {"task": "d", "queue": "c"}, {"codec": "f", "payload": b"e"}):
        assert Signer([KEY]).refusal(claim._replace(**changes)) is not None
    # Options of no bytes are none; a stored job has one or the other.
    assert without_signature(Signer([KEY]).sign("i", "t", "q", "c", b"", None, 3)) is None


def test_what_changes_in_the_life_of_a_job_is_not_signed() -> None:
    later = signed(JOB)._replace(
        seq=9,
        token=9,
        priority=9,
        due=9.0,
        eta=9.0,
        expires=9.0,
        attempts=9,
        retries=9,
        crashes=9,
        ignore_result=True,
    )
    assert Signer([KEY]).refusal(later) is None


@pytest.mark.parametrize(
    "options", [None, b"", b"\x81\xa1t\x01", b"\xc1", b"\xc1\x01" + bytes(31), "text", 5]
)
def test_a_job_without_a_signature_is_unsigned(options: Any) -> None:
    assert Signer([KEY]).refusal(claim_of(JOB, options)) == "it is unsigned"


def test_every_bit_of_a_signature_counts() -> None:
    claim = signed(JOB)
    assert claim.options is not None
    for place in range(2, 34):
        for bit in range(8):
            forged = bytearray(claim.options)
            forged[place] ^= 1 << bit
            assert Signer([KEY]).refusal(claim._replace(options=bytes(forged))) is not None


@pytest.mark.parametrize("field", ["id", "codec", "payload", "max_crashes"])
@pytest.mark.parametrize("value", [None, 5.5, 3.0, 3.5, b"bytes", "text", "3"])
def test_values_of_other_types_are_refused_like_any_others(field: str, value: Any) -> None:
    assert Signer([KEY]).refusal(signed(JOB)._replace(**{field: value})) == "its signature does not match"


def test_the_first_key_signs_and_every_key_is_accepted() -> None:
    both = Signer([OTHER, KEY])
    assert both.refusal(signed(JOB, KEY)) is None
    assert both.refusal(signed(JOB, OTHER)) is None
    assert both.sign(*JOB) == Signer([OTHER]).sign(*JOB)
    assert Signer([OTHER]).refusal(signed(JOB, KEY)) is not None


def test_the_format_never_changes() -> None:
    """Jobs that wait are read by newer versions; this is the format written out by hand."""
    parts = [b"an id", b"app.task", b"default", b"msgpack", b"payload", b"options", b"options", b"3"]
    message = b"liteq job signature, version 1\n" + struct.pack(">8Q", *map(len, parts)) + b"".join(parts)
    inner = hashlib.sha256(bytes(byte ^ 0x36 for byte in KEY.ljust(64, b"\0")) + message).digest()
    outer = hashlib.sha256(bytes(byte ^ 0x5C for byte in KEY.ljust(64, b"\0")) + inner).digest()
    assert Signer([KEY]).sign(*JOB) == b"\xc1\x01" + outer + b"options"


# ---- keys ------------------------------------------------------------------------------------------------

SECRET = "correct horse battery"


@pytest.mark.parametrize("keys", [SECRET, SECRET.encode(), [SECRET], (SECRET, b"another key of bytes")])
def test_keys_are_text_or_bytes_or_several(keys: Any) -> None:
    signer = make_signer(keys)
    assert signer is not None
    assert signer.sign(*JOB) == Signer([SECRET.encode()]).sign(*JOB)


def test_no_key_is_no_signer() -> None:
    assert make_signer(None) is None


@pytest.mark.parametrize(
    ("keys", "sentence"),
    [
        ("", "at least 16 bytes, and this one has 0"),
        ("short secret", "at least 16 bytes, and this one has 12"),
        (b"s" * (LEAST_KEY - 1), "this one has 15"),
        ([SECRET, "short secret"], "this one has 12"),
        ([], "an empty list"),
        (5, "bytes, a string, or a list of them, not int"),
        ([None], "not NoneType"),
        (bytearray(32), "not bytearray"),
        ({SECRET}, "not set"),
        (f"{SECRET}\udc80", "cannot be written as UTF-8"),
    ],
    ids=str,
)
def test_a_key_that_cannot_serve_is_refused_without_showing_it(keys: Any, sentence: str) -> None:
    with pytest.raises(ConfigurationError, match=sentence) as caught:
        make_signer(keys)
    assert "secret" not in str(caught.value).replace("secrets.token_hex", "")
    assert "horse" not in str(caught.value)
    assert caught.value.__cause__ is None
    assert caught.value.__suppress_context__ or caught.value.__context__ is None


def test_a_signer_shows_its_keys_to_nobody() -> None:
    signer = make_signer([SECRET, SECRET * 2])
    assert repr(signer) == str(signer) == "<Signer with 2 keys>"
    for leave in (pickle.dumps, copy.copy, copy.deepcopy):
        with pytest.raises(TypeError, match="does not leave its process") as caught:
            leave(signer)
        assert SECRET not in str(caught.value)


def test_the_border_between_a_value_and_the_names_that_are_signed_with_it_cannot_be_moved() -> None:
    names, data = ("id", "task", "pickle", "STATE"), b"half\0\0the rest"
    signer = Signer([KEY])
    signed = signer.sign_value(*names, data)
    assert signer.signed_value(*names, signed) == data
    moved = signed.removesuffix(data) + b"the rest"
    assert signer.signed_value("id", "task", "pickle", "STATE\0\0half", moved) is None
    assert signer.signed_value("id\0task", "pickle", "STATE", "\0half", signed) is None
