"""Makes the queue of an application from its settings."""

from __future__ import annotations

import logging
from collections.abc import Collection
from pathlib import Path
from typing import Any

from liteq.app.conf import MEMORY_URL
from liteq.celery.conf import Settings
from liteq.celery.urls import is_own_store, queue_url
from liteq.errors import ConfigurationError
from liteq.queue import Queue
from liteq.urls import hide_passwords, is_redis, is_same_place

__all__ = ["make_queue"]

LOGGER = logging.getLogger("liteq.celery")
_CELERYS_OWN = "json"
"""What Celery writes where nothing is said."""
_CONTENT_TYPES = {
    "application/json": "json",
    "application/x-msgpack": "msgpack",
    "application/x-yaml": "yaml",
    "application/x-python-serialize": "pickle",
}
_told: set[tuple[str, str]] = set()
"""The queues and the backends of which it has been said that one keeps the results of the other."""


def make_queue(application: object, conf: Settings, directory: str) -> Queue:
    """Return a queue as the settings describe it.

    Args:
        application: whose it is, for messages.
        conf: the settings.
        directory: where relative paths start.

    Raises:
        ConfigurationError: no broker, or a setting that has a value it cannot have.
    """
    url = conf.broker_url
    if url is None:
        if not conf.task_always_eager:
            raise ConfigurationError(
                f"{application!r} has no broker: write Celery(broker='sqlite:///queue.db'), or set the "
                "variable CELERY_BROKER_URL."
            )
        url = MEMORY_URL
    if not conf.enable_utc and conf.timezone is None:
        raise ConfigurationError(
            "enable_utc=False leaves schedules in the machine's own zone, which has no name here; set "
            "timezone='Continent/City' as well."
        )
    place = _absolute(url, directory)
    _say_where_results_are(application, place, conf.result_backend, directory)
    settings = {
        **_payloads(conf),
        "result_expires": conf.result_expires,
        "timezone": conf.timezone or "UTC",
        "eager": conf.task_always_eager,
        "default_queue": conf.task_default_queue,
        **conf.queue_options,
    }
    return Queue(place, **settings)


def _payloads(conf: Settings) -> dict[str, Any]:
    """Return how the settings have arguments and results written and read."""
    accept = _one(conf, "set of accepted codecs", "accept_content", "result_accept_content")
    if accept is not None:
        accept = _names(accept)
    serializer = _one(conf, "serializer", "task_serializer", "result_serializer")
    if serializer is None:
        serializer = conf.task_serializer
        if accept is not None and serializer not in accept and _CELERYS_OWN in accept:
            serializer = _CELERYS_OWN
    compression = _one(conf, "compression", "task_compression", "result_compression")
    return {"serializer": str(serializer), "accept": accept, "compression": compression}


def _one(conf: Settings, what: str, first: str, second: str) -> Any:
    """Return what two settings say, one for arguments and one for results, that mean one thing here."""
    said = {name: conf[name] for name in (first, second) if conf.says(name) and conf[name] is not None}
    if len(said) == 2 and _comparable(said[first]) != _comparable(said[second]):
        raise ConfigurationError(
            f"Arguments and results have one {what} here, and {first} is {said[first]!r}, "
            f"{second} {said[second]!r}; make them the same."
        )
    return next(iter(said.values()), None)


def _comparable(value: Any) -> Any:
    return value if isinstance(value, str) else _names(value)


def _names(accept: Any) -> Any:
    """Return the names of codecs that are named by content type too, as in Celery."""
    if isinstance(accept, str) or not isinstance(accept, Collection):
        return accept
    return {_CONTENT_TYPES.get(each, each) for each in accept}


def _absolute(url: Any, directory: str) -> str | Path:
    if not isinstance(url, str):
        return Path(directory, url)
    url = queue_url(url)
    if url == MEMORY_URL or is_redis(url):
        return str(url)
    return Path(directory, url.removeprefix("sqlite:///"))


def _say_where_results_are(
    application: object, place: str | Path, backend: str | None, directory: str
) -> None:
    if backend is None or not is_own_store(backend):
        return
    kept = _absolute(backend, directory)
    if kept == place or (isinstance(kept, str) and isinstance(place, str) and is_same_place(kept, place)):
        return
    # A setting that comes late makes the queue anew, and that is nothing to hear of again.
    if (told := (str(place), backend)) not in _told:
        _told.add(told)
        shown = hide_passwords(backend)
        LOGGER.warning("%r: the broker keeps the results as well, and not %s", application, shown)
