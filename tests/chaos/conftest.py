from __future__ import annotations

import pytest

from chaos.proof import seen


@pytest.fixture
def seed(request: pytest.FixtureRequest) -> int:
    """What makes a proof the same run again."""
    chosen: int = request.config.getoption("--chaos-seed")
    return chosen


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    if seen:
        terminalreporter.section("proofs")
        for proof in seen:
            terminalreporter.write_line(str(proof))
