"""Hosts lose each other, the server dies or is replaced, and what was acknowledged is done all the same."""

from __future__ import annotations

import pytest
from redis_server import NoServerError, find_server

from hosts.network import why_not
from hosts.scenarios import failover, killed, partition
from hosts.trial import Report

pytestmark = pytest.mark.skipif(bool(why_not()), reason=why_not() or "never")


@pytest.fixture(autouse=True)
def server() -> None:
    try:
        find_server()
    except NoServerError as error:
        pytest.skip(str(error))


def demand(report: Report) -> None:
    """Demand that every promise held."""
    problems = "\n".join(f"- {problem}" for problem in report.problems[:20])
    assert not report.problems, f"{report}\n{problems}"


def test_a_host_that_was_cut_off_works_again_and_nothing_is_lost() -> None:
    demand(partition(3.0, stops=False))


def test_nothing_is_lost_where_a_server_is_killed_that_writes_everything_down() -> None:
    demand(killed("always"))


def test_everybody_follows_the_sentinels_to_the_replica() -> None:
    demand(failover())
