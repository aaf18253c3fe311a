"""The contract of doorbells: a ring after `arm` is not lost.

A ring may come for nothing now and then, so no test demands silence at once.
"""
# ruff: noqa: D102  (the names of the tests are the promises)

from __future__ import annotations

import threading
from collections.abc import Callable
from functools import partial

import pytest

from liteq.states import RETRY
from liteq.testing.contract.base import (
    NOW,
    PATIENCE,
    Contract,
    claim_one,
    fail,
    new_job,
    read,
    register,
    retry,
    returned,
    succeed,
)
from liteq.transport import Listener, Transport

__all__ = ["WakingContract"]

MOMENT = 0.005


class WakingContract(Contract):
    """Listeners for jobs and for results."""

    def test_a_job_stored_after_arming_rings(self, transport: Transport) -> None:
        _rings(transport.listen_for_jobs(), lambda: transport.enqueue([new_job("a")], NOW))

    def test_a_job_stored_through_another_handle_rings(self, transport: Transport, second: Transport) -> None:
        _rings(transport.listen_for_jobs(), lambda: second.enqueue([new_job("a")], NOW))

    def test_a_listener_for_some_queues_hears_each_of_them(self, transport: Transport) -> None:
        for queue in ("x", "y"):
            listener = transport.listen_for_jobs(["x", "y"])
            _rings(listener, partial(transport.enqueue, [new_job(queue, queue=queue)], NOW))

    def test_without_a_ring_the_wait_runs_out(self, transport: Transport) -> None:
        for listener in (transport.listen_for_jobs(), transport.listen_for_result("a")):
            _falls_silent(listener)
            listener.close()

    def test_a_ring_counts_once(self, transport: Transport) -> None:
        listener = transport.listen_for_jobs()
        _rings(listener, lambda: transport.enqueue([new_job("a")], NOW), close=False)

        _falls_silent(listener)
        listener.close()

    def test_a_listener_can_be_used_again_and_again(self, transport: Transport) -> None:
        listener = transport.listen_for_jobs()
        for number in range(5):
            _rings(listener, partial(transport.enqueue, [new_job(str(number))], NOW), close=False)
        listener.close()

    def test_a_listener_can_be_woken_by_hand_from_another_thread(self, transport: Transport) -> None:
        for listener in (transport.listen_for_jobs(), transport.listen_for_result("a")):
            listener.arm()
            waker = threading.Thread(target=listener.ring)
            waker.start()
            assert listener.wait(PATIENCE) is True
            waker.join()
            listener.close()

    def test_closing_a_listener_twice_is_no_error(self, transport: Transport) -> None:
        for listener in (transport.listen_for_jobs(), transport.listen_for_result()):
            listener.arm()
            listener.close()
            listener.close()
        transport.enqueue([new_job("a")], NOW)

    def test_every_armed_listener_is_rung_for_a_result(self, transport: Transport) -> None:
        holder = register(transport)
        transport.enqueue([new_job("a")], NOW)
        claim = claim_one(transport, holder)
        listeners = [transport.listen_for_result("a") for _ in range(3)] + [transport.listen_for_result()]
        for listener in listeners:
            listener.arm()

        transport.settle(holder, [succeed(claim)], NOW)

        assert [listener.wait(PATIENCE) for listener in listeners] == [True] * 4
        for listener in listeners:
            listener.close()

    def test_a_job_that_is_due_within_a_second_rings(self, transport: Transport) -> None:
        _rings(transport.listen_for_jobs(), lambda: transport.enqueue([new_job("a", eta=NOW + 0.5)], NOW))

    def test_a_job_handed_back_rings(self, transport: Transport) -> None:
        holder = register(transport)
        transport.enqueue([new_job("a")], NOW)
        claim = claim_one(transport, holder)
        _rings(transport.listen_for_jobs(), lambda: transport.settle(holder, [returned(claim)], NOW))

    def test_a_retry_that_is_due_at_once_rings(self, transport: Transport) -> None:
        holder = register(transport)
        transport.enqueue([new_job("a")], NOW)
        settlement = retry(claim_one(transport, holder), delay=0)
        _rings(transport.listen_for_jobs(), lambda: transport.settle(holder, [settlement], NOW))
        assert read(transport, "a").state == RETRY

    def test_a_job_that_is_put_back_rings(self, transport: Transport) -> None:
        holder = register(transport)
        transport.enqueue([new_job("a")], NOW)
        transport.settle(holder, [fail(claim_one(transport, holder))], NOW)
        _rings(transport.listen_for_jobs(), lambda: transport.requeue(["a"], NOW))

    def test_a_failure_rings_for_its_result(self, transport: Transport) -> None:
        holder = register(transport)
        transport.enqueue([new_job("a")], NOW)
        settlement = fail(claim_one(transport, holder))
        _rings(transport.listen_for_result("a"), lambda: transport.settle(holder, [settlement], NOW))

    def test_a_success_that_leaves_no_record_rings_for_its_result(self, transport: Transport) -> None:
        holder = register(transport)
        transport.enqueue([new_job("a", ignore_result=True)], NOW)
        settlement = succeed(claim_one(transport, holder))
        _rings(transport.listen_for_result("a"), lambda: transport.settle(holder, [settlement], NOW))

    def test_a_revoked_job_rings_for_its_result(self, transport: Transport) -> None:
        transport.enqueue([new_job("a")], NOW)
        _rings(transport.listen_for_result("a"), lambda: transport.revoke(["a"], NOW, "not wanted"))

    def test_a_purged_job_rings_for_its_result(self, transport: Transport) -> None:
        transport.enqueue([new_job("a")], NOW)
        _rings(transport.listen_for_result("a"), lambda: transport.purge(None, NOW))

    def test_an_expired_job_rings_for_its_result(self, transport: Transport) -> None:
        transport.enqueue([new_job("a", expires=NOW + 1), new_job("b", expires=NOW + 2)], NOW)
        _rings(transport.listen_for_result("a"), lambda: transport.sweep(NOW + 1))
        holder = register(transport)
        _rings(transport.listen_for_result("b"), lambda: transport.turn(holder, NOW + 2))

    def test_of_two_listeners_that_attend_to_the_same_one_is_told_so(
        self, transport: Transport, second: Transport
    ) -> None:
        listeners = [transport.listen_for_jobs(), second.listen_for_jobs()]
        assert not any(listener.is_attended(7) for listener in listeners)
        for listener in listeners:
            listener.attend(7, PATIENCE)
        assert sorted(listener.is_attended(7) for listener in listeners) == [False, True]
        assert not any(listener.is_attended(8) for listener in listeners)
        for listener in listeners:
            listener.attend(7, 0)
        assert not any(listener.is_attended(7) for listener in listeners)
        for listener in listeners:
            listener.attend(7, PATIENCE)
        listeners.sort(key=lambda listener: listener.is_attended(7))
        listeners[0].close()
        assert not listeners[1].is_attended(7)
        listeners[1].close()

    def test_a_result_is_awaited_while_somebody_sleeps_for_one(
        self, transport: Transport, second: Transport
    ) -> None:
        jobs, result = transport.listen_for_jobs(), transport.listen_for_result("a")
        jobs.arm()
        assert not second.is_awaited()
        result.arm()
        assert transport.is_awaited()
        assert second.is_awaited()
        result.wait(0)
        assert not second.is_awaited()
        for listener in (jobs, result):
            listener.close()

    def test_a_result_through_another_handle_rings(self, transport: Transport, second: Transport) -> None:
        transport.enqueue([new_job("a")], NOW)
        claim = claim_one(second, register(second))
        _rings(transport.listen_for_result("a"), lambda: second.settle(0, [succeed(claim)], NOW))


def _falls_silent(listener: Listener) -> None:
    """Demand that a wait runs out; the first few may be ended by rings that come for nothing."""
    for _ in range(5):
        listener.arm()
        if not listener.wait(MOMENT):
            return
    pytest.fail("the listener was rung again and again while nothing happened")


def _rings(listener: Listener, act: Callable[[], object], close: bool = True) -> None:
    listener.arm()
    act()
    assert listener.wait(PATIENCE) is True, "the listener was armed, and was not rung"
    if close:
        listener.close()
