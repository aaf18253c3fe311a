"""The proofs that are about more than files hold on a real Redis server that each of them starts itself."""

from __future__ import annotations

import sys

import pytest
from redis_server import NoServerError, find_server

from chaos.proof import PROOFS, check, prove

SIZES = {"storm": PROOFS["storm"].short, "model": 3_000, "simulation": 10_000, "beat": 10, "move": 20}
"""How much of each in the default suite."""
NEED_PIDFDS = ("storm", "beat", "move")


@pytest.mark.parametrize("name", SIZES)
def test_what_holds_in_a_file_holds_on_redis(name: str, seed: int) -> None:
    if name in NEED_PIDFDS and sys.platform != "linux":
        pytest.skip("pidfds")
    try:
        find_server()
    except NoServerError as error:
        pytest.skip(str(error))
    check(prove(name, SIZES[name], seed, "redis"))
