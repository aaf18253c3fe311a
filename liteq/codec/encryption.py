"""Encryption at rest: AES-256 in Galois/Counter Mode, each value bound to the job that it belongs to.

An encrypted value is two bytes that msgpack never begins with, four that tell the key, a random nonce of
twelve, and what AES-GCM makes of the value: as long as it was, and a tag of sixteen bytes. What it belongs to
(kind, job id, task, label) is authenticated with it, so that it is of no use anywhere else (ADR 16).
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import TypeGuard

from liteq.codec.keys import read_keys
from liteq.errors import DecodingError, EncryptionKeyError, ExtraRequiredError

__all__ = ["LEAST_KEY", "Cipher", "is_encrypted", "make_cipher"]

LEAST_KEY = 32
"""Bytes that a key must have at least: who has copied a file can try keys for as long as they like."""

_MARK = b"\xc1\x02"
_ID_SIZE = 4
_NONCE_SIZE = 12
_START = len(_MARK) + _ID_SIZE + _NONCE_SIZE
_PURPOSE = b"liteq encryption, version 1\n"
"""What keys and bound facts start with, in case somebody uses the same key for something else as well."""


class Cipher:
    """Encrypts and decrypts values.

    Args:
        keys: the first one encrypts; any of them decrypts what was encrypted with it.

    Raises:
        ExtraRequiredError: the library cryptography is not installed.
    """

    __slots__ = ("_ciphers", "_digest_key", "_hmac", "_id", "_invalid", "_seal")

    def __init__(self, keys: Sequence[bytes]) -> None:
        # Imported here because queues without a key have no use for them.
        import hmac

        try:
            from cryptography.exceptions import InvalidTag
            from cryptography.hazmat.primitives.ciphers.aead import AESGCM
        except ImportError:
            raise ExtraRequiredError(
                "encryption_key needs the crypto extra: pip install 'liteq-queue[crypto]'"
            ) from None
        self._invalid = InvalidTag
        self._hmac = hmac.digest
        self._ciphers: dict[bytes, AESGCM] = {}
        for key in reversed(keys):
            name = hmac.digest(key, _PURPOSE + b"key id", "sha256")[:_ID_SIZE]
            self._ciphers[name] = AESGCM(hmac.digest(key, _PURPOSE + b"key", "sha256"))
        # The last one that was made is the first one that was given.
        self._id, self._seal = name, self._ciphers[name].encrypt
        self._digest_key = hmac.digest(keys[0], _PURPOSE + b"digests", "sha256")

    def __repr__(self) -> str:
        return f"<Cipher with {len(self._ciphers)} {'key' if len(self._ciphers) == 1 else 'keys'}>"

    def __reduce__(self) -> str:
        raise TypeError("An encryption key does not leave its process; give it to the Queue in each of them.")

    def seal(self, data: bytes, *bound: str) -> bytes:
        """Return data encrypted with the first key, and bound to some facts."""
        nonce = os.urandom(_NONCE_SIZE)
        return _MARK + self._id + nonce + self._seal(nonce, data, _bound(bound))

    def open(self, data: object, *bound: str) -> bytes:
        """Return what `seal` was given together with the same facts.

        Raises:
            EncryptionKeyError: it was encrypted with a key that is not here.
            DecodingError: it is not encrypted, was changed, or belongs to something else.
        """
        if not is_encrypted(data):
            raise DecodingError("It is not encrypted, and this queue has an encryption_key.")
        cipher = self._ciphers.get(data[len(_MARK) : len(_MARK) + _ID_SIZE])
        if cipher is None:
            raise EncryptionKeyError(
                "It is encrypted with another key than the encryption_key here. Add the one that it was "
                "encrypted with to the list."
            )
        nonce = data[_START - _NONCE_SIZE : _START]
        try:
            opened: bytes = cipher.decrypt(nonce, data[_START:], _bound(bound))
        except (self._invalid, ValueError, TypeError, AttributeError):
            # Facts that are no text: somebody has written to the file by hand.
            raise DecodingError(
                "It cannot be decrypted: it was changed, or belongs to another job."
            ) from None
        return opened

    def digest(self, text: bytes) -> bytes:
        """Return a digest of a text that tells nothing of it to who does not have the first key."""
        return self._hmac(self._digest_key, text, "sha256")


def make_cipher(keys: object) -> Cipher | None:
    """Return the cipher for what `Queue(encryption_key=...)` was given; None for none.

    Raises:
        ConfigurationError: not a key or a list of keys, or a key that is too short. The message never shows
            a key.
        ExtraRequiredError: the library cryptography is not installed.
    """
    if keys is None:
        return None
    return Cipher(read_keys("encryption_key", "An encryption key", keys, LEAST_KEY))


def is_encrypted(data: object) -> TypeGuard[bytes]:
    """Tell whether a stored value seems to be encrypted."""
    return isinstance(data, bytes) and len(data) > _START and data.startswith(_MARK)


def _bound(facts: Sequence[str]) -> bytes:
    # None of them has a NUL in it, so that no two lists come to the same bytes.
    return _PURPOSE + "\0".join(facts).encode("utf-8", "surrogatepass")
