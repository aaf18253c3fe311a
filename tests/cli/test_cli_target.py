"""What a TARGET names."""

from __future__ import annotations

from pathlib import Path

import pytest

from liteq.cli.target import names_application


@pytest.mark.parametrize("text", ["app", "shop.tasks", "shop.tasks:q", "shop.db:q", "größe", "app.queue"])
def test_dotted_names_are_applications(text: str):
    assert names_application(text)


@pytest.mark.parametrize(
    "text",
    [
        "queue.db",
        "shop.SQLITE3",
        "./app",
        "folder/queue",
        "/queue",
        "my queue",
        "a-b.c",
        "C:\\queue.db",
        "C:/queue",
        "app:",
        ":q",
        "app:1",
        "sqlite:///app",
        "a..b",
        "",
    ],
)
def test_everything_else_is_a_file(text: str):
    assert not names_application(text)


def test_a_file_that_exists_is_a_file_whatever_its_name(tmp_path: Path):
    assert names_application("shop.tasks")

    (tmp_path / "shop.tasks").touch()

    assert not names_application("shop.tasks")


def test_a_folder_of_that_name_is_a_package(tmp_path: Path):
    (tmp_path / "shop").mkdir()

    assert names_application("shop")
