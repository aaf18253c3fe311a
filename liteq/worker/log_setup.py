"""How logging is configured in a process of `liteq worker`: by liteq, by a file, or by the program itself."""

from __future__ import annotations

import json
import logging
import logging.config
from collections.abc import Callable
from pathlib import Path
from typing import Any

from liteq.errors import ConfigurationError, WorkerError
from liteq.signals import setup_logging
from liteq.worker.imports import told
from liteq.worker.log import set_up_logging

__all__ = ["configure_logging", "let_program_configure", "load_log_config"]

_called: list[Callable[..., Any]] = []
"""The receivers of `setup_logging` that have configured this process."""


def configure_logging(loglevel: str, name: str, log_format: str, log_config: str | None) -> None:
    """Configure logging as a file says, else send liteq's lines to standard error.

    Args:
        loglevel: the lowest level to show, by name.
        name: the worker's name.
        log_format: how lines look, "text" or "json".
        log_config: the file's path, or None.

    Raises:
        ConfigurationError: the file cannot be used.
    """
    if log_config is None:
        set_up_logging(loglevel, name, log_format=log_format)
    else:
        load_log_config(log_config)


def let_program_configure(loglevel: str, name: str) -> None:
    """Send `setup_logging`, if the modules that are imported by now have connected something to it.

    Then what `configure_logging` has done is undone first. Each receiver is called once in a process.

    Args:
        loglevel: the lowest level to show, by name.
        name: the worker's name.

    Raises:
        WorkerError: a receiver has raised something; says which, where and what.
    """
    new = [receiver for receiver in setup_logging.receivers() if receiver not in _called]
    if not new:
        return
    if not _called:
        logger = logging.getLogger("liteq")
        logger.handlers.clear()
        logger.propagate = True
        logger.setLevel(logging.NOTSET)
    _called.extend(new)
    level: int = logging.getLevelNamesMapping()[loglevel.upper()]
    for receiver in new:
        try:
            # Those of Celery's signal that have no meaning here are sent because receivers may name them.
            receiver(
                signal=setup_logging,
                sender=None,
                loglevel=level,
                worker=name,
                logfile=None,
                format=None,
                colorize=False,
            )
        except Exception as error:
            what = getattr(receiver, "__qualname__", repr(receiver))
            raise WorkerError(f"{what}, connected to setup_logging, has failed{told(error)}") from error


def load_log_config(path: str) -> None:
    """Configure logging as a file says: JSON for `logging.config.dictConfig`, or ini for `fileConfig`.

    Loggers that it does not name go on, unless it says `disable_existing_loggers`.

    Raises:
        ConfigurationError: it is not there, or says something that cannot be done.
    """
    try:
        text = Path(path).read_text(encoding="utf-8")
        if text.lstrip().startswith("{"):
            logging.config.dictConfig({"disable_existing_loggers": False, **json.loads(text)})
        else:
            logging.config.fileConfig(path, disable_existing_loggers=False, encoding="utf-8")
    # It may name classes of the user's own, which may raise anything.
    except Exception as error:
        cause = f" ({error.__cause__})" if error.__cause__ is not None else ""
        raise ConfigurationError(
            f"The log configuration {path} cannot be used: {type(error).__name__}: {error}{cause}"
        ) from error
