"""Options and fixtures of the whole suite."""

from __future__ import annotations

import pytest


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--long", action="store_true", help="run the statistical tests with their full numbers of rounds"
    )


@pytest.fixture
def rounds(request: pytest.FixtureRequest):
    """Choose a number of rounds: few by default, all with `--long`."""

    def choose(few: int, full: int) -> int:
        return full if request.config.getoption("--long") else few

    return choose
