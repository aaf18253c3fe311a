from __future__ import annotations

import pytest


@pytest.fixture
def seed(request: pytest.FixtureRequest) -> int:
    """What makes a proof the same run again."""
    chosen: int = request.config.getoption("--chaos-seed")
    return chosen
