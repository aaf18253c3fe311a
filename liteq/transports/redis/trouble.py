"""What Redis, redis-py and the operating system say, in liteq's words, and whether to try again."""

from __future__ import annotations

import errno
import re
import ssl
from enum import Enum
from typing import NamedTuple

from liteq.errors import NotSupportedError, StoreError, StoreFullError, StoreUnavailableError
from liteq.move_store import told_moved

__all__ = ["Kind", "Trouble", "translate", "understand"]


class Kind(Enum):
    """What is to be done about a failed call."""

    BROKEN = "broken"
    """The connection broke or stayed silent: nobody knows whether the call was done."""
    NOT_NOW = "not now"
    """The server refused the call because of a state that passes."""
    NOT_HERE = "not here"
    """The server refused the call because another is to be asked."""
    NOT_LOADED = "not loaded"
    """The server does not know the script (any more)."""
    FINAL = "final"
    """It would fail again."""


class Trouble(NamedTuple):
    """A failed call, understood."""

    kind: Kind
    code: str
    """The first word of what Redis said; "" if it said nothing."""
    text: str
    """All of it, for people."""
    address: tuple[str, int] | None = None
    """Whom to ask instead; the host may be ""."""


_CODES = {
    "BusyLoadingError": "LOADING",
    "NoScriptError": "NOSCRIPT",
    "ReadOnlyError": "READONLY",
    "AuthenticationError": "NOAUTH",
    "AuthenticationWrongNumberOfArgsError": "NOAUTH",
    "AuthorizationError": "NOPERM",
    "NoPermissionError": "NOPERM",
    "OutOfMemoryError": "OOM",
    "MaxConnectionsError": "MAXCLIENTS",
    "ClusterDownError": "CLUSTERDOWN",
    "MasterDownError": "MASTERDOWN",
    "TryAgainError": "TRYAGAIN",
    "MovedError": "MOVED",
    "AskError": "ASK",
}
"""redis-py takes the code away from what it has a class of its own for."""
_PASSING = {
    "LOADING",
    "MASTERDOWN",
    "CLUSTERDOWN",
    "TRYAGAIN",
    "BUSY",
    "UNKILLABLE",
    # Some keys are on another node already, and some not yet. None is touched before all of them are there.
    "ASK",
    "NOREPLICAS",
    "NOGOODSLAVE",
    "MAXCLIENTS",
}
_FULL = {"OOM", "MISCONF"}
_CODE = re.compile(r"-?([A-Z][A-Z0-9_]+)(?: |$)")
# Before Redis 7, what fails in a script is told as a part of a longer sentence.
_IN_SCRIPT = re.compile(r"@user_script: ?\d+: -?([A-Z][A-Z0-9_]+) (.*)", re.DOTALL)
# What stops a guarded script; see `scripts.py`.
_HALF_MOVED = "cript attempted to access a non local key in a cluster node"
_REDIRECTION = re.compile(r"(?:MOVED )?\d+ (.*):(\d+)")


def understand(error: BaseException) -> Trouble:
    """Return what a failed call means: an error of redis-py, or of the system below it."""
    from redis import exceptions

    text = " ".join(str(error).split())
    code = _code(error, text)
    if code is None and isinstance(error, exceptions.ResponseError):
        return _said_within(text)
    if code is not None:
        return _said(code, text)
    if isinstance(error, exceptions.ConnectionError | exceptions.TimeoutError | OSError):
        return Trouble(Kind.FINAL if _is_hopeless(error) else Kind.BROKEN, "", text or type(error).__name__)
    if isinstance(error, exceptions.InvalidResponse):
        return Trouble(Kind.FINAL, "", f"{text}; there may be another program than Redis")
    return Trouble(Kind.FINAL, "", text)


def _code(error: BaseException, text: str) -> str | None:
    for kind in type(error).__mro__:
        if kind.__name__ in _CODES:
            return _CODES[kind.__name__]
    if "max number of clients" in text:
        return "MAXCLIENTS"
    if "unauthenticated" in text:
        # What is said of a command that is too long to be read from somebody unknown.
        return "NOAUTH"
    if "user executing the script can't" in text:
        return "NOPERM"
    match = _CODE.match(text)
    return match.group(1) if match and match.group(1) != "ERR" else None


def _said_within(text: str) -> Trouble:
    if _HALF_MOVED in text:
        return Trouble(Kind.NOT_NOW, "ASK", text)
    match = _IN_SCRIPT.search(text)
    return Trouble(Kind.FINAL, "ERR", text) if match is None else _said(match.group(1), match.group(2))


def _said(code: str, text: str) -> Trouble:
    if code == "NOSCRIPT":
        return Trouble(Kind.NOT_LOADED, code, text)
    if code == "MOVED":
        match = _REDIRECTION.match(text)
        address = None if match is None else (match.group(1), int(match.group(2)))
        return Trouble(Kind.NOT_HERE, code, text, address)
    if code == "READONLY":
        return Trouble(Kind.NOT_HERE, code, text)
    return Trouble(Kind.NOT_NOW if code in _PASSING else Kind.FINAL, code, text)


def _is_hopeless(error: BaseException | None) -> bool:
    """Tell whether a connection failed for a reason that does not pass by itself."""
    seen = 0
    while error is not None and seen < 10:
        if isinstance(error, ssl.SSLCertVerificationError | PermissionError):
            return True
        if isinstance(error, OSError) and error.errno in (errno.EAFNOSUPPORT, errno.ENAMETOOLONG):
            return True
        error, seen = error.__cause__ or error.__context__, seen + 1
    return False


def translate(trouble: Trouble, url: str) -> StoreError | NotSupportedError:
    """Return the error of ours for a call that is not to be tried again.

    Args:
        trouble: what happened.
        url: where, with no password.
    """
    said = trouble.text
    if trouble.code == "CLOSED":
        return told_moved(url, said.removeprefix("CLOSED "))
    if trouble.code in _FULL:
        return StoreFullError(
            f"{url}: the server takes no more, and nothing of this call was stored: {said} "
            "Raise its maxmemory, or free space on its disk."
        )
    if trouble.code in ("NOAUTH", "WRONGPASS"):
        return StoreUnavailableError(
            f"{url}: the server refuses the user or the password, or wants one: {said} "
            "Write them as redis://user:password@host."
        )
    if trouble.code == "NOPERM":
        return StoreUnavailableError(
            f"{url}: the server's access rules forbid this user what a queue needs: {said.rstrip('.')}. "
            "The guide for Redis lists which keys, channels and commands that is."
        )
    return StoreUnavailableError(f"{url}: {said}") if not trouble.code else StoreError(f"{url}: {said}")
