"""What jobs carry besides their arguments: results, failures, and the states that tasks report."""

from __future__ import annotations

from typing import Protocol

from liteq.codec.accepting import Codecs, base_of
from liteq.codec.call import decode_call
from liteq.codec.encryption import is_encrypted
from liteq.codec.protection import Protection, bare_label
from liteq.codec.registry import PICKLE
from liteq.errors import DecodingError, EncryptionKeyError
from liteq.job import Job

__all__ = ["Contents", "Owner"]


class Owner(Protocol):
    """A job, as far as what it carries is bound to it."""

    @property
    def id(self) -> str:
        """Its id."""

    @property
    def task(self) -> str:
        """Its task's name."""

    @property
    def codec(self) -> str:
        """Its label."""


class Contents:
    """Writes and reads what a queue's jobs carry, encrypted where there is a key.

    Pickles are signed where there is a key for that: to read one is to run what it says.

    Args:
        codecs: the codecs that the queue accepts.
        protection: the keys.
    """

    __slots__ = ("_cipher", "_codecs", "_protection", "_signer")

    def __init__(self, codecs: Codecs, protection: Protection) -> None:
        self._codecs = codecs
        self._protection = protection
        self._signer = protection.signer
        self._cipher = protection.cipher

    # ---- results and states ------------------------------------------------------------------------

    def write(self, job: Owner, state: str, value: object) -> bytes:
        """Return a job's result, or what it reports, as it is stored.

        Args:
            job: whose it is.
            state: the state that carries it.
            value: the value.

        Raises:
            EncodingError: it would not come back the same.
        """
        if not self._protection.is_on:
            return self._codecs.get(job.codec).encode(value)
        label = bare_label(job.codec)
        data = self._codecs.get(label).encode(value)
        if self._cipher is not None:
            data = self._cipher.seal(data, "result", job.id, job.task, label, state)
        if self._signer is not None and base_of(label) == PICKLE:
            data = self._signer.sign_value(job.id, job.task, label, state, data)
        return data

    def read(self, job: Owner, state: str, data: bytes) -> object:
        """Return the value that `write` was given.

        Raises:
            EncryptionKeyError: it is encrypted, and the key is not here.
            DecodingError: it is not encrypted or signed and should be, or was changed; the bytes are none of
                the codec, or that is not accepted here.
            ConfigurationError: there is no such codec here.
        """
        label = job.codec if self._cipher is None else bare_label(job.codec)
        codec = self._codecs.get(label)
        if self._signer is not None and base_of(label) == PICKLE:
            signed = self._signer.signed_value(job.id, job.task, label, state, data)
            if signed is None:
                raise DecodingError(
                    f"What job {job.id} carries is a pickle that is not signed with the key of this queue, "
                    "so it was not decoded."
                )
            data = signed
        if self._cipher is not None:
            data = self._cipher.open(data, "result", job.id, job.task, label, state)
        return codec.decode(data)

    # ---- failures ----------------------------------------------------------------------------------

    def seal_failure(self, job: Owner, data: bytes) -> bytes:
        """Return a job's encoded failure as it is stored."""
        if self._cipher is None:
            return data
        return self._cipher.seal(data, "failure", job.id, job.task)

    def failure(self, job: Job) -> bytes:
        """Return the encoded failure of a job, or whatever else it carries.

        What supervisors store of a worker that died is not encrypted; it names the task and the job only.

        Raises:
            EncryptionKeyError: it is encrypted, and the key is not here.
            DecodingError: it carries no failure.
        """
        data = job.result or b""
        if self._cipher is not None and is_encrypted(data):
            return self._cipher.open(data, "failure", job.id, job.task)
        if is_encrypted(data) and bare_label(job.codec) != job.codec:
            raise EncryptionKeyError(
                "It is encrypted, and there is no encryption_key here. Use the application that has it."
            )
        return data

    # ---- for people --------------------------------------------------------------------------------

    def shown_call(self, job: Job) -> tuple[list[object], dict[str, object]]:
        """Return a job's arguments, to be shown.

        Raises:
            DecodingError: they cannot be read here; or they are pickled, as nobody has made sure by whom.
            ConfigurationError: there is no such codec here.
        """
        job = self._protection.opened(job)
        return decode_call(self._codecs.get_to_show(job.codec), job.payload)

    def shown(self, job: Job) -> object:
        """Return what a job's state carries, to be shown; raises as `shown_call`."""
        self._codecs.get_to_show(bare_label(job.codec))
        return self.read(job, job.state, job.result or b"")

    def options(self, job: Job) -> bytes | None:
        """Return a job's encoded options; raises as `Protection.opened`."""
        return self._protection.options(job)
