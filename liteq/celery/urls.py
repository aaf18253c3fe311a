"""What a Celery program writes for its broker and its result backend, as a queue's URL."""

from __future__ import annotations

import re

from liteq.app.conf import MEMORY_URL, SERVED, absolute_url
from liteq.errors import ConfigurationError, NotSupportedError
from liteq.urls import is_redis

__all__ = ["check_url", "is_own_store", "queue_url"]

_SAME_FILE = re.compile(r"(?:sqla\+|db\+)?sqlite:///")
_SCHEME = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*://")
_REQUIREMENT = re.compile(r"(?<=[?&])(ssl_cert_reqs=)CERT_(NONE|OPTIONAL|REQUIRED)\b")
_NO_STORE = ("rpc://", "rpc", "disabled://", "disabled")
"""Result backends that name no store of their own: results come back the way the calls went."""
_KIND = re.compile(
    r"amqp|amqps|arangodb|azureblockblob|azurestoragequeues|cache|cassandra|confluentkafka|consul|"
    r"cosmosdbsql|couchbase|couchdb|database|db|django|django-cache|django-db|dynamodb|elasticsearch|etcd|"
    r"file|filesystem|gcpubsub|gs|memory|mongodb|pyamqp|pyro|qpid|redis|rediss|riak|s3|sentinel|sqla|"
    r"sqlalchemy|sqs|zookeeper"
)
"""What Celery calls kinds of brokers and stores where no URL is needed; a file of such a name is `./name`."""


def check_url(what: str, url: object) -> None:
    """Raise unless liteq can serve a URL.

    Args:
        what: where it was written, such as `broker`.
        url: a file's path, `sqlite:///path`, `memory://`, or a Redis server's; Celery's `sqla+sqlite:///` and
            `db+sqlite:///` mean the file as well.

    Raises:
        NotSupportedError: a broker or a backend that is another server, or of another library.
        ConfigurationError: no URL, and no path.
    """
    if not isinstance(url, str) or _SAME_FILE.match(url) or url == MEMORY_URL or is_redis(url):
        absolute_url(queue_url(url) if isinstance(url, str) else url)  # type: ignore[arg-type]
        return
    scheme = _SCHEME.match(url)
    if scheme is not None or _KIND.fullmatch(url.lower()) or url.startswith("file:"):
        # The rest is not shown: it may have a password in it.
        shown = repr(url) if scheme is None else f"'{scheme.group()}...'"
        if "backend" in what.lower():
            raise NotSupportedError(
                f"{what}={shown} cannot be served: the broker keeps the results. Leave the backend "
                f"out, or give it the broker's URL, such as 'sqlite:///queue.db'. {SERVED}."
            )
        raise NotSupportedError(
            f"{what}={shown} cannot be served: of servers, liteq knows Redis. {SERVED}; "
            f"so write {what}='sqlite:///queue.db', or another file's path, and leave the backend out."
        )
    if ";" in url:
        raise ConfigurationError(f"{what}={url!r} names several brokers; there is one queue file. {SERVED}.")
    absolute_url(url)


def queue_url(url: str) -> str:
    """Return a checked URL as `liteq.Queue` takes it."""
    if is_redis(url):
        # As kombu writes it.
        return _REQUIREMENT.sub(lambda found: found[1] + found[2].lower(), url)
    return _SAME_FILE.sub("sqlite:///", url, count=1)


def is_own_store(backend: str) -> bool:
    """Tell whether a result backend names a store at all."""
    return backend not in _NO_STORE
