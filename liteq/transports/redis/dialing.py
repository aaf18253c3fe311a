"""Finding the server that is to be asked, and connecting to it.

Behind one URL there may be several servers: sentinels that know which is the master, or a cluster, of which
one node has all keys of a queue, because their names share one hash tag. Either way it is one server that is
asked, and another when that one says so or is gone.
"""

from __future__ import annotations

import os
import ssl
import threading
from pathlib import Path
from typing import Any

from liteq.errors import ConfigurationError, StoreUnavailableError
from liteq.transports.redis.client import Link, redis_client
from liteq.urls import RedisUrl

__all__ = ["Dialer"]

REPLY_TIMEOUT = 4.0
"""Seconds that a server may be silent before a call is made again, through another connection."""
CONNECT_TIMEOUT = 2.0

Address = tuple[str, int]


class Dialer:
    """Connects to the server that has the queue.

    Args:
        url: where it is.
        patience: seconds that a call may take in all; no single wait is longer, if that is over a second.

    Raises:
        ConfigurationError: a file that the URL names is not there or of no use, or redis-py is missing.
    """

    def __init__(self, url: RedisUrl, patience: float) -> None:
        self._url = url
        self._redis = redis_client()
        self._hosts = list(url.hosts)
        self._node: Address | None = None
        self._lock = threading.Lock()
        self._patience = patience
        options = dict(url.options)
        reply = options.pop("socket_timeout", REPLY_TIMEOUT)
        connect = options.pop("socket_connect_timeout", CONNECT_TIMEOUT)
        self._tls = {name: options.pop(name) for name in list(options) if name.startswith("ssl_")}
        for name in ("ssl_ca_certs", "ssl_certfile", "ssl_keyfile"):
            if name in self._tls and not Path(self._tls[name]).is_file():
                raise ConfigurationError(f"{url.shown}: there is no file {self._tls[name]} ({name}).")
        if "ssl_password" in url.secrets:
            self._tls["ssl_password"] = url.secrets["ssl_password"]
        if url.tls:
            self._try_files()
        self._keepalive = {} if url.kind == "unix" else {"socket_keepalive": True}
        if url.kind != "unix" and "socket_keepalive" in options:
            self._keepalive["socket_keepalive"] = options["socket_keepalive"]
        options.pop("socket_keepalive", None)
        self._common = {
            **options,
            # The newer protocol has nothing that is needed here, and costs a round trip.
            "protocol": 2,
        }
        self._common["health_check_interval"] = int(options.get("health_check_interval", 0))
        self._timeouts = {"socket_timeout": reply, "socket_connect_timeout": connect}
        self.hurry(None)

    def _try_files(self) -> None:
        """Load the files for TLS once, so that what is wrong with them is told now and once."""
        certificate, key = self._tls.get("ssl_certfile"), self._tls.get("ssl_keyfile")
        authorities = self._tls.get("ssl_ca_certs"), self._tls.get("ssl_ca_path")
        if key and not certificate:
            raise ConfigurationError(f"{self._url.shown}: ssl_keyfile is of no use without ssl_certfile.")
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        try:
            if any(authorities):
                context.load_verify_locations(*authorities)
            if certificate:
                # Without a password OpenSSL would ask for one on the terminal.
                context.load_cert_chain(certificate, key, self._tls.get("ssl_password", ""))
        except (OSError, ValueError) as error:
            raise ConfigurationError(
                f"{self._url.shown}: the files for TLS cannot be used ({error}). They are in PEM, "
                "and the key belongs to the certificate; if it is encrypted, ssl_password is its password."
            ) from error

    def hurry(self, seconds: float | None) -> None:
        """Wait for no longer than so many seconds from now on, or than one; None: for as long as before."""
        longest = max(1.0, self._patience if seconds is None else min(seconds, self._patience))
        waits = {name: min(value, longest) for name, value in self._timeouts.items()}
        self._common = {**self._common, **waits}

    def dial(self) -> Link:
        """Return a new connection to the server that is to be asked now.

        Raises:
            redis.RedisError: it cannot be reached, or does not let this user in.
            StoreUnavailableError: no sentinel knows the service.
        """
        asked = self._node or self._hosts[0] if self._hosts else None
        if self._url.kind == "unix":
            link = self._redis.UnixDomainSocketConnection(
                path=self._url.path, **self._login(), **self._common
            )
            # redis-py 5.0 forgets it, and would wait for a silent server for ever.
            link.socket_timeout = self._common["socket_timeout"]
        elif self._url.kind == "sentinel":
            link = self._connection(self._ask_sentinels(), self._login())
        else:
            assert asked is not None
            link = self._connection(asked, self._login())
        try:
            link.connect()
            if self._url.kind == "sentinel":
                self._check_role(link)
        except BaseException as error:
            link.disconnect()
            if isinstance(error, Exception):
                self.turn_away(asked)
            raise
        return link

    def follow(self, address: Address | None) -> None:
        """Ask this server from now on; without an address, find out anew which one."""
        if address is None:
            self.turn_away(self._node or self._hosts[0] if self._hosts else None)
        else:
            # A node that does not know its own name says "the host that you have asked".
            self._node = address[0] or (self._node or self._hosts[0])[0], address[1]

    def turn_away(self, address: Address | None) -> None:
        """Ask somebody else next time than this one, if there is anybody else.

        Several threads may find out one after the other that a server is gone: what the first has done about
        it is not undone by the others.
        """
        with self._lock:
            if self._node is not None:
                self._node = None if self._node == address else self._node
            elif len(self._hosts) > 1 and self._hosts[0] == address:
                self._hosts.append(self._hosts.pop(0))

    def _login(self) -> dict[str, Any]:
        return {
            "db": self._url.db,
            "username": self._url.username,
            "password": self._url.secrets.get("password"),
        }

    def _connection(self, address: Address, login: dict[str, Any]) -> Link:
        kind = self._redis.SSLConnection if self._url.tls else self._redis.Connection
        tls = self._tls if self._url.tls else {}
        return kind(host=address[0], port=address[1], **login, **tls, **self._keepalive, **self._common)

    def _ask_sentinels(self) -> Address:
        """Return the address of the master, as the first sentinel that answers gives it."""
        url = self._url
        login = {"username": url.sentinel_username, "password": url.secrets.get("sentinel_password")}
        failure: Exception | None = None
        for host in list(self._hosts):
            link = self._connection(host, login)
            try:
                link.send_command("SENTINEL", "GET-MASTER-ADDR-BY-NAME", url.service)
                answer = link.read_response()
            except (self._redis.RedisError, OSError) as error:
                failure = error
                continue
            finally:
                link.disconnect()
            if answer:
                # Whoever has answered is asked first next time.
                with self._lock:
                    self._hosts.remove(host)
                    self._hosts.insert(0, host)
                return os.fsdecode(answer[0]), int(answer[1])
            failure = StoreUnavailableError(f"{url.shown}: the sentinels know no service {url.service!r}.")
        assert failure is not None
        raise failure

    def _check_role(self, link: Link) -> None:
        # For some seconds after a failover, sentinels may name the old master.
        link.send_command("ROLE")
        if link.read_response()[0] != b"master":
            raise self._redis.exceptions.ReadOnlyError("the sentinels' master is a replica by now")
