"""The process in which the cases run: `python -m chaos.fuzz.child ORDER`; see `chaos.fuzz`."""

from __future__ import annotations

import json
import mmap
import os
import struct
import sys
import time
import tracemalloc
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from random import Random
from typing import Any

from chaos.fuzz import faults
from chaos.fuzz.guard import Guard, canary
from chaos.fuzz.mutation import mutate
from chaos.fuzz.targets import Target, make_targets
from chaos.fuzz.values import Sample, make_samples

__all__ = ["Bytes", "main"]

SAMPLES = 300
MEMORY_LIMIT = 3 << 30
"""Bytes of addresses; what goes beyond this is an allocation without end."""
FREE = 10_000_000
PER_BYTE = 400
"""What decoding may take at its peak: so many bytes, and so many more for each byte of the data."""
SECONDS = 2.0
"""Of the processor; a case takes a hundred microseconds, and the data have at most 64 kB."""
MEASURED = 16
"""Memory is measured in one case of so many, and in all with much data: it takes several times as long."""
_UNKNOWN_ZONE = b'{"__liteq__":"datetime","v":"2024-01-01|0|key:No/Where"}'
MINIMISE_FOR = 3.0
"""Seconds in which a case is made smaller."""


class Bytes:
    """Runs cases on everything that decodes.

    Args:
        seed: what makes the same cases again.
        targets: the ways in.
    """

    def __init__(self, seed: int, targets: list[Target]) -> None:
        self.figures: Counter[str] = Counter()
        self._seed = seed
        self._targets = targets
        self._samples = make_samples(Random(f"{seed}/samples"), SAMPLES)
        self._fitting = {
            target.name: [
                sample
                for sample in self._samples
                if sample.kind in target.kinds and target.codec in (None, sample.codec)
            ]
            for target in targets
        }
        self._guard = Guard()
        canary.install()
        self._warm_up()

    def _warm_up(self) -> None:
        """Let everything be imported that decoding needs for valid bytes and for failures."""
        for target in self._targets:
            for sample in self._fitting[target.name]:
                for data in (sample.data, b"\xc1", _UNKNOWN_ZONE):
                    with suppress(Exception):
                        target.check(data, Random(0))
        canary.made.clear()

    def run(self, case: int) -> str | None:
        """Run one case; return what is wrong, if anything is."""
        random = Random(f"{self._seed}/{case}")
        target = random.choice(self._targets)
        sample: Sample = random.choice(self._fitting[target.name])
        data = mutate(random, sample.data, random.choice(self._samples).data)
        measured = case % MEASURED == 0 or len(data) > 2000
        began = time.monotonic()
        wrong = self._examine(target, data, measured)
        if wrong is None:
            return None
        slow = time.monotonic() - began > MINIMISE_FOR / 3
        least = data if slow else self._minimise(target, data, measured)
        shown = least.hex() if len(least) <= 400 else f"{least[:200].hex()}... ({len(least)} bytes)"
        return f"bytes case {case} (seed {self._seed}), {target.name}: {wrong}; with {shown}"

    def _examine(self, target: Target, data: bytes, measured: bool) -> str | None:
        """Let a target decode; return what is wrong."""
        modules = len(sys.modules)
        canary.made.clear()
        if measured:
            tracemalloc.start()
        began = time.thread_time()
        self._guard.watch(target.tells_tracebacks)
        try:
            decoded = target.check(data, Random(len(data)))
        except BaseException as error:
            self._guard.rest()
            return f"{type(error).__name__}: {error}"[:300]
        finally:
            self._guard.rest()
            took = time.thread_time() - began
            peak = 0
            if measured:
                peak = tracemalloc.get_traced_memory()[1]
                tracemalloc.stop()
        self.figures["decoded" if decoded else "refused"] += 1
        if self._guard.seen:
            return f"it did what decoding must not: {self._guard.seen[0]}"
        if canary.made:
            return f"it called what the data name: {canary.made[0]}"
        if len(sys.modules) != modules:
            return "it imported a module"
        if peak > FREE + PER_BYTE * len(data):
            return f"it took {peak:,} bytes of memory for {len(data):,}"
        if took > SECONDS:
            return f"it took {took:.1f} s for {len(data):,} bytes"
        return None

    def _minimise(self, target: Target, data: bytes, measured: bool) -> bytes:
        """Leave out what the problem does not need; one that is different will do as well."""
        size, end = len(data) // 2, time.monotonic() + MINIMISE_FOR
        while size and time.monotonic() < end:
            place = 0
            while place < len(data) and time.monotonic() < end:
                shorter = data[:place] + data[place + size :]
                if self._examine(target, shorter, measured) is None:
                    place += size
                else:
                    data = shorter
            size //= 2
        return data


def _limit_memory() -> None:
    if sys.platform == "win32":
        return
    import resource

    resource.setrlimit(resource.RLIMIT_AS, (MEMORY_LIMIT, MEMORY_LIMIT))


@contextmanager
def _progress(folder: str | None) -> Iterator[Callable[[int], None]]:
    """Yield what tells the parent which case runs, even if the process dies of it."""
    if folder is None:
        yield lambda case: None
        return
    with Path(folder, "case").open("r+b") as file, mmap.mmap(file.fileno(), 8) as current:

        def tell(case: int) -> None:
            current[:] = struct.pack("q", case)

        yield tell


def main(order: dict[str, Any]) -> None:
    """Run the cases of an order, and print what was found as lines of JSON."""
    _limit_memory()
    seed, first, count, folder = order["seed"], order["first"], order["count"], order.get("folder")
    faults.plant(order.get("fault"))
    run: Callable[[int], str | None]
    if order["kind"] == "bytes":
        cases = Bytes(seed, faults.targets(make_targets(), order.get("fault")))
        run, figures = cases.run, cases.figures
    else:
        from chaos.fuzz.rows import Rows

        rows = Rows(seed, Path(folder) if folder else Path.cwd())
        run, figures = rows.run, rows.figures
    found = 0
    with _progress(folder) as tell:
        for case in range(first, first + count):
            tell(case)
            wrong = run(case)
            figures["cases"] += 1
            if wrong is not None:
                found += 1
                print(json.dumps({"problems": [wrong]}), flush=True)
            if found >= order.get("most", 1):
                break
    print(json.dumps({"figures": figures}), flush=True)


if __name__ == "__main__":
    if os.environ.get("PYTHONHASHSEED") != "0":
        # The order of sets is a part of the samples.
        command = [sys.executable, "-m", "chaos.fuzz.child", *sys.argv[1:]]
        os.execve(sys.executable, command, {**os.environ, "PYTHONHASHSEED": "0"})
    main(json.loads(sys.argv[1]))
