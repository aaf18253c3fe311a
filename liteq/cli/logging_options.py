"""The options that say how a command logs."""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

import click

from liteq.worker.log import LOG_FORMATS
from liteq.worker.log_setup import configure_logging

__all__ = ["LogOptions", "logging_options", "redirecting_options"]

FunctionT = TypeVar("FunctionT", bound=Callable[..., Any])
LEVELS = ("DEBUG", "INFO", "WARNING", "ERROR", "CRITICAL")


class LogOptions(NamedTuple):
    """What a command was told about its log."""

    loglevel: str
    log_format: str
    log_config: str | None
    """The absolute path of the file."""

    def configure(self, name: str) -> None:
        """Configure the log of this process; raises ConfigurationError for a file that cannot be used."""
        configure_logging(self.loglevel, name, self.log_format, self.log_config)


def logging_options(function: FunctionT) -> Callable[..., Any]:
    """Give a command the options about its log, which its function gets as one, `logs`."""

    @click.option(
        "-l",
        "--loglevel",
        type=click.Choice(LEVELS, case_sensitive=False),
        default="WARNING",
        show_default=True,
        help="The lowest level of log lines.",
    )
    @click.option(
        "--log-format",
        type=click.Choice([*LOG_FORMATS]),
        default="text",
        show_default=True,
        help="How log lines look.",
    )
    @click.option(
        "--log-config",
        type=click.Path(path_type=Path),
        metavar="FILE",
        help="Configure logging as FILE says (JSON or ini, of logging.config), and not otherwise.",
    )
    @wraps(function)
    def command(*args: Any, loglevel: str, log_format: str, log_config: Path | None, **kwargs: Any) -> Any:
        file = None if log_config is None else str(log_config.absolute())
        return function(*args, logs=LogOptions(loglevel, log_format, file), **kwargs)

    return command


def redirecting_options(function: FunctionT) -> Callable[..., Any]:
    """Give a command the options about what tasks print; its function gets a level or None, `redirect`."""

    @click.option(
        "--redirect-stdouts/--no-redirect-stdouts",
        "is_redirected",
        default=False,
        help="Send what tasks print, and write to standard error, to the log.",
    )
    @click.option(
        "--redirect-stdouts-level",
        "level",
        type=click.Choice(LEVELS, case_sensitive=False),
        help="The level of those log lines; default WARNING.",
    )
    @wraps(function)
    def command(*args: Any, is_redirected: bool, level: str | None, **kwargs: Any) -> Any:
        if level is not None and not is_redirected:
            raise click.UsageError("--redirect-stdouts-level goes with --redirect-stdouts")
        return function(*args, redirect=(level or "WARNING") if is_redirected else None, **kwargs)

    return command
