"""Signing: who has the key can tell a job that a program of theirs has enqueued from any other.

A signature is HMAC-SHA256 over everything that decides what runs: the job's id, its task, queue name, codec,
payload, options and `max_crashes`. It travels in front of the options, behind a byte that msgpack never
writes, so that stores know nothing of it and unsigned jobs are stored as ever (ADR 10).
"""

from __future__ import annotations

import struct
from collections.abc import Sequence
from operator import index
from typing import TypeGuard

from liteq.codec.keys import read_keys
from liteq.job import Claim, NewJob

__all__ = ["LEAST_KEY", "Signer", "is_signed", "make_signer", "template_id", "without_signature"]

LEAST_KEY = 16
"""Bytes that a key must have at least."""

_MARK = b"\xc1\x01"
_SIZE = 32
_START = len(_MARK) + _SIZE
_PURPOSE = b"liteq job signature, version 1\n"
"""What is signed starts so, in case somebody uses the same key for something else as well."""
_VALUE_MARK = b"\xc1\x03"
_VALUE_PURPOSE = b"liteq value signature, version 1\n"
_LENGTHS = struct.Struct(">8Q")


class Signer:
    """Signs jobs, and tells whether somebody with one of its keys has signed a job.

    Args:
        keys: the first one signs; a signature by any of them is good.
    """

    __slots__ = ("_digest", "_is_same", "_keys")

    def __init__(self, keys: Sequence[bytes]) -> None:
        # Imported here because queues without a key have no use for it.
        import hmac

        self._keys = tuple(keys)
        self._digest = hmac.digest
        self._is_same = hmac.compare_digest

    def __repr__(self) -> str:
        return f"<Signer with {len(self._keys)} {'key' if len(self._keys) == 1 else 'keys'}>"

    def __reduce__(self) -> str:
        raise TypeError("A signing key does not leave its process; give it to the Queue in each of them.")

    def sign(
        self,
        job_id: str,
        task: str,
        queue: str,
        codec: str,
        payload: bytes,
        options: bytes | None,
        max_crashes: int,
    ) -> bytes:
        """Return a job's options with a signature of the whole job in front of them."""
        signed = _message(job_id, task, queue, codec, payload, options, max_crashes)
        return _MARK + self._digest(self._keys[0], signed, "sha256") + (options or b"")

    def refusal(self, job: Claim | NewJob) -> str | None:
        """Return why a job must not run, as the end of a sentence; None if its signature is good.

        Nothing of the job is decoded. What a schedule enqueues is signed with `template_id` as its id.
        """
        if not is_signed(job.options):
            return "it is unsigned"
        try:
            signed = _message(
                *(job.id, job.task, job.queue, job.codec, job.payload),
                without_signature(job.options),
                job.max_crashes,
            )
        except (AttributeError, TypeError):
            # Values that are no text or no bytes: somebody has written to the file by hand.
            return "its signature does not match"
        signature = job.options[len(_MARK) : _START]
        for key in self._keys:
            if self._is_same(self._digest(key, signed, "sha256"), signature):
                return None
        return "its signature does not match"

    def sign_value(self, job_id: str, task: str, codec: str, state: str, data: bytes) -> bytes:
        """Return what a job's state carries, with a signature of it in front."""
        signed = _value_message(job_id, task, codec, state, data)
        return _VALUE_MARK + self._digest(self._keys[0], signed, "sha256") + data

    def signed_value(self, job_id: str, task: str, codec: str, state: str, data: bytes) -> bytes | None:
        """Return what `sign_value` was given; None if the signature is missing or wrong."""
        if not data.startswith(_VALUE_MARK) or "\0" in f"{job_id}{task}{codec}{state}":
            return None
        signature, content = data[len(_VALUE_MARK) : _START], data[_START:]
        signed = _value_message(job_id, task, codec, state, content)
        if any(self._is_same(self._digest(key, signed, "sha256"), signature) for key in self._keys):
            return content
        return None


def _value_message(job_id: str, task: str, codec: str, state: str, data: bytes) -> bytes:
    # Names that are signed have no NUL in them, so that no two lists come to the same bytes.
    named = "\0".join((job_id, task, codec, state))
    return b"".join((_VALUE_PURPOSE, named.encode("utf-8", "surrogatepass"), b"\0\0", data))


def make_signer(keys: object) -> Signer | None:
    """Return the signer for what `Queue(signing_key=...)` was given; None for none.

    Raises:
        ConfigurationError: not a key or a list of keys, or a key that is too short. The message never shows
            a key.
    """
    if keys is None:
        return None
    return Signer(read_keys("signing_key", "A signing key", keys, LEAST_KEY))


def template_id(schedule: str, spec: str, policy: str) -> str:
    """Return the id with which what a schedule enqueues is signed.

    So nobody without the key can let it run under another name, at other times, or more often.

    Args:
        schedule: the schedule's name.
        spec: when it runs, as it is stored.
        policy: its policy, as it is stored.
    """
    # JSON, both of them, has no such character.
    return f"schedule:{schedule}\n{spec}\n{policy}"


def is_signed(options: object) -> TypeGuard[bytes]:
    """Tell whether stored options have a signature in front of them, good or not."""
    return isinstance(options, bytes) and len(options) >= _START and options.startswith(_MARK)


def without_signature(options: bytes | None) -> bytes | None:
    """Return the options behind the signature, if there is one; None if there are none."""
    return options[_START:] or None if is_signed(options) else options


def _message(
    job_id: str, task: str, queue: str, codec: str, payload: bytes, options: bytes | None, max_crashes: int
) -> bytes:
    """Return all parts with their lengths before them, so that no two jobs come to the same bytes."""
    parts = (
        job_id.encode("utf-8", "surrogatepass"),
        task.encode("utf-8", "surrogatepass"),
        queue.encode("utf-8", "surrogatepass"),
        codec.encode("utf-8", "surrogatepass"),
        payload,
        b"" if options is None else options,
        b"" if options is None else b"options",
        b"%d" % index(max_crashes),
    )
    return b"".join((_PURPOSE, _LENGTHS.pack(*map(len, parts)), *parts))
