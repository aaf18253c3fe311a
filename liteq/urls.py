"""Where a queue is: what the URLs of Redis servers say, and which URLs name the same queue.

A password is never part of a URL once it has been read here. It travels beside it, among the settings of the
transport, so that whatever shows a URL shows no password.
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import quote, unquote

from liteq.errors import ConfigurationError

__all__ = [
    "REDIS_FORMS",
    "RedisUrl",
    "hide_passwords",
    "is_redis",
    "is_same_place",
    "read_redis_url",
    "require_slashes",
]

REDIS_FORMS = (
    "redis://host:6379/0 (rediss:// for TLS), unix:///path/redis.sock?db=0, "
    "redis+sentinel://host1,host2/service/0, or redis+cluster://host1,host2"
)
"""How a queue on Redis can be written."""

DEFAULT_PREFIX = "liteq"
_PORT, _SENTINEL_PORT = 6379, 26379
_SCHEMES = {
    "redis": ("server", False),
    "rediss": ("server", True),
    "unix": ("unix", False),
    "redis+unix": ("unix", False),
    "redis+socket": ("unix", False),
    "redis+sentinel": ("sentinel", False),
    "rediss+sentinel": ("sentinel", True),
    "redis+cluster": ("cluster", False),
    "rediss+cluster": ("cluster", True),
}
"""Each scheme's kind of place, and whether TLS is spoken there."""
_SCHEME = re.compile(r"([A-Za-z][A-Za-z0-9+.-]*)://")
# Braces would be a hash tag of their own; the others keep keys readable and patterns exact.
_PREFIX = re.compile(r"[A-Za-z0-9_.:/-]{1,64}")
_HOST = re.compile(r"(?:\[([0-9A-Fa-f:.%]+)\]|([^\[\]:/\s]+))?(?::([0-9]{1,5}))?")
# Up to the last of them: a password may hold one that should have been written %40.
_SHOWN_USER = re.compile(r"://.*@", re.DOTALL)
_SHOWN_PASSWORD = re.compile(r"(password=)[^&#\s]*")


def _seconds(text: str) -> float:
    value = float(text)
    if not 0.001 <= value <= 86400.0:
        raise ValueError("it must be from 0.001 to 86400 seconds")
    return value


def _flag(text: str) -> bool:
    known = {"1": True, "true": True, "yes": True, "on": True, "0": False, "false": False, "no": False}
    try:
        return {**known, "off": False}[text.lower()]
    except KeyError:
        raise ValueError("it must be true or false") from None


def _requirement(text: str) -> str:
    if text not in ("none", "optional", "required"):
        raise ValueError("it must be none, optional or required")
    return text


_OPTIONS: Mapping[str, Callable[[str], Any]] = {
    "socket_timeout": _seconds,
    "socket_connect_timeout": _seconds,
    "socket_keepalive": _flag,
    "health_check_interval": _seconds,
    "client_name": str,
    "ssl_cert_reqs": _requirement,
    "ssl_ca_certs": str,
    "ssl_ca_path": str,
    "ssl_certfile": str,
    "ssl_keyfile": str,
    "ssl_check_hostname": _flag,
}
"""What redis-py takes as well, each with how it is read."""
_SECRETS = ("password", "sentinel_password", "ssl_password")
_NAMES = {"db", "prefix", "username", "sentinel_username", "virtual_host"}


@dataclass(frozen=True, slots=True)
class RedisUrl:
    """A queue on a Redis server, or on several that belong together.

    Attributes:
        kind: `server`, `unix`, `sentinel` or `cluster`.
        tls: whether TLS is spoken.
        hosts: host names and ports; for `unix` none.
        path: the path of the socket, for `unix`.
        service: what the sentinels call the server, for `sentinel`.
        db: the number of the database.
        prefix: what the names of the queue's keys start with.
        username: whom the server knows; None for its default user.
        options: what redis-py is told besides.
        secrets: the passwords, by the name of the option; shown to nobody.
    """

    kind: str
    tls: bool = False
    hosts: tuple[tuple[str, int], ...] = ()
    path: str = ""
    service: str = ""
    db: int = 0
    prefix: str = DEFAULT_PREFIX
    username: str | None = None
    sentinel_username: str | None = None
    options: Mapping[str, Any] = field(default_factory=dict)
    secrets: Mapping[str, str] = field(default_factory=dict, repr=False)

    @property
    def shown(self) -> str:
        """The URL in its full form, without any password."""
        scheme = ("rediss" if self.tls else "redis") if self.kind != "unix" else "unix"
        scheme += f"+{self.kind}" if self.kind in ("sentinel", "cluster") else ""
        user = "" if self.username is None else f"{quote(self.username, safe='')}@"
        query = {name: _written(value) for name, value in sorted(self.options.items())}
        if self.sentinel_username is not None:
            query["sentinel_username"] = self.sentinel_username
        if self.prefix != DEFAULT_PREFIX:
            query["prefix"] = self.prefix
        return f"{scheme}://{user}{self._place(query)}" + (
            "?" + "&".join(f"{name}={quote(value, safe='/:')}" for name, value in query.items())
            if query
            else ""
        )

    @property
    def place(self) -> str:
        """What two URLs of one queue have in common: neither who asks nor how long for is part of it."""
        return RedisUrl(
            kind=self.kind,
            tls=self.tls,
            hosts=self.hosts,
            path=os.path.realpath(self.path) if self.path else "",
            service=self.service,
            db=self.db,
            prefix=self.prefix,
        ).shown

    def _place(self, query: dict[str, str]) -> str:
        if self.kind == "unix":
            if self.db:
                query["db"] = str(self.db)
            return quote(self.path, safe="/")
        hosts = ",".join(f"[{host}]:{port}" if ":" in host else f"{host}:{port}" for host, port in self.hosts)
        if self.kind == "cluster":
            return hosts
        service = f"/{quote(self.service, safe='')}" if self.kind == "sentinel" else ""
        return f"{hosts}{service}/{self.db}"


def is_redis(url: str) -> bool:
    """Tell whether a text is the URL of a queue on Redis."""
    match = _SCHEME.match(url)
    return match is not None and match.group(1).lower() in _SCHEMES


def require_slashes(text: str) -> None:
    """Refuse a text that begins as the URL of a queue on Redis does, but for the two slashes.

    Raises:
        ConfigurationError: it does; the text is not shown, because it may have a password.
    """
    scheme, colon, rest = text.partition(":")
    if colon and not rest.startswith("//") and scheme.lower() in _SCHEMES:
        raise ConfigurationError(
            f"A URL begins with {scheme}://, and this one lacks a slash. If it is a file, write ./{scheme}: "
            "and so on."
        )


def hide_passwords(url: str) -> str:
    """Return a URL, whatever is wrong with it, with no password in it."""
    return _SHOWN_PASSWORD.sub(r"\1...", _SHOWN_USER.sub("://...@", url))


def is_same_place(one: str, other: str) -> bool:
    """Tell whether two absolute URLs, or paths of files, name the same queue."""
    if is_redis(one) or is_redis(other):
        return is_redis(one) and is_redis(other) and read_redis_url(one).place == read_redis_url(other).place
    return os.path.realpath(one) == os.path.realpath(other)


def read_redis_url(url: str, **secrets: str | None) -> RedisUrl:
    """Read the URL of a queue on Redis.

    Args:
        url: one of `REDIS_FORMS`, perhaps with `user:password@` before the hosts, and with options behind a
            question mark. What is special in a URL is written with percent signs.
        secrets: passwords that are not in the URL, by the name of their option.

    Raises:
        ConfigurationError: it is none, or has an option that is unknown or cannot be used.
    """
    scheme, _, rest = url.partition("://")
    kind, tls = _SCHEMES[scheme.lower()]
    rest, _, query = rest.partition("?")
    options = _query(url, query)
    user, at, rest = rest.rpartition("@")
    if kind == "unix" and "/" in user:
        user, at, rest = "", "", f"{user}@{rest}"
    hidden = {name: value for name, value in secrets.items() if value is not None}
    for name in _SECRETS:
        if name in options:
            hidden[name] = options.pop(name)
    username = options.pop("username", None)
    if at:
        name, colon, password = user.partition(":")
        username = unquote(name) or username
        if colon and password:
            hidden["password"] = unquote(password)
    prefix = options.pop("prefix", DEFAULT_PREFIX)
    if not _PREFIX.fullmatch(prefix):
        raise _refused(url, f"prefix={prefix!r} must be 1 to 64 of letters, digits and _ . : / -")
    where = _socket(url, rest) if kind == "unix" else _hosts(url, kind, rest)
    database = options.pop("db", options.pop("virtual_host", None))
    where["db"] = _database(url, kind, where.pop("db", None) or database or "0")
    return RedisUrl(
        kind=kind,
        tls=tls,
        prefix=prefix,
        username=username,
        sentinel_username=options.pop("sentinel_username", None),
        options={name: _value(url, name, text) for name, text in options.items()},
        secrets=hidden,
        **where,
    )


def _query(url: str, query: str) -> dict[str, str]:
    options: dict[str, str] = {}
    for part in query.split("&") if query else ():
        name, _, value = part.partition("=")
        known = [*_OPTIONS, *_NAMES, *_SECRETS]
        if "@" in part:
            raise _refused(url, "there is an @ behind the question mark; in a password, write ? as %3F")
        if name not in known:
            from difflib import get_close_matches

            nearest = get_close_matches(name, known, 1)
            hint = (
                f"; perhaps {nearest[0]} is meant" if nearest else f"; there are {', '.join(sorted(known))}"
            )
            raise _refused(url, f"there is no option {name!r}{hint}")
        if name in options:
            raise _refused(url, f"{name} is given twice")
        options[name] = unquote(value)
    return options


def _value(url: str, name: str, text: str) -> Any:
    try:
        return _OPTIONS[name](text)
    except ValueError as error:
        raise _refused(url, f"{name}={text!r} cannot be used: {error}") from None


def _socket(url: str, rest: str) -> dict[str, Any]:
    path = unquote(rest)
    if not path.startswith("/") or path == "/" or "\0" in path:
        raise _refused(url, "it names no socket; write three slashes and an absolute path")
    return {"path": path}


def _hosts(url: str, kind: str, rest: str) -> dict[str, Any]:
    authority, _, path = rest.partition("/")
    port = _SENTINEL_PORT if kind == "sentinel" else _PORT
    texts = authority.split(",")
    if kind == "server" and len(texts) > 1:
        raise _refused(
            url, "it names several servers; sentinels are redis+sentinel://, a cluster redis+cluster://"
        )
    parts = [unquote(part) for part in path.split("/")] if path else []
    if kind == "sentinel":
        if not parts or not parts[0]:
            raise _refused(url, "it names no service, as in redis+sentinel://host:26379/mymaster/0")
        service, parts = parts[0], parts[1:]
    else:
        service = ""
    if len(parts) > 1:
        raise _refused(url, f"{parts[-1]!r} follows the number of the database")
    return {
        "hosts": tuple(_host(url, text, port) for text in texts),
        "service": service,
        "db": parts[0] if parts else None,
    }


def _host(url: str, text: str, default: int) -> tuple[str, int]:
    match = _HOST.fullmatch(text)
    port = int(match.group(3) or default) if match else 0
    if match is None or not 0 < port < 65536:
        raise _refused(url, f"{hide_passwords('://' + text)[3:]!r} is no host with a port")
    return unquote(match.group(1) or match.group(2) or "localhost").lower(), port


def _database(url: str, kind: str, text: str) -> int:
    if not (text.isascii() and text.isdecimal() and len(text) < 10):
        raise _refused(url, f"{text!r} is no number of a database")
    if kind == "cluster" and int(text):
        raise _refused(url, "a cluster has no database but 0")
    return int(text)


def _written(value: object) -> str:
    return (
        str(value).lower()
        if isinstance(value, bool)
        else f"{value:g}"
        if isinstance(value, float)
        else str(value)
    )


def _refused(url: str, why: str) -> ConfigurationError:
    return ConfigurationError(f"{hide_passwords(url)!r}: {why}. A queue on Redis is {REDIS_FORMS}.")
