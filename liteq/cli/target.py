"""TARGET: a queue file, a URL, or an application.

A text is a file if a file of that name exists. If not, it is an application if it looks like one: dotted
names, perhaps with `:attribute`. A name without a colon that ends like a database, such as `queue.db`,
is a file all the same, and so is everything with a path separator in it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import click

from liteq.app.conf import MEMORY_URL, absolute_url, passwords_in
from liteq.app.opening import open_for_workers, open_transport
from liteq.codec.accepting import Codecs
from liteq.codec.contents import Contents
from liteq.codec.protection import Protection
from liteq.errors import ConfigurationError, NotSupportedError, StoreUnavailableError, WorkerError
from liteq.queue import Queue
from liteq.transport import Transport
from liteq.urls import hide_passwords, is_redis
from liteq.worker.imports import load_app

__all__ = [
    "FILE_SUFFIXES",
    "Target",
    "is_module",
    "names_application",
    "resolve",
    "resolve_application",
    "resolve_with_modules",
]

COMMAND_PATIENCE = 5.0
"""Seconds for which a command waits for a server that does not serve."""
FILE_SUFFIXES = (".db", ".db3", ".sqlite", ".sqlite3", ".liteq")
"""What the name of a queue file that does not exist (yet) may end with."""


@dataclass(frozen=True, slots=True)
class Target:
    """Where the jobs are.

    Attributes:
        text: what the user wrote.
        url: the absolute path of the queue's file, or a server's URL without any password.
        app: the application's queue, imported; None if the target is a file, or a URL.
        passwords: those that the URL had.
    """

    text: str
    url: str
    app: Queue | None = None
    passwords: Mapping[str, str] = field(default_factory=dict, repr=False)

    @property
    def settings(self) -> dict[str, Any]:
        """The keyword arguments with which workers and producers open the store."""
        return dict(self.passwords) if self.app is None else self.app.settings.transport_settings()

    @property
    def is_file(self) -> bool:
        """Whether it is a file, and no server."""
        return not is_redis(self.url)

    @property
    def contents(self) -> Contents:
        """What reads what jobs carry: with the codecs and keys of the application, if it is one."""
        return Contents(Codecs(), Protection()) if self.app is None else self.app.settings.contents

    def open(self, **changes: Any) -> Transport:
        """Open the file; a missing one is created only with `create=True`.

        Args:
            changes: what differs from the application's own settings.

        Raises:
            StoreError: the file cannot serve.
        """
        settings = {**self.settings, "create": False, **changes}
        if not self.is_file:
            settings["busy_timeout"] = min(COMMAND_PATIENCE, settings.get("busy_timeout", COMMAND_PATIENCE))
        return open_transport(self.url, **settings)

    def open_for_workers(self, **changes: Any) -> Transport:
        """Open the store as `open` does, but wait for a server that does not serve yet."""
        settings = {**self.settings, "create": False, **changes}
        return open_for_workers(self.url, over=lambda: False, **settings)

    def require(self) -> None:
        """Raise StoreUnavailableError, with a hint, unless the file exists."""
        if self.is_file and not Path(self.url).exists():
            hint = f" To name an application, write {self.text}:q." if _is_dotted(self.text) else ""
            raise StoreUnavailableError(f"{self.url}: there is no queue here; check the path.{hint}")


def resolve(text: str) -> Target:
    """Return what a TARGET means; an application is imported, a file is not touched.

    Raises:
        ConfigurationError: neither a file nor an application.
        NotSupportedError: a queue that no other process can open.
        WorkerError: the application cannot be imported, or has no queue.
    """
    if text.endswith(".py"):
        module = ".".join(Path(text).with_suffix("").parts)
        raise ConfigurationError(
            f"{text} is a Python file; name the queue's file, or the module: {module.lstrip('./')}"
        )
    if not names_application(text):
        url = absolute_url(text)
        if url == MEMORY_URL:
            raise NotSupportedError(
                f"{MEMORY_URL} lives and ends in the memory of one program, so this one cannot open it; "
                "start its workers there, with Queue.start_workers()."
            )
        return Target(hide_passwords(text), url, None, passwords_in(text))
    return resolve_application(text)


def resolve_application(text: str) -> Target:
    """Return what an application's name means, whatever files there are; it is imported.

    Raises:
        ConfigurationError: not the name of an application.
        NotSupportedError: a queue that no other process can open.
        WorkerError: the application cannot be imported, or has no queue.
    """
    if not _is_dotted(text):
        raise ConfigurationError(f"-A takes an application, such as shop or shop.app:q, not {text!r}.")
    app = _load(text)
    if app.settings.eager or not app.store.crosses_processes:
        why = "is eager and stores nothing" if app.settings.eager else "is kept in its own memory only"
        raise NotSupportedError(f"The queue of {text} ({app.url}) {why}; there is nothing to open here.")
    return Target(text, app.url, app)


def resolve_with_modules(target: str | None, modules: Sequence[str]) -> tuple[Target, Sequence[str]]:
    """Return what TARGET and `-A` mean together: without TARGET, `-A` names the application, as in Celery.

    Returns:
        The target, and the modules that are to be imported besides.

    Raises:
        click.UsageError: neither says which queue.
        LiteqError: as `resolve`.
    """
    if target is not None:
        return resolve(target), modules
    if len(modules) == 1:
        return resolve_application(modules[0]), ()
    if modules:
        raise click.UsageError("several -A say where tasks are; TARGET has to say where the jobs are")
    raise click.UsageError(
        "missing TARGET (a file such as queue.db, a URL, an application), or -A APPLICATION"
    )


def names_application(text: str) -> bool:
    """Tell whether a text names an application and not a file."""
    if "://" in text or not _is_dotted(text) or Path(text).is_file():
        return False
    return ":" in text or not text.lower().endswith(FILE_SUFFIXES)


def is_module(text: str) -> bool:
    """Tell whether a text can be the dotted name of a module."""
    return all(part.isidentifier() for part in text.split("."))


def _is_dotted(text: str) -> bool:
    module, colon, attribute = text.partition(":")
    return is_module(module) and (not colon or attribute.isidentifier())


def _load(text: str) -> Queue:
    try:
        return load_app(text, Queue)
    except WorkerError as error:
        cause = error.__cause__
        if isinstance(cause, ModuleNotFoundError) and cause.name == text.split(":")[0].split(".")[0]:
            raise WorkerError(
                f"There is neither a file nor a module {text!r} here. Start this command where the file is, "
                "or in the folder from which the application can be imported."
            ) from error
        raise
