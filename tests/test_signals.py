"""Signals: who is called, when, and with what."""

from __future__ import annotations

from typing import Any

import pytest

from liteq import ConfigurationError
from liteq.signals import Signal


def test_connected_functions_are_called_in_order_and_what_they_return_comes_back():
    signal = Signal("ready")

    def first(sender: str, **kwargs: Any) -> str:
        return f"{sender} {kwargs['word']}"

    def second(sender: str, **kwargs: Any) -> object:
        return kwargs["signal"]

    signal.connect(first)
    signal.connect(second)
    assert signal.send("me", word="now") == [(first, "me now"), (second, signal)]


def test_connect_is_a_decorator_with_and_without_arguments_and_takes_celerys_words():
    signal = Signal("ready")
    me = object()

    @signal.connect
    def everybody(**kwargs: Any) -> None: ...

    @signal.connect(sender=me, weak=False)
    def mine(**kwargs: Any) -> None: ...

    assert signal.receivers(me) == [everybody, mine]
    assert signal.receivers(object()) == [everybody]


def test_a_function_that_nobody_else_holds_is_kept():
    signal = Signal("ready")
    heard: list[object] = []
    signal.connect(lambda sender, **_: heard.append(sender), weak=True)
    signal.send(1)
    assert heard == [1]


def test_connecting_again_changes_nothing():
    signal = Signal("ready")

    def receiver(**kwargs: Any) -> None: ...

    signal.connect(receiver)
    signal.connect(receiver)
    signal.connect(lambda **_: None, dispatch_uid="x")
    signal.connect(lambda **_: None, dispatch_uid="x")
    assert len(signal.receivers()) == 2


def test_disconnected_functions_are_called_no_more():
    signal = Signal("ready")

    def receiver(**kwargs: Any) -> None: ...

    signal.connect(receiver)
    signal.connect(receiver, dispatch_uid="x")
    assert signal.disconnect(dispatch_uid="x")
    assert signal.disconnect(receiver)
    assert not signal.disconnect(receiver)
    assert signal.send(None) == []


def test_what_a_receiver_raises_is_raised():
    signal = Signal("ready")

    @signal.connect
    def fail(**kwargs: Any) -> None:
        raise KeyError("gone")

    with pytest.raises(KeyError, match="gone"):
        signal.send(None)


def test_what_cannot_be_called_is_refused():
    with pytest.raises(ConfigurationError, match=r"ready\.connect\(\) takes a function, not 3"):
        Signal("ready").connect(3)  # type: ignore[arg-type]
