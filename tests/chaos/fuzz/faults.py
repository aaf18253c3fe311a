"""Faults that the fuzzing must find, planted in a child process by its tests."""

from __future__ import annotations

import ctypes
import importlib
import pickle
import time
from collections.abc import Callable
from random import Random

from chaos.fuzz.targets import Target, encode_again
from liteq.codec import get_codec
from liteq.transports.sqlite import claiming, managing, reading, registry, soundness

__all__ = ["BYTES", "ROWS", "plant", "targets"]


def _trusts_a_length(data: bytes, random: Random) -> bool:
    """Makes room for as much as the data promise."""
    return len(bytearray(2 * int.from_bytes(data[1:4]))) > 0


def _imports(data: bytes, random: Random) -> bool:
    """Imports the module that the data name."""
    name = bytes(byte for byte in data if chr(byte).isalpha()).decode("ascii", "ignore")[:20]
    try:
        importlib.import_module(name or "nothing")
    except Exception:
        return False
    return True


def _unpickles(data: bytes, random: Random) -> bool:
    """Falls back to pickle."""
    made = pickle.dumps(data[:3]) if random.random() < 0.9 else b"ccanary\nBird\n(tR."
    pickle.loads(made)
    return True


def _looks_up(data: bytes, random: Random) -> bool:
    """Takes what the data name out of a module that is loaded."""
    if b"canary" in data:
        getattr(importlib.import_module("canary"), "anything", None)
    return True


def _lets_an_error_out(data: bytes, random: Random) -> bool:
    """Raises what is no DecodingError for some bytes."""
    return {0: 0}[data[-1] & 0x80 if data else 0] == 0


def _takes_its_time(data: bytes, random: Random) -> bool:
    """Takes far too long for large data."""
    began = time.thread_time()
    while len(data) > 2000 and time.thread_time() - began < 2.1:
        pass
    return True


def _keeps_what_it_cannot_write(data: bytes, random: Random) -> bool:
    """Decodes what cannot be encoded again."""
    encode_again(get_codec("msgpack"), object() if data[:1] == b"\x92" else None)
    return True


def _crashes(data: bytes, random: Random) -> bool:
    """Reads where there is nothing, as code in C may."""
    if len(data) % 17 == 5:
        ctypes.string_at(0)
    return True


def _hangs(data: bytes, random: Random) -> bool:
    """Never comes back."""
    while True:
        time.sleep(1.0)


def _is_sound(data: bytes, random: Random) -> bool:
    """Is as it should be: nothing is to be found."""
    return len(data) > 10


BYTES: dict[str, Callable[[bytes, Random], bool]] = {
    "a length is trusted": _trusts_a_length,
    "the module that data name is imported": _imports,
    "pickle is used": _unpickles,
    "a name is looked up in a loaded module": _looks_up,
    "another error gets out": _lets_an_error_out,
    "decoding takes too long": _takes_its_time,
    "what is decoded cannot be encoded": _keeps_what_it_cannot_write,
    "decoding crashes": _crashes,
}
"""Each is a codec that does one thing wrong."""


def targets(whole: list[Target], fault: str | None) -> list[Target]:
    """Return what is to be fuzzed: the faulty codec if there is one, else everything."""
    check = {**BYTES, "decoding hangs": _hangs, "none": _is_sound}.get(str(fault))
    if check is None:
        return whole
    return [Target(str(fault), ("value", "call", "options", "failure"), None, check)]


def _claims_everything() -> None:
    claiming.CLAIM = claiming.CLAIM.replace(claiming.SOUND_ID, "id")
    chosen = claiming.TAKE_FROM_LANE.rpartition("WHERE seq IN (")[2].partition(")\n    RETURNING")[0]
    claiming.TAKE_FROM_LANE = claiming.TAKE.format(claim=claiming.CLAIM, chosen=chosen)


def _believes_what_it_reads() -> None:
    reading._JOB.mend = lambda row: row  # type: ignore[method-assign]
    reading._CLAIM.mend = lambda row: row  # type: ignore[method-assign]


def _sweeps_no_strays() -> None:
    managing.has_strays = lambda connection: False
    soundness.end_strays = lambda connection, now, limit: 0


def _ends_sound_jobs_too() -> None:
    quarantine = claiming.quarantine

    def too_much(connection, seqs, now, complaint=None):  # type: ignore[no-untyped-def]
        quarantine(connection, seqs, now, complaint)
        connection.execute("UPDATE liteq_jobs SET stage = 3, state = 'FAILURE' WHERE stage = 0")

    claiming.quarantine = too_much


def _crashes_on_a_wrong_worker() -> None:
    registry._is_sound = lambda row: True
    registry._COLUMNS.are_sound = lambda row: True  # type: ignore[method-assign]
    registry._COLUMNS.mend = lambda row: row  # type: ignore[method-assign]


ROWS: dict[str, Callable[[], None]] = {
    "a claim takes what cannot run": _claims_everything,
    "readers believe what they read": _believes_what_it_reads,
    "nobody ends what no claim meets": _sweeps_no_strays,
    "a damaged row takes sound ones along": _ends_sound_jobs_too,
    "a worker's row is believed": _crashes_on_a_wrong_worker,
}
"""Each takes out one thing that keeps damaged rows from doing harm."""


def plant(fault: str | None) -> None:
    """Plant a fault of the rows, if it is one."""
    if fault in ROWS:
        ROWS[fault]()
