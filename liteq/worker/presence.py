"""A worker's place in the store's registry: taken, taken anew after an expulsion, and given up."""

from __future__ import annotations

from collections.abc import Callable

from liteq.errors import StoreError
from liteq.transport import RunningSlot, Transport
from liteq.worker.desk import Desk
from liteq.worker.log import LOGGER

__all__ = ["Presence"]


class Presence:
    """Registers a worker and opens its slot.

    Args:
        transport: the store.
        desk: holds the number under which the worker is registered.
        on_registered: called with that number, and again with a new one after an expulsion.
        places: how many jobs it runs at once, at most.

    Attributes:
        slot: where it publishes what it runs; None while it is not registered.
    """

    def __init__(
        self,
        transport: Transport,
        desk: Desk,
        on_registered: Callable[[int], None] | None = None,
        places: int = 1,
    ) -> None:
        self._transport = transport
        self._desk = desk
        self._on_registered = on_registered
        self._places = places
        self.slot: RunningSlot | None = None

    def ensure(self) -> None:
        """Register if that is not done, or if the worker was taken for dead meanwhile."""
        if self.slot is None:
            self._register()
        elif self._desk.suspect and self._desk.is_expelled():
            self._register_again()

    def _register(self) -> None:
        # Registered already if a full disk had no room for the slot then.
        holder = self._desk.register() if self._desk.holder is None else self._desk.holder
        self.slot = self._transport.slot(holder, self._places)
        if self._on_registered is not None:
            self._on_registered(holder)

    def _register_again(self) -> None:
        LOGGER.warning("This worker was taken for dead and its jobs were given to others; it starts anew.")
        self._desk.hand_back()
        self._desk.settle()
        self.close_slot()
        self._desk.holder = None
        self._register()

    def leave(self, is_there: bool = True) -> None:
        """Unregister; what was published is gone, so it must be in the store.

        Args:
            is_there: whether the store can be reached; where not, others find out that this worker is gone.
        """
        # Only here: after a failure, the slot tells the supervisor which job was the last one.
        self.close_slot()
        if self._desk.holder is None or not is_there:
            return
        try:
            self._transport.unregister(self._desk.holder)
        except StoreError as error:
            LOGGER.warning("%s The worker leaves without saying so.", error)

    def close_slot(self) -> None:
        """Publish nothing any more; idempotent."""
        if self.slot is not None:
            self.slot.close()
            self.slot = None

    def clear(self) -> None:
        """Publish that nothing runs."""
        if self.slot is not None:
            self.slot.clear()
