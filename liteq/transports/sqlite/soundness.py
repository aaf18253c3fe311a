"""Rows that are not as liteq writes them: damaged, or made by somebody hostile.

A column of SQLite holds values of any type, and whoever can write the file can leave any in it. Strict tables
and CHECK constraints would not help: the same writer can drop them, and each write would pay for them.

A claim asks one question of each row, in SQL, for 0.15 µs. A row that fails it is *quarantined*: it ends
FAILURE, with what is wrong with it as its reason, and the others go on. Readers show such a row as far as it
can be shown, with `DAMAGED` or nothing where a value makes no sense.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Iterable, Sequence
from functools import partial
from typing import Any, NamedTuple

__all__ = [
    "DAMAGED",
    "LATEST",
    "SOUND_ID",
    "UNSOUND",
    "Columns",
    "end_strays",
    "has_strays",
    "quarantine",
    "quarantine_lane",
    "read_rows",
    "undecodable",
]

DAMAGED = "(damaged)"
"""What readers see in the place of a name that is none."""

LATEST = 253402300800
"""Seconds since the epoch; the first moment that no `datetime` can say. Text and blobs compare as greater."""
_EARLIEST = -62135596800
_TIME = f"{{0}} IS NULL OR {{0}} BETWEEN {_EARLIEST} AND {LATEST - 1}"
_COUNT = "{} < 2147483648"


class _Rule(NamedTuple):
    """What must hold for a row that is to run, and what is wrong with one for which it does not."""

    holds: str
    complaint: str


_RULES = (
    _Rule("typeof(id) = 'text'", "its id is no text"),
    _Rule("priority < 32768", "its priority is no integer below 32768"),
    _Rule(f"due < {LATEST}", "the time at which it became ready is none"),
    *(
        _Rule(_COUNT.format(count), f"its {count} is no count")
        for count in ("attempts", "retries", "crashes", "max_crashes")
    ),
    *(_Rule(_TIME.format(time), f"its {time} is no time") for time in ("eta", "expires")),
    _Rule(
        "payload IS NOT NULL OR EXISTS (SELECT 1 FROM liteq_bodies b WHERE b.seq = liteq_jobs.seq)",
        "its arguments are missing",
    ),
)
_SOUND = " AND ".join(f"({rule.holds})" for rule in _RULES)
SOUND_ID = f"CASE WHEN {_SOUND} THEN id END"
"""SQL for the id of a row of `liteq_jobs` that can be run, and NULL for any other."""
UNSOUND = (
    f"(stage IN (0, 1) AND ({_SOUND}) IS NOT 1) OR typeof(stage) <> 'integer' OR stage NOT IN (0, 1, 2, 3) "
    "OR (stage = 2 AND (typeof(holder) <> 'integer' OR typeof(token) <> 'integer'))"
)
"""SQL that holds for a row of `liteq_jobs` that is not finished and cannot be run."""

_EXPLAIN = f"SELECT {', '.join(f'({rule.holds}) IS 1' for rule in _RULES)} FROM liteq_jobs WHERE seq = ?"

_QUARANTINE = """
    UPDATE liteq_jobs SET stage = 3, state = 'FAILURE', holder = NULL, token = NULL, done = ?1, result = NULL,
        reason = ?2, discard = CASE WHEN result_expires = 0 THEN NULL
            WHEN result_expires BETWEEN 86400 AND 1e10 THEN ?1 + result_expires ELSE ?1 + 86400 END
    WHERE seq = ?3"""

# Not `lane IS NULL`: SQLite does not even look for that where the table once said that there are none. What
# is NULL comes first in an index. All of these end after the first rows of one, but for the leased jobs, of
# which there are few.
_NULLS_OF = (
    "SELECT seq FROM (SELECT seq, typeof({0}) AS kind FROM liteq_jobs WHERE stage = {1} ORDER BY {0} "
    "LIMIT ?1) WHERE kind = 'null'"
)
_STRAYS = (
    ("it belongs to no queue and no task", _NULLS_OF.format("lane", 0)),
    ("the time at which it is due is none", _NULLS_OF.format("due", 1)),
    (
        "the time at which it is due is none",
        f"SELECT seq FROM liteq_jobs WHERE stage = 1 AND due >= {LATEST} LIMIT ?1",
    ),
    (
        "its lease is nobody's",
        "SELECT seq FROM liteq_jobs WHERE stage = 2 "
        "AND (typeof(holder) <> 'integer' OR typeof(token) <> 'integer') LIMIT ?1",
    ),
)
_HAS_STRAYS = f"SELECT {' OR '.join(f'EXISTS ({found})' for _, found in _STRAYS)}"

_decode_leniently: Callable[[bytes], str] = partial(str, encoding="utf-8", errors="backslashreplace")


# ---- ending what cannot run ----------------------------------------------------------------------------


def quarantine(
    connection: sqlite3.Connection, seqs: Iterable[object], now: float, complaint: str | None = None
) -> None:
    """End rows as FAILURE, whoever holds them; inside a write transaction.

    Args:
        connection: the writing connection.
        seqs: which rows.
        now: UTC seconds since the epoch.
        complaint: what is wrong with them; by default, what the rules find.
    """
    for seq in seqs:
        wrong = _explain(connection, seq) if complaint is None else complaint
        reason = f"damaged: {wrong}; it was not run"
        connection.execute(_QUARANTINE, (now, reason, seq))


def quarantine_lane(connection: sqlite3.Connection, lane: object, now: float, limit: int = 1000) -> None:
    """End ready jobs of a lane that leads to no queue and no task, at most `limit` of them."""
    # A text that is not UTF-8 was not read as what it is; texts and blobs come behind all numbers.
    which, wanted = ("=", lane) if isinstance(lane, int | float) else (">=", "")
    found = connection.execute(
        f"SELECT seq FROM liteq_jobs WHERE stage = 0 AND lane {which} ? LIMIT ?", (wanted, limit)
    ).fetchall()
    quarantine(
        connection, [seq for (seq,) in found], now, "the queue and the task that it names are not there"
    )


def end_strays(connection: sqlite3.Connection, now: float, limit: int) -> int:
    """End unfinished jobs that no claim and no recovery would ever meet; return how many."""
    ended = 0
    for complaint, statement in _STRAYS:
        found = connection.execute(statement, (limit - ended,)).fetchall()
        quarantine(connection, [seq for (seq,) in found], now, complaint)
        ended += len(found)
    return ended


def has_strays(connection: sqlite3.Connection) -> bool:
    """Tell whether `end_strays` has something to do; reads only."""
    return bool(connection.execute(_HAS_STRAYS, (1,)).fetchone()[0])


def _explain(connection: sqlite3.Connection, seq: object) -> str:
    holds = connection.execute(_EXPLAIN, (seq,)).fetchone()
    broken = [rule.complaint for rule, kept in zip(_RULES, holds, strict=True) if not kept]
    return broken[0] if broken else "its id is not written in UTF-8"


# ---- reading what can be read --------------------------------------------------------------------------


def undecodable(error: sqlite3.OperationalError) -> bool:
    """Tell whether rows could not be fetched because one of their texts is not written in UTF-8."""
    # Python's own words: SQLite knows nothing of it, and gives the error no code.
    return "Could not decode to UTF-8" in str(error)


def read_rows(
    source: sqlite3.Connection | sqlite3.Cursor, statement: str, parameters: Sequence[object] = ()
) -> list[Any]:
    """Return all rows of a statement, with texts that are not UTF-8 written out as they can be.

    Only who has the connection to itself may call it.
    """
    try:
        return source.execute(statement, parameters).fetchall()
    except sqlite3.OperationalError as error:
        if not undecodable(error):
            raise
    connection = source if isinstance(source, sqlite3.Connection) else source.connection
    connection.text_factory = _decode_leniently
    try:
        return source.execute(statement, parameters).fetchall()
    finally:
        connection.text_factory = str


class Columns:
    """The types that each column of a row may have, and what stands for a value of any other.

    Args:
        columns: for each column its types, and its substitute.
    """

    def __init__(self, *columns: tuple[tuple[type, ...], object]) -> None:
        self._columns = columns
        self._sound: set[tuple[type, ...]] = set()
        """Combinations of types that were met and are right: one look-up for a row, and not one a column."""

    def are_sound(self, row: Sequence[object]) -> bool:
        """Tell whether every value of a row is of a type that its column may have."""
        types = tuple(map(type, row))
        if types in self._sound:
            return True
        sound = all(kind in allowed for kind, (allowed, _) in zip(types, self._columns, strict=True))
        if sound:
            self._sound.add(types)
        return sound

    def mend(self, row: Sequence[object]) -> Sequence[object]:
        """Return a row with its substitute for each value that makes no sense."""
        if self.are_sound(row):
            return row
        return tuple(
            value if type(value) in allowed else _written_out(value, substitute)
            for value, (allowed, substitute) in zip(row, self._columns, strict=True)
        )


def _written_out(value: object, substitute: object) -> object:
    """Return what a value of the wrong type says as text, where a text is wanted, else the substitute."""
    if substitute != DAMAGED or value is None:
        return substitute
    return f"{DAMAGED} {value!r:.100}"
