"""What keeps jobs from those who can read or write the file: encryption, and then a signature.

A job that is encrypted says so in its label (`msgpack+aes`). Its payload and its options are encrypted, each
bound to the job's id and task. What a schedule enqueues is bound to the schedule's name instead.
"""

from __future__ import annotations

from typing import NamedTuple, TypeVar

from liteq.codec.accepting import ENCRYPTED
from liteq.codec.encryption import Cipher
from liteq.codec.signing import Signer, is_signed, template_id, without_signature
from liteq.errors import DecodingError, EncryptionKeyError
from liteq.job import Claim, Job, NewJob

__all__ = ["NOT_ENCRYPTED", "Protection", "bare_label", "is_sealed"]

J = TypeVar("J", NewJob, Claim, Job)

NOT_ENCRYPTED = "it is not encrypted"
"""Why a job is refused, as the end of a sentence."""
_SCHEDULE = "schedule "


class Protection(NamedTuple):
    """The keys of a queue, and what is done with them."""

    signer: Signer | None = None
    cipher: Cipher | None = None

    @property
    def is_on(self) -> bool:
        """Whether there is any key."""
        return self.signer is not None or self.cipher is not None

    # ---- jobs --------------------------------------------------------------------------------------

    def seal(self, job: NewJob) -> NewJob:
        """Return a job as it is stored."""
        job = self._encrypted(job, "", job.id)
        return job if self.signer is None else _signed(job, self.signer, job.id)

    def refusal(self, job: Claim | NewJob) -> str | None:
        """Return why a job must not run, as the end of a sentence; None if nothing speaks against it.

        Nothing of the job is decoded or decrypted.
        """
        refusal = None if self.signer is None else self.signer.refusal(job)
        if refusal is None and self.cipher is not None and not _is_labelled(job.codec):
            return NOT_ENCRYPTED
        return refusal

    def opened(self, job: J) -> J:
        """Return a job with its payload, options and label as they were before `seal`.

        Raises:
            EncryptionKeyError: it is encrypted, and the key is not here.
            DecodingError: it is not encrypted and should be, was changed, or belongs to another job.
        """
        return self._opened(job, "", job.id)

    def options(self, job: J) -> bytes | None:
        """Return a job's options as they were before `seal`; raises as `opened`."""
        return self._open_options(job, "", job.id)

    # ---- what schedules enqueue --------------------------------------------------------------------

    def seal_template(self, job: NewJob, name: str, spec: str, policy: str) -> NewJob:
        """Return what a schedule enqueues as it is stored.

        Args:
            job: what it enqueues; not sealed.
            name: the schedule's name.
            spec: when it runs, as it is stored.
            policy: its policy, as it is stored.
        """
        job = self._encrypted(job._replace(options=without_signature(job.options)), _SCHEDULE, name)
        return self.sign_template(job, name, spec, policy)

    def sign_template(self, job: NewJob, name: str, spec: str, policy: str) -> NewJob:
        """Return what a schedule enqueues, encrypted or not, signed with its name and times."""
        job = job._replace(options=without_signature(job.options))
        return job if self.signer is None else _signed(job, self.signer, template_id(name, spec, policy))

    def template_refusal(self, job: NewJob, name: str, spec: str, policy: str) -> str | None:
        """Return why a schedule must not enqueue this, as the end of a sentence; None if it may."""
        return self.refusal(job._replace(id=template_id(name, spec, policy)))

    def opened_template(self, job: NewJob, name: str) -> NewJob:
        """Return what a schedule enqueues as it was before `seal_template`; raises as `opened`."""
        return self._opened(job, _SCHEDULE, name)

    # ---- the parts ---------------------------------------------------------------------------------

    def _encrypted(self, job: NewJob, kind: str, owner: str) -> NewJob:
        cipher = self.cipher
        if cipher is None:
            return job
        facts = (owner, job.task, job.codec)
        options = None if job.options is None else cipher.seal(job.options, f"{kind}options", *facts)
        payload = cipher.seal(job.payload, f"{kind}payload", *facts)
        return job._replace(payload=payload, options=options, codec=job.codec + ENCRYPTED)

    def _opened(self, job: J, kind: str, owner: str) -> J:
        options = self._open_options(job, kind, owner)
        cipher = self.cipher
        if cipher is None:
            return job._replace(options=options)
        label = bare_label(job.codec)
        payload = cipher.open(job.payload, f"{kind}payload", owner, job.task, label)
        return job._replace(payload=payload, options=options, codec=label)

    def _open_options(self, job: J, kind: str, owner: str) -> bytes | None:
        labelled = _is_labelled(job.codec)
        if self.cipher is None:
            if labelled:
                raise EncryptionKeyError(
                    "It is encrypted, and there is no encryption_key here. Use the application that has it."
                )
            return without_signature(job.options)
        if not labelled:
            raise DecodingError("It is not encrypted, and this queue has an encryption_key.")
        options = without_signature(job.options)
        if options is None:
            return None
        return self.cipher.open(options, f"{kind}options", owner, job.task, bare_label(job.codec))


def is_sealed(job: NewJob | Job) -> bool:
    """Tell whether a job or template is signed or encrypted, rightly or not."""
    return is_signed(job.options) or _is_labelled(job.codec)


def bare_label(label: str) -> str:
    """Return a label without what it says of encryption."""
    return label.removesuffix(ENCRYPTED) if isinstance(label, str) else label


def _is_labelled(label: object) -> bool:
    return isinstance(label, str) and label.endswith(ENCRYPTED)


def _signed(job: NewJob, signer: Signer, job_id: str) -> NewJob:
    options = signer.sign(job_id, job.task, job.queue, job.codec, job.payload, job.options, job.max_crashes)
    return job._replace(options=options)
