"""Signals: functions that are called when something happens."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple, TypeVar, overload

from liteq.errors import ConfigurationError

__all__ = ["Signal", "setup_logging"]

ReceiverT = TypeVar("ReceiverT", bound=Callable[..., Any])


class _Connection(NamedTuple):
    receiver: Callable[..., Any]
    sender: object
    uid: object

    def is_of(self, receiver: object, sender: object, uid: object) -> bool:
        """Tell whether it is the one that these describe."""
        same = self.uid == uid if uid is not None else self.uid is None and self.receiver == receiver
        return same and self.sender is sender


class Signal:
    """Calls the functions that are connected to it, in the order in which they were.

    Args:
        name: what it is called.
    """

    def __init__(self, name: str) -> None:
        self.name = name
        self._connections: list[_Connection] = []

    @overload
    def connect(
        self, receiver: ReceiverT, sender: object = None, weak: bool = False, dispatch_uid: object = None
    ) -> ReceiverT: ...

    @overload
    def connect(
        self, receiver: None = None, sender: object = None, weak: bool = False, dispatch_uid: object = None
    ) -> Callable[[ReceiverT], ReceiverT]: ...

    def connect(
        self,
        receiver: Callable[..., Any] | None = None,
        sender: object = None,
        weak: bool = False,
        dispatch_uid: object = None,
    ) -> Any:
        """Let a function be called; also a decorator, with or without arguments.

        Connecting the same function again changes nothing.

        Args:
            receiver: is called with `sender`, `signal` and what the signal says, all by name; so it takes
                `sender` and `**kwargs`.
            sender: call it only for this sender; None for all.
            weak: of no effect, and taken because Celery programs give it: a connected function is always
                kept.
            dispatch_uid: what makes it the same function, where it is a new one each time.

        Returns:
            The function.

        Raises:
            ConfigurationError: not a function.
        """
        if receiver is None:
            return lambda function: self.connect(function, sender, weak, dispatch_uid)
        if not callable(receiver):
            raise ConfigurationError(f"{self.name}.connect() takes a function, not {receiver!r}.")
        if not any(each.is_of(receiver, sender, dispatch_uid) for each in self._connections):
            self._connections.append(_Connection(receiver, sender, dispatch_uid))
        return receiver

    def disconnect(self, receiver: object = None, sender: object = None, dispatch_uid: object = None) -> bool:
        """Call a function no more; tell whether it was connected.

        Args:
            receiver: the function; it may be left out where `dispatch_uid` says which.
            sender: as it was connected.
            dispatch_uid: as it was connected.
        """
        kept = [each for each in self._connections if not each.is_of(receiver, sender, dispatch_uid)]
        found = len(kept) < len(self._connections)
        self._connections = kept
        return found

    def receivers(self, sender: object = None) -> list[Callable[..., Any]]:
        """Return the functions that a sender's signal calls."""
        return [each.receiver for each in self._connections if each.sender is None or each.sender is sender]

    def send(self, sender: object, **kwargs: Any) -> list[tuple[Callable[..., Any], Any]]:
        """Call the connected functions; what one of them raises, this raises.

        Returns:
            Each function with what it returned.
        """
        return [
            (receiver, receiver(signal=self, sender=sender, **kwargs)) for receiver in self.receivers(sender)
        ]

    def __repr__(self) -> str:
        return f"<Signal {self.name}>"


setup_logging = Signal("setup_logging")
"""Sent in each process of `liteq worker` and `liteq beat`, and in the worker processes of `start_workers`,
once the modules there are imported, if something is connected: then liteq configures no logging of its own.
Receivers get `loglevel` (an int), `worker` (its name) and, because Celery's do, `logfile=None`, `format=None`
and `colorize=False`.
"""
