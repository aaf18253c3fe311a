"""The part of the port that concerns stores which may be out of reach for a while."""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext

__all__ = ["RemoteStore"]


class RemoteStore:
    """May be out of reach; what is said here does nothing where a store never is."""

    def hurry(self, seconds: float | None) -> None:
        """Wait for a store that cannot be reached for at most so many seconds, in calls under way too.

        None: for as long as the store's settings say. Callable from any thread, and from a signal handler.
        """

    def until(self, deadline: float | None) -> AbstractContextManager[None]:
        """Return a block in which this thread's calls do not wait for such a store beyond a moment.

        Args:
            deadline: on the monotonic clock; None for as long as they do elsewhere.
        """
        return nullcontext()
