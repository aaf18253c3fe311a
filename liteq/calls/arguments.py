"""Whether a call's arguments fit a task's signature, found out before anything is stored."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from liteq.errors import ConfigurationError, NotSupportedError, SignatureError

__all__ = ["ArgumentCheck", "check_function"]

_POSITIONAL = (inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD)


def check_function(function: object) -> None:
    """Raise unless an object can be a task.

    Raises:
        NotSupportedError: a generator function.
        ConfigurationError: not a function at all.
    """
    if not callable(function) or isinstance(function, type):
        raise ConfigurationError(f"@q.task takes a function, not {function!r}.")
    name = getattr(function, "__qualname__", repr(function))
    if inspect.isasyncgenfunction(function) or inspect.isgeneratorfunction(function):
        raise NotSupportedError(
            f"{name} is a generator function, and what it yields could not be stored; return a list instead."
        )


class ArgumentCheck:
    """Checks the arguments of calls against one signature.

    Args:
        function: what is called.
        task: the task's name, for messages.
        bound: the first parameter is filled by the worker (`bind=True`).

    Attributes:
        names: the names of the positional parameters, in order.

    Raises:
        ConfigurationError: `bound`, and the function takes no positional argument.
    """

    __slots__ = ("_least", "_most", "_signature", "_task", "names")

    names: tuple[str, ...]

    def __init__(self, function: Callable[..., Any], task: str, bound: bool) -> None:
        self._task = task
        self._signature = _signature(function, task, bound)
        self._least, self._most, self.names = 0, -1, ()
        if self._signature is not None:
            self._prepare(self._signature)

    def _prepare(self, signature: inspect.Signature) -> None:
        """Find how many plain positional arguments fit, so that most calls are checked by counting."""
        parameters = signature.parameters.values()
        positional = [each for each in parameters if each.kind in _POSITIONAL]
        self.names = tuple(each.name for each in positional)
        needs_keywords = any(
            each.kind is inspect.Parameter.KEYWORD_ONLY and each.default is each.empty for each in parameters
        )
        if needs_keywords:
            return
        self._least = sum(each.default is each.empty for each in positional)
        takes_more = any(each.kind is inspect.Parameter.VAR_POSITIONAL for each in parameters)
        self._most = 2**31 if takes_more else len(positional)

    def check(self, args: Sequence[Any], kwargs: Mapping[str, Any]) -> None:
        """Raise SignatureError if a call with these arguments would not reach the function's body."""
        if not kwargs and self._least <= len(args) <= self._most:
            return
        if self._signature is None:
            return
        try:
            self._signature.bind(*args, **kwargs)
        except TypeError as error:
            shown = str(self._signature)
            raise SignatureError(
                f"The arguments do not fit task {self._task}{shown}: {error}. Nothing was stored."
            ) from None


def _signature(function: Callable[..., Any], task: str, bound: bool) -> inspect.Signature | None:
    """Return the signature that callers see; None where Python knows none (some C functions)."""
    try:
        signature = inspect.signature(function)
    except (TypeError, ValueError):
        return None
    if not bound:
        return signature
    parameters = list(signature.parameters.values())
    if parameters and parameters[0].kind in _POSITIONAL:
        return signature.replace(parameters=parameters[1:])
    if parameters and parameters[0].kind is inspect.Parameter.VAR_POSITIONAL:
        return signature
    raise ConfigurationError(
        f"Task {task} is declared with bind=True, but its function takes no positional argument for it."
    )
