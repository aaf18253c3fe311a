"""Schedules on a file or a server and in memory, side by side: both give the same answers to everything."""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule, run_state_machine_as_test
from redis_server import RedisServer

from liteq.job import ClaimRequest, Job, JobFilter, NewJob, WorkerInfo
from liteq.timetable import Firing, ScheduleRecord
from liteq.transport import Transport
from liteq.transports.memory import MemoryTransport
from liteq.transports.redis.transport import RedisTransport
from liteq.transports.sqlite.transport import SqliteTransport

NOW = 1_700_000_000.0
NAMES = st.sampled_from(["a", "b", "c"])
MOMENTS = st.none() | st.integers(-3, 6).map(lambda seconds: NOW + seconds)
IDS = st.sampled_from(["j1", "j2", "j3", "j4"])


def told(job: Job) -> Job:
    """Return what does not depend on which transport it is."""
    return job._replace(seq=0, holder=None if job.holder is None else 0)


class TwoStores(RuleBasedStateMachine):
    """Does everything to both stores, with what each of them has shown before."""

    def __init__(self) -> None:
        super().__init__()
        self.folder = tempfile.TemporaryDirectory()
        self.stores: list[Transport] = [MemoryTransport(), self.open()]
        self.seen: dict[str, list[ScheduleRecord]] = {}
        self.now = NOW
        self.holders = [store.register(WorkerInfo("w", "h", 1, 1), 60.0, NOW) for store in self.stores]

    def open(self) -> Transport:
        return SqliteTransport(Path(self.folder.name, "queue.db"), durability="normal")

    def teardown(self) -> None:
        for store in self.stores:
            store.close()
        self.folder.cleanup()

    def both(self, act: Callable[[Transport], Any]) -> Any:
        memory, other = (act(store) for store in self.stores)
        assert other == memory
        return memory

    @rule(name=NAMES, moment=MOMENTS, paused=st.booleans(), broken=st.sampled_from([None, None, "why"]))
    def add(self, name: str, moment: float | None, paused: bool, broken: str | None) -> None:
        record = ScheduleRecord(
            name=name,
            task="add",
            spec="s",
            policy="p",
            job=NewJob("", "add", b""),
            next_run=moment,
            paused=paused,
            broken=broken,
        )
        self.both(lambda store: store.save_schedules([record]))

    @rule(name=NAMES)
    def look(self, name: str) -> None:
        self.seen[name] = self.both(lambda store: store.schedules([name])) or self.seen.get(name, [])

    @rule(name=NAMES, moment=MOMENTS, paused=st.booleans())
    def change_what_was_seen(self, name: str, moment: float | None, paused: bool) -> None:
        changed = [replace(record, next_run=moment, paused=paused) for record in self.seen.get(name, [])]
        self.both(lambda store: store.save_schedules(changed))

    @rule(names=st.lists(NAMES))
    def remove(self, names: list[str]) -> None:
        self.both(lambda store: store.remove_schedules(names))

    @rule(name=NAMES)
    def remove_what_was_seen(self, name: str) -> None:
        revisions = [record.revision for record in self.seen.get(name, [])]
        self.both(lambda store: store.remove_schedules([name] * len(revisions), revisions))

    @rule(limit=st.integers(1, 3))
    def ask_what_is_due(self, limit: int) -> None:
        self.both(lambda store: [record.next_run for record in store.due_schedules(self.now, limit)])

    @rule(names=st.lists(NAMES, max_size=3), moment=MOMENTS, ids=st.lists(IDS), revoked=st.lists(IDS))
    def fire_what_was_seen(
        self, names: list[str], moment: float | None, ids: list[str], revoked: list[str]
    ) -> None:
        jobs = tuple(NewJob(job_id, "add", b"", eta=moment) for job_id in ids)
        firings = [
            Firing(
                replace(record, next_run=moment, last_run=self.now, runs=record.runs + 1), jobs, (*revoked,)
            )
            for name in names
            for record in self.seen.get(name, [])
        ]
        self.both(lambda store: store.fire(firings, self.now))

    @rule(limit=st.integers(1, 2))
    def work(self, limit: int) -> None:
        request = ClaimRequest({"add": 1}, limit=limit)
        claims = [
            store.claim(holder, request, self.now)
            for store, holder in zip(self.stores, self.holders, strict=True)
        ]
        assert [claim.id for claim in claims[0]] == [claim.id for claim in claims[1]]

    @rule(seconds=st.integers(-2, 3))
    def let_time_pass(self, seconds: int) -> None:
        self.now += seconds

    @invariant()
    def both_say_the_same(self) -> None:
        self.both(lambda store: store.schedules())
        self.both(lambda store: store.next_tick())
        self.both(lambda store: {job.id: told(job) for job in store.find(JobFilter())})


TestSchedules = TwoStores.TestCase
TestSchedules.settings = settings(max_examples=100, stateful_step_count=25, deadline=None)


def test_schedules_on_a_server_are_those_in_memory(shared_redis: RedisServer) -> None:
    class MemoryAndServer(TwoStores):
        def open(self) -> Transport:
            name = Path(self.folder.name).name
            return RedisTransport(shared_redis.url(prefix=name), durability="normal")

    run_state_machine_as_test(
        MemoryAndServer, settings=settings(max_examples=100, stateful_step_count=25, deadline=None)
    )
