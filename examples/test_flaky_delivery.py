"""Property-test how a task behaves when the service that it talks to fails, and its workers die.

`deliver` posts a parcel to a service over a line that drops requests before they arrive, and answers on their
way back. It is to deliver each parcel that it reports as delivered, and none twice, although liteq runs a job
again whose worker has died. The machine below makes calls, lets the line fail, crashes workers, and turns the
clock, in whatever order hypothesis thinks of::

    pip install "liteq-queue[test]"
    pytest test_flaky_delivery.py

Let the service forget what it has delivered, or take `autoretry_for` out of the task, and the machine shows
the shortest story in which that goes wrong.
"""

from __future__ import annotations

from typing import Any

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import invariant, rule

from liteq import Queue
from liteq.testing.task_machine import TaskCall, TaskMachine

q = Queue("deliveries.db")


class Service:
    """What is at the other end of the line, as far as a test can see it."""

    def __init__(self) -> None:
        self.requests_fail = 0
        self.answers_fail = 0
        self.receipts: dict[str, str] = {}
        self.delivered: list[str] = []

    def post(self, parcel: str) -> str:
        """Deliver a parcel unless that was done before, and return its receipt."""
        if self.requests_fail:
            self.requests_fail -= 1
            raise ConnectionError("the request did not arrive")
        if parcel not in self.receipts:
            self.delivered.append(parcel)
            self.receipts[parcel] = f"receipt for {parcel}"
        if self.answers_fail:
            self.answers_fail -= 1
            raise ConnectionError("the answer did not arrive")
        return self.receipts[parcel]


service = Service()


@q.task(autoretry_for=(ConnectionError,), max_retries=4, retry_backoff=30, retry_jitter=False)
def deliver(parcel: str) -> str:
    """Deliver a parcel and return the receipt."""
    if not parcel:
        raise ValueError("there is no address on it")
    return service.post(parcel)


class DeliveryMachine(TaskMachine):
    """Calls `deliver` while the line fails and workers die."""

    task = deliver
    arguments = st.tuples(st.text("abc", max_size=2))

    def begin(self) -> None:
        """Start each run with a service that has seen nothing."""
        service.__init__()  # type: ignore[misc]

    @rule(requests=st.integers(0, 6), answers=st.integers(0, 6))
    def line_fails(self, requests: int, answers: int) -> None:
        """Let the line drop so many of the next requests, and of the next answers."""
        service.requests_fail, service.answers_fail = requests, answers

    @invariant()
    def no_parcel_is_delivered_twice(self) -> None:
        """The same parcel may be called for more than once, and is brought once."""
        assert len(service.delivered) == len(set(service.delivered))

    def on_success(self, call: TaskCall, value: Any) -> None:
        """A success is one: the parcel is there."""
        assert call.args[0] in service.delivered
        assert value == f"receipt for {call.args[0]}"

    def on_failure(self, call: TaskCall, error: BaseException | None) -> None:
        """Only a parcel without an address fails at once; all others are tried five times, or crash three."""
        if isinstance(error, ValueError):
            assert call.args == ("",)
        else:
            assert call.retries == 4 or call.crashes == 3


TestDelivery = DeliveryMachine.TestCase
TestDelivery.settings = settings(max_examples=60, stateful_step_count=25, deadline=None)
