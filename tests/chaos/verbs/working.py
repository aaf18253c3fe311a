"""Verbs of workers and of those who recover their jobs."""

from __future__ import annotations

from collections.abc import Iterator

from chaos.verbs.base import (
    ANY,
    FAILED,
    LARGE,
    LATER,
    NOW,
    SUCCESS,
    TRIED_AGAIN,
    VISIBILITY,
    WORKER,
    Scene,
    verb,
)
from liteq.job import Claim, Transition
from liteq.lifecycle import Lost, Outcome, Returned, Succeeded, decide

__all__: list[str] = []


@verb
def register(scene: Scene) -> Iterator[None]:
    scene.open()
    yield
    holder = scene.transport.register(WORKER, VISIBILITY, LATER)
    yield
    slot = scene.transport.slot(holder)
    yield
    slot.begin(1, 1, None)
    slot.clear()
    slot.close()
    yield


@verb
def unregister(scene: Scene) -> Iterator[None]:
    scene.claim(1)
    yield
    scene.transport.unregister(scene.holder)
    yield


@verb
def claim(scene: Scene) -> Iterator[None]:
    holder = scene.open().register(WORKER, VISIBILITY, NOW)
    yield
    scene.transport.claim(holder, ANY, LATER)
    yield
    scene.transport.claim(holder, ANY._replace(queues=["slow"]), LATER)
    yield


def settles(scene: Scene, *outcomes: Outcome) -> Iterator[None]:
    claims = scene.claim(len(outcomes))
    ends = [decide(*pair, LATER, scene.random.random) for pair in zip(claims, outcomes, strict=True)]
    yield
    scene.transport.settle(scene.holder, ends, LATER)
    yield


@verb
def settle_a_success(scene: Scene) -> Iterator[None]:
    yield from settles(scene, SUCCESS)


@verb
def settle_a_large_success(scene: Scene) -> Iterator[None]:
    yield from settles(scene, Succeeded(b"the result" * LARGE))


@verb
def settle_a_failure(scene: Scene) -> Iterator[None]:
    yield from settles(scene, FAILED)


@verb
def settle_a_retry(scene: Scene) -> Iterator[None]:
    yield from settles(scene, TRIED_AGAIN)


@verb
def hand_back(scene: Scene) -> Iterator[None]:
    yield from settles(scene, Returned(), Returned())


@verb
def settle_many(scene: Scene) -> Iterator[None]:
    yield from settles(scene, SUCCESS, TRIED_AGAIN, FAILED, SUCCESS, Returned(), SUCCESS)


@verb
def settle_without_a_record(scene: Scene) -> Iterator[None]:
    ends = [end._replace(keep=False) for end in decided(scene, scene.claim())]
    yield
    scene.transport.settle(scene.holder, ends, LATER)
    yield


def decided(scene: Scene, claims: list[Claim]) -> list[Transition]:
    return [decide(claim, SUCCESS, LATER, scene.random.random) for claim in claims]


@verb
def settle_a_job_that_was_forgotten(scene: Scene) -> Iterator[None]:
    claims = scene.claim()
    yield
    scene.transport.forget(claims[0].id)
    yield
    scene.transport.settle(scene.holder, decided(scene, claims), LATER)
    yield


@verb
def settle_some_that_the_lease_refuses(scene: Scene) -> Iterator[None]:
    ends = decided(scene, scene.claim())
    ends[1] = ends[1]._replace(token=ends[1].token + 1)
    yield
    scene.transport.settle(scene.holder, ends, LATER)
    yield


@verb
def settle_and_claim_in_one_turn(scene: Scene) -> Iterator[None]:
    ends = decided(scene, scene.claim())
    yield
    if not scene.transport.turn(scene.holder, LATER, ends, ANY).claimed:
        # A disk with no room for the claim as well: a worker then settles, and claims in its next turn.
        scene.transport.turn(scene.holder, LATER, (), ANY)
    yield


@verb
def complete_in_a_transaction(scene: Scene) -> Iterator[None]:
    [held] = scene.claim(1)
    yield
    with scene.transport.completion(held.seq, held.token, lambda: decided(scene, [held])[0]) as connection:
        scene.execute(connection, "INSERT INTO orders (what) VALUES (?)", "a book")
        scene.transport.enqueue([scene.job("new")], LATER)
    yield


@verb
def update_the_state_and_renew(scene: Scene) -> Iterator[None]:
    claims = scene.claim()
    yield
    scene.transport.update_state(claims[0].seq, claims[0].token, "PROGRESS", b"half")
    yield
    scene.transport.renew([scene.holder], VISIBILITY, LATER)
    yield


@verb
def recover(scene: Scene) -> Iterator[None]:
    transport = scene.open()
    yield
    [dead] = [worker for worker in transport.workers() if worker.leases]
    yield
    transport.expel(dead.holder, dead.expires)
    yield
    lost = Lost(True, b"lost", "its worker is dead")
    ends = [decide(held, lost, LATER, scene.random.random) for held in transport.leases(dead.holder)]
    yield
    transport.settle(dead.holder, ends, LATER)
    yield
