"""Opens the transport that a URL names: the only place that knows the concrete ones."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from liteq.app.conf import MEMORY_URL, absolute_url
from liteq.transport import Transport

__all__ = ["open_transport"]


def open_transport(url: str, **settings: Any) -> Transport:
    """Open the transport that a URL names; the code of the others is not even imported.

    Args:
        url: as `liteq.Queue` takes it.
        settings: what the kind of transport takes; for a file `durability`, `create`, `busy_timeout`
            and `file_mode`.

    Raises:
        ConfigurationError: neither a path nor a URL.
        NotSupportedError: a URL of a kind that is not built yet.
        StoreError: the file cannot serve.
    """
    place = absolute_url(url)
    if place == MEMORY_URL:
        from liteq.transports.memory import MemoryTransport

        return MemoryTransport(place)
    from liteq.transports.sqlite.transport import SqliteTransport

    return SqliteTransport(Path(place), **settings)
