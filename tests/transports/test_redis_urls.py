"""The URLs of queues on Redis: what they say, what is refused, and that no password is ever shown."""

from __future__ import annotations

import json
import logging
import os
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from redis_server import RedisServer

from liteq import ConfigurationError, Queue, StoreError
from liteq.app.opening import open_transport
from liteq.urls import RedisUrl, hide_passwords, is_redis, is_same_place, read_redis_url


@pytest.mark.parametrize(
    ("url", "means"),
    [
        ("redis://", RedisUrl("server", hosts=(("localhost", 6379),))),
        ("REDIS://Host", RedisUrl("server", hosts=(("host", 6379),))),
        ("rediss://host:1/2", RedisUrl("server", tls=True, hosts=(("host", 1),), db=2)),
        ("redis://[::1]:7/0", RedisUrl("server", hosts=(("::1", 7),))),
        ("redis://host?db=3&prefix=a.b", RedisUrl("server", hosts=(("host", 6379),), db=3, prefix="a.b")),
        ("redis://me@host", RedisUrl("server", hosts=(("host", 6379),), username="me")),
        ("unix:///run/r.sock?db=1", RedisUrl("unix", path="/run/r.sock", db=1)),
        ("unix:///run/a%20b@c.sock", RedisUrl("unix", path="/run/a b@c.sock")),
        ("redis+unix:///r.sock", RedisUrl("unix", path="/r.sock")),
        (
            "redis+sentinel://a,b:5/my%2Fmaster/4",
            RedisUrl("sentinel", hosts=(("a", 26379), ("b", 5)), service="my/master", db=4),
        ),
        ("rediss+cluster://a,b:5", RedisUrl("cluster", tls=True, hosts=(("a", 6379), ("b", 5)))),
        (
            "redis://host?socket_timeout=1.5&ssl_check_hostname=no",
            RedisUrl(
                "server",
                hosts=(("host", 6379),),
                options={"socket_timeout": 1.5, "ssl_check_hostname": False},
            ),
        ),
    ],
)
def test_what_a_url_says(url: str, means: RedisUrl) -> None:
    assert is_redis(url)
    assert read_redis_url(url) == means
    assert read_redis_url(means.shown) == means


@pytest.mark.parametrize(
    ("url", "why"),
    [
        ("redis://host/x", "'x' is no number of a database"),
        ("redis://host/99999999999", "is no number of a database"),
        ("redis://host/0/1", "'1' follows the number"),
        ("redis://host:0", "is no host with a port"),
        ("redis://host:99999", "is no host with a port"),
        ("redis://a b", "is no host with a port"),
        ("redis://a,b", "names several servers"),
        ("redis://host?prefx=a", "there is no option 'prefx'; perhaps prefix is meant"),
        ("redis://host?prefix=a%7Bb%7D", "must be 1 to 64"),
        ("redis://host?prefix=", "must be 1 to 64"),
        ("redis://host?db=1&db=2", "db is given twice"),
        ("redis://host?socket_timeout=nan", "socket_timeout='nan' cannot be used"),
        ("redis://host?socket_timeout=soon", "cannot be used"),
        ("redis://host?ssl_cert_reqs=maybe", "must be none, optional or required"),
        ("unix://r.sock", "three slashes and an absolute path"),
        ("redis+sentinel://host", "names no service"),
        ("redis+cluster://host/1", "a cluster has no database but 0"),
    ],
)
def test_what_is_no_url_is_refused_with_the_forms_that_there_are(url: str, why: str) -> None:
    with pytest.raises(ConfigurationError, match=r"redis\+sentinel://host1,host2/service/0") as caught:
        Queue(url)
    assert why in str(caught.value)


SECRET = "s3cret"


@pytest.mark.parametrize(
    "url",
    [
        f"redis://:{SECRET}@host/x",
        f"redis://me:{SECRET}@host:x",
        f"redis://:a@{SECRET}@host/x",
        f"redis://:{SECRET}?{SECRET}@host/0",
        f"redis://:{SECRET}/{SECRET}@host/x",
        f"redis://host?password={SECRET}&no=1",
        f"redis+sentinel://host?sentinel_password={SECRET}",
        f"http://me:{SECRET}@host",
    ],
)
def test_a_refusal_shows_no_password(url: str) -> None:
    with pytest.raises(ConfigurationError) as caught:
        Queue(url)
    assert SECRET not in str(caught.value)
    assert SECRET not in hide_passwords(url)


@pytest.mark.parametrize("url", ["redis:/user:secret@host/0", "rediss:host", "Unix:/run/redis.sock"])
def test_a_url_that_lacks_a_slash_is_no_file(url: str) -> None:
    with pytest.raises(ConfigurationError, match="lacks a slash") as told:
        Queue(url)
    assert "secret" not in str(told.value)


@pytest.mark.skipif(os.name == "nt", reason="no file can be called so there")
def test_a_file_may_be_called_like_a_url(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    for file in ("./redis:host", Path("redis:host"), "sqlite:///redis:host"):
        assert Queue(file).url == str(tmp_path / "redis:host")


@given(st.text(min_size=1).filter(str.isprintable))
def test_a_password_of_any_letters_is_read_and_not_shown(password: str) -> None:
    from urllib.parse import quote

    quoted = quote(password, safe="")
    url = read_redis_url(f"redis://me:{quoted}@host/1")

    assert url.secrets == {"password": password}
    assert url.shown == "redis://me@host:6379/1"
    assert repr(url) == repr(read_redis_url(url.shown))
    assert read_redis_url(f"unix:///r.sock?password={quoted}").secrets == {"password": password}


def test_who_asks_and_for_how_long_makes_no_other_queue() -> None:
    assert is_same_place("redis://host", "redis://me:pw@HOST:6379/0?socket_timeout=1")
    assert not is_same_place("redis://host", "redis://host/1")
    assert not is_same_place("redis://host", "redis://host?prefix=other")
    assert not is_same_place("redis://host", "redis+cluster://host")
    assert not is_same_place("redis://host", "/redis:/host")


def test_nothing_that_is_shown_of_a_queue_has_its_password(
    start_redis: type[RedisServer], caplog: pytest.LogCaptureFixture
) -> None:
    server = start_redis("--requirepass", SECRET)
    caplog.set_level(logging.DEBUG)
    queue = Queue(server.url(password=SECRET))
    task = queue.task(name="t")(lambda: None)
    task.delay()

    transport = queue.transport
    shown = [queue.url, repr(queue), repr(queue.settings), transport.url, repr(transport.describe())]
    shown += [repr(transport.diagnose(0.0)), repr(transport.origins()), repr(queue.store), caplog.text]
    queue.close()
    server.stop()
    with pytest.raises(StoreError) as caught:
        open_transport(server.url(password=SECRET), busy_timeout=0.01)
    shown += [str(caught.value), caplog.text]

    assert SECRET not in json.dumps(shown)
