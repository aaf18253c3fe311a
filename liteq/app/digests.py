"""What a declaration says, as a digest that is the same in every program that makes it.

It stands in a schedule's record together with a digest of the call that came of it, and how much was known of
the task then: a program that knows a task by its name only makes another call of the same declaration.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from liteq.app.recurring import Recurring
from liteq.codec import encode_call
from liteq.codec.accepting import base_of
from liteq.codec.encryption import Cipher
from liteq.codec.registry import guarded_codec
from liteq.errors import EncodingError
from liteq.firing import Policy, encode_policy
from liteq.job import NewJob
from liteq.schedule import encode

__all__ = ["BY_NAME", "LOADED", "UNKNOWN", "call_digest", "canonical", "digest_of", "joined", "parted"]

UNKNOWN = "-"
"""How the call was made: not at all, as nobody had registered its task."""
BY_NAME = "n"
"""By the task's name only."""
LOADED = "t"
"""With the task at hand, and all that it says of its jobs."""
_BUILT_IN = ("msgpack", "json", "yaml")
_DEEPEST = 200
_ADDRESS: object = object.__repr__
"""Writes where in memory an object is, which is elsewhere in every process."""


def digest_of(work: Recurring, cipher: Cipher | None = None) -> str:
    """Return what tells one declaration from a changed one: the same whether or not its task is loaded.

    Args:
        work: what is declared.
        cipher: has the queue's keys, if it encrypts: arguments can be guessed from a digest without a key.
    """
    options = {
        name: dict(value) if isinstance(value, Mapping) else value for name, value in work.options.items()
    }
    try:
        call = canonical([work.args, dict(work.kwargs), options])
    except EncodingError:
        # It cannot be stored either, unless by a user's own codec, whose bytes count then.
        call = ""
    said = json.dumps([encode(work.schedule), encode_policy(work.policy), work.task, call])
    return _digest(said, cipher)


def call_digest(work: Recurring, policy: Policy, job: NewJob, cipher: Cipher | None = None) -> str:
    """Return what tells the call of a declaration from another one, such as of a task that has changed.

    Args:
        work: what is declared.
        policy: the policy that comes of it.
        job: what it enqueues, not sealed.
        cipher: has the keys of the task's queue, if it encrypts.
    """
    # What the declaration says of these, its own digest covers, but for what only a user's own codec knows.
    payload = b""
    base = base_of(job.codec)
    if base not in _BUILT_IN:
        payload = encode_call(guarded_codec(base), _steady(work.args), _steady(dict(work.kwargs)))
    return _digest(f"{encode_policy(policy)} {job._replace(payload=payload, options=None)!r}", cipher)


def joined(digest: str, made: str) -> str:
    """Return what a record says of its declaration.

    Args:
        digest: what is declared.
        made: `UNKNOWN`, `BY_NAME` or `LOADED`, and the digest of the call.
    """
    return f"{digest} {made}"


def parted(declaration: str | None) -> tuple[str, str]:
    """Return what `joined` put together; nothing for what says nothing."""
    digest, _, made = (declaration or "").rpartition(" ")
    return digest, made


def canonical(value: Any, depth: int = _DEEPEST) -> str:
    """Return a text that is the same for equal values of the same types, in every process.

    Sets and dicts have an order of their own there, which they do not have from one process to the next.

    Raises:
        EncodingError: it is nested too deep, or contains itself.
    """
    kind = type(value)
    if depth <= 0:
        raise EncodingError("The value is nested too deep, or contains itself.")
    if kind in (list, tuple):
        return f"{kind.__name__}({', '.join(canonical(each, depth - 1) for each in value)})"
    if kind in (set, frozenset):
        return f"{kind.__name__}({', '.join(sorted(canonical(each, depth - 1) for each in value))})"
    if kind is dict:
        items = (f"{canonical(key, depth - 1)}: {canonical(each, depth - 1)}" for key, each in value.items())
        return f"dict({', '.join(sorted(items))})"
    return _other(value, depth)


def _other(value: Any, depth: int) -> str:
    # Imported here because programs that only enqueue have no use for it.
    from liteq.codec.forms import Compound, Leaf, form_of

    kind = type(value)
    if kind in (str, bytes, int, float, bool, type(None)):
        return repr(value)
    form = form_of(kind)
    if isinstance(form, Leaf):
        return f"{form.tag}({form.dump(value)!r})"
    if isinstance(form, Compound):
        return f"{form.tag}{canonical(form.dump(value), depth - 1)}"
    shown = "" if kind.__repr__ == _ADDRESS else repr(value)
    return f"{kind.__qualname__}({shown})"


def _steady(value: Any) -> Any:
    """Return a value with its sets in an order that is the same in every process."""
    if isinstance(value, set | frozenset):
        return ["set", *sorted(map(_steady, value), key=repr)]
    if type(value) is dict:
        return {key: _steady(each) for key, each in value.items()}
    return type(value)(map(_steady, value)) if type(value) in (list, tuple) else value


def _digest(text: str, cipher: Cipher | None) -> str:
    # Imported here because programs that only enqueue have no use for it.
    import hashlib

    data = text.encode("utf-8", "backslashreplace")
    return (hashlib.sha256(data).digest() if cipher is None else cipher.digest(data)).hex()[:32]
