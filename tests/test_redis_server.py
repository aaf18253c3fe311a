"""The Redis server that the tests start: it is real, empty at each test, and stops when it is told."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest
from redis_server import NoServerError, RedisServer, find_server


@pytest.mark.parametrize("attempt", [1, 2])
def test_each_test_finds_the_server_empty(redis_server: RedisServer, attempt: int) -> None:
    assert redis_server.ask("DBSIZE") == b":0\r\n"
    assert redis_server.ask("SET", "key", "value") == b"+OK\r\n"


def test_a_server_comes_back_on_its_socket_with_what_it_has_kept(
    start_redis: Callable[..., RedisServer],
) -> None:
    server = start_redis("--appendonly", "yes", "--appendfsync", "always")
    server.ask("SET", "key", "value")
    before, url = server.pid, server.url()
    server.kill()
    with pytest.raises(OSError):
        server.ask("PING")
    server.start()
    assert server.ask("GET", "key") == b"$5\r\nvalue\r\n"
    assert server.pid != before
    assert server.url() == url


def test_a_frozen_server_answers_when_it_is_thawed(start_redis: Callable[..., RedisServer]) -> None:
    server = start_redis()
    server.freeze()
    with pytest.raises(TimeoutError):
        server.ask("PING", timeout=0.05)
    server.thaw()
    assert server.ask("PING") == b"+PONG\r\n"


def test_nothing_is_left_of_a_server_that_is_closed(start_redis: Callable[..., RedisServer]) -> None:
    server = start_redis()
    pid, place = server.pid, server.socket.parent
    server.freeze()
    server.close()
    with pytest.raises(ProcessLookupError):
        os.kill(pid, 0)
    assert not place.exists()


def test_a_server_that_cannot_start_tells_what_it_said(start_redis: Callable[..., RedisServer]) -> None:
    with pytest.raises(RuntimeError, match="maxmemory-policy"):
        start_redis("--maxmemory-policy", "nonsense")


def test_a_named_program_that_is_none_is_told(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("LITEQ_REDIS_SERVER", str(tmp_path / "missing"))
    with pytest.raises(NoServerError, match="is no program"):
        find_server()
