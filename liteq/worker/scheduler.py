"""Fires the ticks of a store's schedules: a thread of every supervisor, of which normally one is awake.

Whoever leads sleeps until the next tick, and is woken when a schedule changes. The others look once a second
whether the place has become free, and whether the leader leaves its work undone: what is overdue they fire
as well. That is safe, because a tick is fired by a transaction that only the first of them gets through.

Each look reads what is due, lets `liteq.firing` decide, and stores all that follows in one transaction.
"""

from __future__ import annotations

import logging
import random as random_module
from collections.abc import Iterable, Sequence
from contextlib import ExitStack, closing
from dataclasses import replace
from typing import NamedTuple

from liteq.clock import Clock, SystemClock
from liteq.errors import (
    ConfigurationError,
    LiteqError,
    ScheduleError,
    ScheduleNotLoadedError,
    StoreBusyError,
    StoreError,
    StoreFullError,
)
from liteq.failure import reason
from liteq.firing import COUNTED, GRACE, SET_BACK, Policy, decode_policy, plan, reconsider
from liteq.retry import Random
from liteq.schedule import Schedule, decode, encode
from liteq.timetable import Firing, ScheduleRecord
from liteq.transport import Listener, Transport
from liteq.worker.log import LOGGER
from liteq.worker.patience import TELL_EVERY, Patience
from liteq.worker.ticking import Code, NoCode, NotLoadedError, protection_for, tick_jobs

__all__ = ["Scheduler"]

LOOK_INTERVAL = 1.0
"""The most seconds between two looks."""
OVERDUE = 1.5
"""Seconds by which a tick is late when others no longer wait for the leader to fire it."""
BATCH = 100
"""The most schedules that one look fires."""
MOST_JOBS = 1000
"""The jobs after which a transaction is ended, so that no other writer waits for long."""
ASK_AGAIN, ASK_AT_LAST = 10.0, 300.0
"""Seconds after which a schedule whose code was not loaded is tried again, the first time and in the end."""


class _Due(NamedTuple):
    """A schedule that is due, read."""

    record: ScheduleRecord
    schedule: Schedule
    policy: Policy


class _Blocked(NamedTuple):
    """A schedule that is left to others, because its code is not loaded here."""

    revision: int
    until: float
    """On the monotonic clock."""


class Scheduler:
    """Fires the schedules of one store.

    Args:
        transport: the store.
        clock: tells the time.
        random: a source of floats in [0, 1).
        code: what the program's own code has to say about them.
    """

    def __init__(
        self,
        transport: Transport,
        clock: Clock | None = None,
        random: Random = random_module.random,
        *,
        code: Code | None = None,
    ) -> None:
        self._transport = transport
        self._clock: Clock = SystemClock() if clock is None else clock
        self._random = random
        self._code: Code = NoCode() if code is None else code
        self._leading = ExitStack()
        self._is_leader = False
        self._offset: float | None = None
        self._is_unsure = True
        self._blocked: dict[str, _Blocked] = {}
        self._waits: dict[str, float] = {}
        self._told: set[str] = set()
        self._was_in_vain = False
        self._patience = Patience(self._clock)
        self._complained: float | None = None
        self._stopping = False
        self._listener: Listener | None = None

    # ---- the thread --------------------------------------------------------------------------------

    def run(self) -> None:
        """Fire what is due until stopped; waits out a full disk and a busy store.

        Raises:
            StoreError: the store cannot serve any more. Calling it again tries again.
        """
        try:
            with closing(self._transport.listen_for_schedules()) as listener:
                self._listener = listener
                while not self._stopping:
                    listener.arm()
                    pause = self._try_to_look()
                    if pause > 0 and not self._stopping:
                        listener.wait(pause)
        finally:
            self._listener = None
            self.close()

    def stop(self) -> None:
        """Let `run` return, now or as soon as it is called; callable from any thread."""
        self._stopping = True
        listener = self._listener
        if listener is not None:
            listener.ring()

    def close(self) -> None:
        """Let somebody else lead; idempotent."""
        self._leading.close()
        self._is_leader = False
        self._is_unsure = True

    def _try_to_look(self) -> float:
        try:
            pause = self.look()
        except (StoreFullError, StoreBusyError) as error:
            self._patience.tell(error)
            return LOOK_INTERVAL
        except StoreError:
            raise
        except Exception:
            # Nobody joins this thread while the program runs: it must neither end nor be silent.
            now = self._clock.monotonic()
            if self._complained is None or now - self._complained >= TELL_EVERY:
                self._complained = now
                LOGGER.exception("The scheduler could not do its work, and tries again.")
            return LOOK_INTERVAL
        self._patience.is_over()
        return pause

    # ---- one look ----------------------------------------------------------------------------------

    @property
    def is_leader(self) -> bool:
        """Whether it is the one that is normally awake."""
        return self._is_leader

    def look(self) -> float:
        """Fire what is due; return the seconds until the next look, 0.0 if there is more to do at once.

        Raises:
            StoreError: the store could not serve.
        """
        now = self._clock.wall()
        self._notice_clock(now)
        self._try_to_lead()
        horizon = now if self._is_leader else now - OVERDUE
        next_run = self._transport.next_tick()
        due: list[ScheduleRecord] = []
        if next_run is not None and next_run <= horizon:
            due = self._unblocked(horizon)
        if due:
            # Somebody else was faster, and the next look sees it; but nobody may spin on that.
            in_vain = not self._fire(due, now)
            self._was_in_vain, was_before = in_vain, self._was_in_vain
            return LOOK_INTERVAL if in_vain and was_before else 0.0
        if self._is_unsure:
            self._is_unsure = False
            return 0.0 if self._reconsider_all() else self._pause(next_run, now)
        return self._pause(next_run, now)

    def _notice_clock(self, now: float) -> None:
        """Note whether the wall clock was set back since the last look."""
        offset = now - self._clock.monotonic()
        if self._offset is not None and offset < self._offset - SET_BACK:
            LOGGER.info("The clock was set back by %.0f s.", self._offset - offset)
            self._is_unsure = True
        self._offset = offset

    def _try_to_lead(self) -> None:
        if self._is_leader:
            if self._transport.keeps("scheduler"):
                return
            self.close()
        self._is_leader = self._leading.enter_context(self._transport.lead("scheduler"))
        if self._is_leader:
            # What the clock did before, nobody may have noticed.
            self._is_unsure = True
        else:
            self._leading.close()

    def _pause(self, next_run: float | None, now: float) -> float:
        if not self._is_leader or next_run is None:
            return LOOK_INTERVAL
        if next_run <= now:
            # Left to others, and in front of those that are not.
            coming = self._unblocked(now + LOOK_INTERVAL)
            next_run = coming[0].next_run if coming else None
            if next_run is None:
                return LOOK_INTERVAL
        return min(LOOK_INTERVAL, max(0.0, next_run - self._clock.wall()))

    def _unblocked(self, horizon: float) -> list[ScheduleRecord]:
        """Read what is due by then, without what is left to others."""
        limit = BATCH + len(self._blocked)
        found = self._transport.due_schedules(horizon, limit)
        if self._blocked:
            now = self._clock.monotonic()
            known = {record.name: record.revision for record in found}
            self._blocked = {
                name: blocked
                for name, blocked in self._blocked.items()
                if blocked.until > now and known.get(name, blocked.revision) == blocked.revision
            }
        return [record for record in found if record.name not in self._blocked][:BATCH]

    # ---- firing ------------------------------------------------------------------------------------

    def _fire(self, records: Sequence[ScheduleRecord], now: float) -> bool:
        """Fire schedules that are due; tell whether anything came of it."""
        left_before = len(self._blocked)
        broken: list[ScheduleRecord] = []
        read = [due for record in records if (due := self._read(record, broken)) is not None]
        unfinished = self._unfinished(read)
        firings = []
        for due in read:
            try:
                firings.append(self._decide(due, due.record.last_job in unfinished, now))
            except NotLoadedError as error:
                self._leave_alone(due.record, str(error))
            except BaseException as error:
                broken.append(self._broken(due.record, error))
        done = self._transport.save_schedules(broken) if broken else []
        for part in _parts(firings):
            fired = self._transport.fire(part, now)
            done += fired
            self._tell(part, fired)
        return any(done) or len(self._blocked) > left_before

    def _read(self, record: ScheduleRecord, broken: list[ScheduleRecord]) -> _Due | None:
        try:
            return _Due(record, self._schedule_of(record), decode_policy(record.policy))
        except NotLoadedError as error:
            self._leave_alone(record, str(error))
        except BaseException as error:
            broken.append(self._broken(record, error))
        return None

    def _schedule_of(self, record: ScheduleRecord) -> Schedule:
        try:
            return decode(record.spec)
        except ScheduleNotLoadedError as error:
            schedule = self._code.schedule(record)
            if schedule is None:
                raise NotLoadedError(str(error)) from None
            return schedule
        except ScheduleError:
            raise
        except ConfigurationError as error:
            # This machine, or this environment, lacks a time zone or a library that others may have.
            raise NotLoadedError(str(error)) from None

    def _unfinished(self, read: Iterable[_Due]) -> set[str | None]:
        """Return which of the jobs that were enqueued last are waiting or running, where that matters."""
        asked = [
            due.record.last_job
            for due in read
            if due.policy.overlap != "allow" and due.record.last_job is not None
        ]
        return {job.id for job in self._transport.get(asked) if job and not job.finished} if asked else set()

    def _decide(self, due: _Due, unfinished: bool, now: float) -> Firing:
        record, policy = due.record, due.policy
        assert record.next_run is not None
        protection = protection_for(record, self._code)
        planned = plan(
            *(due.schedule, policy, record.next_run, record.last_run, record.runs, now, unfinished),
            created=record.created,
        )
        jobs = tick_jobs(record, policy, planned.ticks, now, self._random, protection)
        if planned.dropped:
            # Where jobs must not overlap, this may happen at every tick; after downtime it is news.
            is_news = policy.overlap == "allow" or record.next_run < now - GRACE
            LOGGER.log(
                logging.INFO if is_news else logging.DEBUG,
                "Schedule %s: %s left out, as its policy says.",
                *(record.name, _left_out(planned.dropped, not planned.ticks)),
            )
        moved = replace(record, next_run=planned.next_run, runs=record.runs + len(jobs))
        if not jobs:
            return Firing(moved)
        moved = replace(moved, last_run=planned.ticks[-1], last_job=jobs[-1].id)
        gives_way = policy.overlap == "replace" and unfinished and record.last_job is not None
        return Firing(moved, jobs, (record.last_job or "",) if gives_way else ())

    def _leave_alone(self, record: ScheduleRecord, why: str) -> None:
        wait = self._waits.get(record.name, ASK_AGAIN)
        self._waits[record.name] = min(2 * wait, ASK_AT_LAST)
        self._blocked[record.name] = _Blocked(record.revision, self._clock.monotonic() + wait)
        if record.name not in self._told:
            self._told.add(record.name)
            LOGGER.warning("Schedule %s is left to others: %s.", record.name, why)

    def _broken(self, record: ScheduleRecord, error: BaseException) -> ScheduleRecord:
        # Of the user's own code anything may come, also what cannot be printed.
        why = str(error) if isinstance(error, LiteqError) else reason(error)
        LOGGER.error("Schedule %s is broken and fires no more: %s", record.name, why)
        return replace(record, broken=why)

    def _tell(self, firings: Sequence[Firing], fired: Sequence[bool]) -> None:
        for firing, counts in zip(firings, fired, strict=True):
            for job in firing.jobs if counts else ():
                LOGGER.info("Schedule %s: %s[%s] is enqueued.", firing.schedule.name, job.task, job.id)

    # ---- after the clock was set back --------------------------------------------------------------

    def _reconsider_all(self) -> bool:
        """Look at every next tick that lies ahead; tell whether any was changed."""
        changed = []
        records = self._transport.schedules()
        # Not before: a tick that somebody fires meanwhile is no sign of a clock that was set back.
        now = self._clock.wall()
        for record in records:
            if record.paused or record.broken is not None or record.next_run is None:
                continue
            try:
                moved = self._reconsider(record, now)
            except BaseException as error:
                # It is told, and stored, when it is due.
                LOGGER.debug("Schedule %s cannot be looked at: %s", record.name, reason(error))
                continue
            if moved is not None:
                changed.append(moved)
        return bool(changed) and any(self._transport.save_schedules(changed))

    def _reconsider(self, record: ScheduleRecord, now: float) -> ScheduleRecord | None:
        """Return a schedule as it is to be stored if its next tick does not hold any more."""
        assert record.next_run is not None
        schedule, policy = self._schedule_of(record), decode_policy(record.policy)
        planned = reconsider(schedule, policy, record.next_run, record.last_run, now, record.created)
        if planned.next_run == record.next_run:
            return None
        moved = replace(record, next_run=planned.next_run)
        if planned.schedule == schedule:
            return moved
        spec, job, protection = encode(planned.schedule), record.job, protection_for(record, self._code)
        if job is not None:
            job = protection.sign_template(job, record.name, spec, record.policy)
        return replace(moved, spec=spec, job=job)


def _left_out(count: int, with_latest: bool) -> str:
    """Return which ticks are left out, up to the verb."""
    if count == 1:
        return "the latest tick is" if with_latest else "1 tick is"
    ticks = f"{count} ticks" if count <= COUNTED else f"more than {COUNTED} ticks"
    return f"{ticks}, the latest among them, are" if with_latest else f"{ticks} are"


def _parts(firings: Iterable[Firing]) -> Iterable[list[Firing]]:
    """Divide firings among transactions."""
    part: list[Firing] = []
    jobs = 0
    for firing in firings:
        if part and jobs + len(firing.jobs) > MOST_JOBS:
            yield part
            part, jobs = [], 0
        part.append(firing)
        jobs += len(firing.jobs)
    if part:
        yield part
