"""Every pool does what the table in the guide says of it, tried with real processes."""

from __future__ import annotations

import importlib.util
import os
import re
from collections.abc import Mapping
from pathlib import Path

import pytest
from pool_trials import POOLS, column
from programs import Program

GUIDE = Path(__file__).parents[2] / "docs" / "guides" / "pools.md"
TABLE = re.compile(r"(?<=<!-- table: pools -->\n).*?(?=\n\n)", re.DOTALL)
WRITE = "LITEQ_WRITE_TABLES"
"""Set in the environment, it lets these tests write the table instead of comparing it."""


def read_table() -> dict[str, dict[str, str]]:
    """Return the guide's table: by pool, then by row."""
    found = TABLE.search(GUIDE.read_text(encoding="utf-8"))
    assert found is not None, "the guide has no table"
    lines = [[cell.strip() for cell in line.strip("|").split("|")] for line in found[0].splitlines()]
    head, _, *rows = lines
    return {pool.strip("`"): {row[0]: row[place] for row in rows} for place, pool in enumerate(head) if place}


def write_column(pool: str, rows: Mapping[str, str]) -> None:
    table = {**{each: {} for each in POOLS}, **read_table(), pool: rows}
    lines = ["| | " + " | ".join(f"`{each}`" for each in POOLS) + " |", "| --- " * (len(POOLS) + 1) + "|"]
    lines += [f"| {row} | " + " | ".join(table[each].get(row, "?") for each in POOLS) + " |" for row in rows]
    text = GUIDE.read_text(encoding="utf-8")
    GUIDE.write_text(TABLE.sub("\n".join(lines), text), encoding="utf-8")


@pytest.mark.parametrize("pool", POOLS)
def test_a_pool_does_what_the_guide_says(program: Program, pool: str) -> None:
    if pool in ("gevent", "eventlet") and importlib.util.find_spec(pool) is None:
        pytest.skip(f"{pool} is not installed")
    found = column(program, pool)
    if os.environ.get(WRITE):
        write_column(pool, found)
    assert found == read_table()[pool]
