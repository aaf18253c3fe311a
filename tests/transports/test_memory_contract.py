from __future__ import annotations

import threading
from collections.abc import Iterator

import pytest

from liteq.errors import NotSupportedError, StoreUnavailableError, WorkerError
from liteq.job import ClaimRequest, NewJob
from liteq.testing.contract import TransportContract
from liteq.transport import Transport
from liteq.transports.memory import MemoryTransport

NOW = 1_700_000_000.0


class TestMemoryTransport(TransportContract):
    @pytest.fixture
    def transport(self) -> Iterator[Transport]:
        with MemoryTransport() as transport:
            yield transport


def test_each_memory_transport_is_a_store_of_its_own() -> None:
    first, second = MemoryTransport(), MemoryTransport()
    first.enqueue([NewJob("a", "add", b"")], NOW)

    assert second.get(["a"]) == [None]


def test_a_closed_memory_transport_accepts_nothing() -> None:
    transport = MemoryTransport()
    transport.close()

    with pytest.raises(StoreUnavailableError, match="memory:// was closed"):
        transport.enqueue([NewJob("a", "add", b"")], NOW)


def test_closing_wakes_those_who_sleep() -> None:
    transport = MemoryTransport()
    listener = transport.listen_for_jobs()
    listener.arm()
    closer = threading.Thread(target=transport.close)
    closer.start()

    assert listener.wait(10.0) is True
    closer.join()


def test_a_listener_sleeps_on_for_jobs_of_other_queues_and_later_times() -> None:
    transport = MemoryTransport()
    listener = transport.listen_for_jobs(["x"])
    listener.arm()
    transport.enqueue(
        [NewJob("a", "add", b"", queue="y"), NewJob("b", "add", b"", queue="x", eta=NOW + 2)], NOW
    )

    assert listener.wait(0.0) is False


def test_a_listener_sleeps_on_for_other_results() -> None:
    transport = MemoryTransport()
    transport.enqueue([NewJob("a", "add", b"")], NOW)
    listener = transport.listen_for_result("b")
    listener.arm()
    transport.purge(None, NOW)

    assert listener.wait(0.0) is False


def test_what_is_finished_does_not_slow_a_claim() -> None:
    transport = MemoryTransport()
    transport.enqueue([NewJob(str(number), "add", b"") for number in range(1000)], NOW)
    transport.purge(None, NOW)

    assert list(transport._stations.ready) == []
    assert transport.next_due(ClaimRequest({"add": 1})) is None


def test_a_caller_cannot_join_a_transaction_of_a_memory_store() -> None:
    with pytest.raises(NotSupportedError, match="memory://"):
        MemoryTransport().transaction()


def test_a_worker_that_is_not_registered_has_no_slot() -> None:
    with pytest.raises(WorkerError, match="Worker 7 is not registered"):
        MemoryTransport().slot(7)
