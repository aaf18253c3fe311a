"""What is stored of a job: two texts, of which the scripts know one.

The *record* is what changes: a list in MessagePack, which the scripts read and write (`moves.lua` names its
places). The *body* is what never does, and is opaque to them, so that a payload is copied twice in its life
and not each time that its job moves. What is None here is `false` there, because a list of Lua ends at nil.
"""

from __future__ import annotations

import struct
from collections.abc import Sequence
from functools import lru_cache
from typing import Any

from msgpack import Packer, packb, unpackb

from liteq.job import DEFAULT_RESULT_EXPIRES, Claim, Job, LaneCount, NewJob, TaskOrigin
from liteq.states import PENDING

__all__ = [
    "DAMAGED",
    "LATEST",
    "STATIONS",
    "as_claim",
    "as_count",
    "as_job",
    "as_origin",
    "body_of",
    "lane_of",
    "moment_of",
    "pack",
    "record_of",
    "text",
    "unpack",
]

DAMAGED = "(damaged)"
"""What readers see in the place of a name that is none."""
LATEST = 253402300800.0
"""Seconds since the epoch; the first moment that no `datetime` can say."""
READY, DELAYED, LEASED, FINISHED = range(4)
STATIONS = ("ready", "delayed", "leased", "finished")
_PENDING = str(PENDING)
_FIELDS = 19
_BODY_FIELDS = 6
_NO_BODY = (b"", b"msgpack", None, 3, None, 0.0)
_PLAIN = (
    b"\xdc\x00\x13\xd9%c%b\xda%c%c%b%c\xa7PENDING\x00\xcb%b"
    + packb((False, 0, 0, 0, False, DEFAULT_RESULT_EXPIRES, 0, *(False,) * 6))[1:]
)
"""The record of a new job with the usual options, but for its id, lane, station and due."""
_DOUBLE = struct.Struct(">d").pack
_SOUND = {int, float, bool, bytes}
"""The types of what a record holds."""


def pack(value: object) -> bytes:
    """Pack what a script is told."""
    # One for each, as several threads pack at once. The scripts know of one type for texts and bytes only.
    return Packer(buf_size=512, unicode_errors="surrogatepass", use_bin_type=False).pack(value)  # type: ignore[no-any-return]


def unpack(packed: bytes) -> Any:
    """Unpack what a script says; its texts are bytes.

    Raises:
        ValueError: it is nothing that was packed.
    """
    return unpackb(packed, raw=True, strict_map_key=False, use_list=True)


def text(written: object) -> str:
    """Return a text as it was written, or as far as it can be read."""
    if not isinstance(written, bytes):
        return DAMAGED
    try:
        return written.decode("utf-8")
    except UnicodeDecodeError:
        return written.decode("utf-8", "backslashreplace")


@lru_cache(maxsize=4096)
def lane_of(queue: str, task: str) -> bytes:
    """Return what a queue and a task are called together: no two pairs of them have the same name."""
    # The task first, so that the lanes of one task lie together; see `lanes.lua`.
    name = task.encode("utf-8", "surrogatepass")
    return b"%d:%b%b" % (len(name), name, queue.encode("utf-8", "surrogatepass"))


@lru_cache(maxsize=4096)
def _parts(lane: bytes) -> tuple[str, str]:
    """Return the queue and the task of a lane."""
    length, colon, names = lane.partition(b":")
    if not colon or not length.isdigit() or int(length) > len(names):
        return DAMAGED, DAMAGED
    return text(names[int(length) :]), text(names[: int(length)])


def record_of(job: NewJob, lane: bytes, due: float, now: float) -> bytes:
    """Return the record of a new job."""
    if not (job.priority or job.ignore_result) and job.expires is None and job.result_expires is None:
        # Most jobs; what is packed at once for all of them need not be packed for each.
        name = job.id.encode("utf-8", "surrogatepass")
        if len(name) < 256 and len(lane) < 65536:
            plain: bytes = _PLAIN % (
                len(name),
                name,
                len(lane) >> 8,
                len(lane) & 255,
                lane,
                due > now,
                _DOUBLE(due),
            )
            return plain
    keep = DEFAULT_RESULT_EXPIRES if job.result_expires is None else job.result_expires
    expires = False if job.expires is None else job.expires
    station = READY if due <= now else DELAYED
    return pack(
        (
            *(job.id, lane, station, _PENDING, job.priority, due, expires, 0, 0, 0, job.ignore_result, keep),
            *(0, False, False, False, False, False, False),
        )
    )


def body_of(job: NewJob, now: float) -> bytes:
    """Return the body of a new job."""
    return pack((job.payload, job.codec, job.eta, job.max_crashes, job.options, now))


def as_claim(seq: int, record: bytes, body: bytes) -> Claim:
    """Return what a worker is told about a job that it has claimed."""
    told, rest = _record(record), _body(body)
    queue, task = _parts(told[1])
    return Claim(
        seq,
        told[12],
        text(told[0]),
        task,
        queue,
        rest[0],
        text(rest[1]),
        told[4],
        float(told[5]),
        moment_of(rest[2]),
        moment_of(told[6]),
        told[7],
        told[8],
        told[9],
        rest[3],
        told[10] is True,
        _bytes(rest[4]),
    )


def as_job(seq: int, record: bytes, body: bytes) -> Job:
    """Return what a reader is told about a job, as far as its record makes sense."""
    told, rest = _record(record), _body(body)
    queue, task = _parts(told[1])
    reason = told[18]
    return Job(
        seq=seq,
        id=text(told[0]),
        task=task,
        queue=queue,
        state=text(told[3]),
        finished=told[2] == FINISHED,
        priority=told[4],
        enqueued=moment_of(rest[5]) or 0.0,
        due=float(told[5]),
        eta=moment_of(rest[2]),
        expires=moment_of(told[6]),
        started=moment_of(told[14]),
        done=moment_of(told[15]),
        attempts=told[7],
        retries=told[8],
        crashes=told[9],
        max_crashes=rest[3],
        ignore_result=told[10] is True,
        holder=told[13] if type(told[13]) is int else None,
        codec=text(rest[1]),
        payload=rest[0],
        options=_bytes(rest[4]),
        result=_bytes(told[17]),
        reason=text(reason) if isinstance(reason, bytes) else None,
    )


def as_count(kind: bytes, number: bytes) -> LaneCount:
    """Return a count of jobs of one kind: its station, the length of the state, the state and the lane."""
    length, _, rest = kind[1:].partition(b":")
    size = int(length) if length.isdigit() else 0
    queue, task = _parts(rest[size:])
    station = dict(zip(b"0123", STATIONS, strict=True)).get(kind[0] if kind else 0, DAMAGED)
    jobs = int(number) if number.isdigit() else 0
    return LaneCount(queue, task, text(rest[:size]), station, jobs)


def as_origin(packed: bytes) -> TaskOrigin | None:
    """Return where a task lives; None for what does not say so in words."""
    try:
        return TaskOrigin(*(word.decode() for word in unpack(packed)))
    except (ValueError, TypeError, AttributeError):
        return None


def _record(packed: bytes) -> list[Any]:
    try:
        told = unpack(packed)
    except (ValueError, TypeError):
        told = None
    if (
        type(told) is list
        and len(told) == _FIELDS
        and type(told[1]) is bytes
        and _SOUND.issuperset(map(type, told[:14]))
    ):
        numbers = (told[2], told[4], told[7], told[8], told[9], told[12])
        if all(type(number) is int for number in numbers) and type(told[5]) in (int, float):
            return told
    return [None, b"", FINISHED, None, 0, 0.0, False, 0, 0, 0, False, 0, 0, *(False,) * 6]


def _body(packed: bytes) -> Sequence[Any]:
    try:
        rest = unpack(packed)
    except (ValueError, TypeError):
        return _NO_BODY
    if (
        type(rest) is not list
        or len(rest) != _BODY_FIELDS
        or type(rest[0]) is not bytes
        or type(rest[3]) is not int
    ):
        # What cannot be decoded is not run; the worker says so.
        return _NO_BODY
    return rest


def moment_of(value: object) -> float | None:
    """Return a stored time, or None for what is none."""
    return float(value) if type(value) is float or type(value) is int else None


def _bytes(value: object) -> bytes | None:
    return value if isinstance(value, bytes) else None
