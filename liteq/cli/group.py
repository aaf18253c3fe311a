"""Groups of commands that are imported when they are called, and errors as one line."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from importlib import import_module
from typing import Any

import click
from click.exceptions import Exit

from liteq.errors import LiteqError

__all__ = ["CANNOT", "INTERRUPTED", "NO", "CannotError", "LazyGroup", "ListingGroup"]

NO = 1
"""The exit status of a command that was asked something, and the answer is no."""
CANNOT = 2
"""The exit status of a command that could not do its work."""
INTERRUPTED = 130
"""The exit status after Ctrl-C, as shells have it."""


class CannotError(click.ClickException):
    """Ends the program with one line on standard error and exit status 2."""

    exit_code = CANNOT

    def show(self, file: Any = None) -> None:
        """Print the line."""
        click.echo(f"liteq: {self.message}", file=sys.stderr if file is None else file)


class LazyGroup(click.Group):
    """The top-level group: loads a command's module when it is called, and words all errors alike.

    Args:
        modules: the module of each command; the command has the name of its function in it.
    """

    def __init__(self, *args: Any, modules: Mapping[str, str], **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._modules = modules

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Return the names in the order of the guide."""
        return list(self._modules)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Import and return a command."""
        if cmd_name not in self._modules:
            return None
        command = getattr(import_module(self._modules[cmd_name]), cmd_name)
        assert isinstance(command, click.Command)
        return command

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """Find the command, and hand it the application that was named before or after it, as in Celery."""
        name, command, rest = super().resolve_command(ctx, args)
        app = ctx.params.get("app")
        if command is None:
            return name, command, rest
        if any("-A" in parameter.opts for parameter in command.params):
            return name, command, rest if app is None else ["-A", app, *rest]
        named, rest = _without_application(rest)
        apps = [*([] if app is None else [app]), *named]
        if not apps:
            return name, command, rest
        if len(apps) > 1:
            raise click.UsageError(f"{name} takes one application, not {' and '.join(apps)}", ctx)
        if isinstance(command, click.Group) or any(each.name == "target" for each in command.params):
            return name, command, [apps[0], *rest]
        raise click.UsageError(f"{name} takes no application; leave -A {apps[0]} out", ctx)

    def make_context(self, *args: Any, **kwargs: Any) -> click.Context:
        """Parse the words before the command."""
        try:
            return super().make_context(*args, **kwargs)
        except click.UsageError as error:
            raise _in_one_line(error) from error

    def invoke(self, ctx: click.Context) -> Any:
        """Run the command; what went wrong becomes a line on standard error."""
        try:
            return super().invoke(ctx)
        except click.UsageError as error:
            raise _in_one_line(error) from error
        except LiteqError as error:
            raise CannotError(" ".join(str(error).split())) from error
        except BrokenPipeError:
            # The reader has seen enough, as in `liteq jobs queue.db | head`: click ends quietly with 1.
            raise
        except (OSError, UnicodeError) as error:
            raise CannotError(" ".join(f"{type(error).__name__}: {error}".split())) from error
        except KeyboardInterrupt:
            raise Exit(INTERRUPTED) from None


class ListingGroup(click.Group):
    """Takes the subcommand before or after TARGET; without one it lists."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """Put the subcommand first."""
        if not args or args[0] not in (*self.commands, *ctx.help_option_names):
            if len(args) > 1 and args[1] in self.commands:
                args = [args[1], args[0], *args[2:]]
            else:
                args = ["list", *args]
        return super().parse_args(ctx, args)


def _without_application(words: list[str]) -> tuple[list[str], list[str]]:
    """Return the applications that `-A` names among the words of a command, and the other words."""
    apps: list[str] = []
    others: list[str] = []
    rest = iter(words)
    for word in rest:
        if word == "--":
            others += [word, *rest]
        elif word in ("-A", "--app"):
            apps += [each for each in (next(rest, None),) if each is not None]
        elif word.startswith(("-A", "--app=")):
            apps.append(word.removeprefix("--app=").removeprefix("-A").removeprefix("="))
        else:
            others.append(word)
    return apps, others


def _in_one_line(error: click.UsageError) -> CannotError:
    place = "liteq" if error.ctx is None else error.ctx.command_path
    sentence = " ".join(error.format_message().split()).rstrip(".")
    end = "" if sentence.endswith("?") else "."
    return CannotError(f"{sentence}{end} See {place} --help.")
