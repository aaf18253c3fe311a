"""Opening a queue on Redis: whether the server can carry it, and what its settings may lose."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import dataclass

from liteq.errors import NewerStoreError, NotAQueueError, StoreError, StoreUnavailableError
from liteq.transports.redis.connection import Connection
from liteq.urls import read_redis_url

__all__ = ["FORMAT", "OLDEST", "Server", "ask_server", "open_connection"]

LOGGER = logging.getLogger("liteq.server")
"""Says what is amiss with a server's settings; worker processes leave that to whoever has started them."""

FORMAT = 1
"""What the keys of a queue look like; another number is another form."""
OLDEST = (6, 2)
"""The oldest Redis that has what the scripts need."""


@dataclass(frozen=True, slots=True)
class Server:
    """What a server tells about itself; "" or None for what it keeps to itself.

    Attributes:
        version: as people read it, such as `7.0.15`.
        name: `redis` or `valkey`.
        role: `master` or `slave`.
        policy: what it does when its memory is full.
        max_memory: bytes; 0 for no limit.
        used_memory: bytes.
        append: `always`, `everysec` or `no` where it writes each change to its disk, `off` where it does not.
        snapshots: whether it saves snapshots from time to time.
        clustered: whether it is a node of a cluster.
    """

    version: str
    name: str
    role: str
    policy: str
    max_memory: int
    used_memory: int
    append: str
    snapshots: bool | None
    clustered: bool = False

    @property
    def evicts(self) -> bool:
        """Whether it may throw jobs away when its memory is full."""
        return self.policy not in ("", "noeviction")

    @property
    def loss(self) -> str:
        """What the end of the server may lose, in words; "" for nothing."""
        if self.append == "always":
            return ""
        if self.append == "everysec":
            return "the last second or two"
        if self.append == "no":
            return "what the system had not yet written, up to half a minute"
        if self.append == "off":
            return "all that came after the last snapshot" if self.snapshots else "everything"
        return ""

    @property
    def persistence(self) -> str:
        """How it keeps what it is given, in words."""
        if self.append in ("always", "everysec", "no"):
            return f"appendfsync {self.append}"
        if self.append == "off":
            return "snapshots only" if self.snapshots else "nothing is written to disk"
        return "unknown; the server does not tell"


def open_connection(
    url: str, *, durability: str, busy_timeout: float, create: bool, **secrets: str
) -> Connection:
    """Connect to the server of a queue, and see whether it can carry it.

    Args:
        url: where it is.
        durability: `full` to be warned if the server may lose what it has confirmed.
        busy_timeout: seconds to wait for a server that does not serve.
        create: whether a queue is begun where there is none.
        secrets: the passwords that are not in the URL.

    Raises:
        ConfigurationError: the URL cannot be read, or redis-py is missing.
        StoreUnreachableError: the server did not serve in time.
        StoreUnavailableError: the server refuses this user, is too old, or a replica; or there is no queue
            and none is to be begun.
        NotAQueueError: the keys of the queue are another program's.
        NewerStoreError: the queue has the format of a newer liteq.
    """
    connection = Connection(read_redis_url(url, **secrets), busy_timeout)
    try:
        server = ask_server(connection)
        _check_version(connection.shown, server)
        if server.role == "slave" and connection.url.kind in ("server", "unix"):
            raise StoreUnavailableError(
                f"{connection.shown}: this server is a replica, which takes no jobs. Name its master, or let "
                "sentinels find it: redis+sentinel://host/service."
            )
        connection.guarded = connection.guarded or server.clustered
        _check_keys(connection, create)
        if create:
            # Whoever comes to look at a queue is told by `doctor`.
            _warn(connection, server, durability)
    except BaseException:
        connection.close()
        raise
    return connection


def ask_server(connection: Connection) -> Server:
    """Return what the server tells about itself.

    Raises:
        StoreError: as `Connection.command` does.
    """
    facts = _facts(connection.command("INFO"))
    settings = _settings(connection)
    append = settings.get("appendfsync", "") if facts.get("aof_enabled") == "1" else "off"
    saves = settings.get("save")
    return Server(
        version=facts.get("valkey_version") or facts.get("redis_version", ""),
        name="valkey" if "valkey_version" in facts else "redis",
        role=facts.get("role", ""),
        policy=facts.get("maxmemory_policy", settings.get("maxmemory-policy", "")),
        max_memory=_whole(facts.get("maxmemory", "")),
        used_memory=_whole(facts.get("used_memory", "")),
        append=append if "aof_enabled" in facts else "",
        snapshots=None if saves is None else bool(saves),
        clustered=facts.get("cluster_enabled") == "1",
    )


def _facts(answer: object) -> Mapping[str, str]:
    text = answer.decode("utf-8", "replace") if isinstance(answer, bytes) else ""
    pairs = (line.partition(":") for line in text.splitlines() if not line.startswith("#"))
    return {name: value.strip() for name, colon, value in pairs if colon}


def _settings(connection: Connection) -> Mapping[str, str]:
    settings: dict[str, str] = {}
    for name in ("appendfsync", "save", "maxmemory-policy"):
        try:
            answer = connection.command("CONFIG", "GET", name)
        except StoreError as error:
            if isinstance(error, StoreUnavailableError) or type(error) is StoreError:
                # Those who rent out servers mostly forbid it, or do not have it.
                return settings
            raise
        if isinstance(answer, list) and len(answer) == 2:
            settings[name] = answer[1].decode("utf-8", "replace")
    return settings


def _whole(text: str) -> int:
    return int(text) if text.isdecimal() else 0


def _check_version(shown: str, server: Server) -> None:
    # Valkey counts on from Redis 7.2, and says so where it names the Redis that it is like.
    parts = server.version.split(".")
    if len(parts) < 2 or not (parts[0].isdecimal() and parts[1].isdecimal()):
        return
    if (int(parts[0]), int(parts[1])) < OLDEST:
        raise StoreUnavailableError(
            f"{shown}: this is Redis {server.version}, and a queue needs Redis "
            f"{OLDEST[0]}.{OLDEST[1]} or newer, or Valkey."
        )


def _check_keys(connection: Connection, create: bool) -> None:
    # A script that may write but not publish would fail half way through. Nobody listens here.
    connection.command("PUBLISH", connection.key, "")
    if not create and not connection.command("EXISTS", connection.key):
        raise StoreUnavailableError(
            f"{connection.shown}: there is no queue here; check the URL, its database and its prefix."
        )
    said = connection.run("open", (FORMAT,)).decode("utf-8", "replace")
    what, _, which = said.partition(" ")
    if what == "foreign":
        raise NotAQueueError(
            f"{connection.shown}: the key {which} is another program's. Give the queue a prefix of its own, "
            "such as ?prefix=jobs, or another database."
        )
    if which != str(FORMAT):
        if which.isdecimal() and int(which) > FORMAT:
            raise NewerStoreError(
                f"{connection.shown}: this queue has format {which}, and this liteq knows {FORMAT}. Two "
                "liteqs that do not fit together use one store; install the newer one everywhere."
            )
        raise NotAQueueError(
            f"{connection.shown}: the key {connection.key.decode()} says format {which!r}, "
            "which no liteq writes."
        )


def _warn(connection: Connection, server: Server, durability: str) -> None:
    """Tell once a process what this server may do to jobs."""
    if connection.url.place in _warned:
        return
    _warned.add(connection.url.place)
    if server.evicts:
        LOGGER.warning(
            "%s: this server throws keys away when its memory is full (maxmemory-policy %s), jobs among "
            "them. Set it to noeviction.",
            connection.shown,
            server.policy,
        )
    if durability == "full" and server.loss:
        LOGGER.warning(
            '%s: this server may lose %s if it ends, though the queue says durability="full" (%s). Set '
            'appendonly yes and appendfsync always, or say durability="normal".',
            connection.shown,
            server.loss,
            server.persistence,
        )


_warned: set[str] = set()
"""The stores about which this process has said what there is to say."""
