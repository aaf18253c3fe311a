"""How `liteq worker` logs, in real processes."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from cli_shop import PATIENCE
from click.testing import Result

from liteq import Queue
from liteq.job import NewJob

Start = Callable[..., "subprocess.Popen[str]"]

APP = """
import subprocess, sys
from liteq import Queue, get_task_logger

q = Queue("queue.db")
logger = get_task_logger(__name__)
print("imported")


@q.task
def talk():
    print("hello", end="")
    print("to stderr", file=sys.stderr)
    logger.warning("from the logger", extra={"parcel": 7})
    subprocess.run([sys.executable, "-c", "print('from a child')"], stdout=sys.stdout, check=True)
"""

HOOK = """
import logging, sys
from liteq.signals import setup_logging


@setup_logging.connect
def configure(loglevel, worker, **kwargs):
    logging.basicConfig(format=f"OWN {worker} %(name)s %(message)s", level=loglevel, stream=sys.stderr)
"""


@pytest.fixture
def talk(tmp_path: Path, start: Start) -> Callable[..., tuple[list[str], list[str]]]:
    """Let a worker run the task `talk`; return the lines of its standard output and error."""

    def run(*options: object, more: str = "") -> tuple[list[str], list[str]]:
        (tmp_path / "app.py").write_text(APP + more, encoding="utf-8")
        with Queue(tmp_path / "queue.db") as queue:
            queue.transport.enqueue([NewJob("1", "app.talk", b"\x92\x90\x80")], 0.0)
        process = start("worker", "app", "--drain", *options, cwd=tmp_path)
        out, err = process.communicate(timeout=PATIENCE)
        assert process.returncode == 0, err
        return out.splitlines(), err.splitlines()

    return run


@pytest.mark.parametrize("pool", ["processes", "threads", "asyncio", "solo"])
def test_what_tasks_print_goes_to_the_log_when_asked(talk: Callable[..., Any], pool: str):
    out, err = talk("-P", pool, "-c", 1, "--redirect-stdouts", "--redirect-stdouts-level", "error")

    told = [line.partition(": ")[2] for line in err]
    name = "worker" if pool == "solo" else "worker-1"
    assert sorted(told) == [
        f"ERROR/{name}] app.talk[1]: hello",
        f"ERROR/{name}] app.talk[1]: to stderr",
        f"WARNING/{name}] app.talk[1]: from the logger",
    ]
    assert "imported" in out
    assert "from a child" in out
    assert "hello" not in out


def test_what_tasks_print_is_printed_otherwise(talk: Callable[..., Any]):
    out, err = talk("-c", 1)

    assert any("hello" in line for line in out)
    assert "to stderr" in err


def test_a_level_for_what_tasks_print_is_refused_where_that_is_not_logged(liteq: Callable[..., Result]):
    result = liteq("worker", "queue.db", "--redirect-stdouts-level", "info")

    assert result.exit_code == 2
    assert result.stderr.startswith("liteq: --redirect-stdouts-level goes with --redirect-stdouts.")


def test_lines_of_json_are_all_that_is_on_standard_error(talk: Callable[..., Any]):
    _, err = talk("-c", 1, "--log-format", "json", "-l", "info", "--redirect-stdouts")

    told = [json.loads(line) for line in err]
    of_the_job = [line for line in told if line["id"] == "1"]
    assert {line["task"] for line in of_the_job} == {"app.talk"}
    assert {line["worker"] for line in of_the_job} == {"worker-1"}
    messages = [line["message"] for line in of_the_job]
    assert messages[0] == "Task app.talk[1] received"
    assert {"hello", "to stderr", "from the logger"} < {*messages}
    (logged,) = (line for line in told if line["message"] == "from the logger")
    assert (logged["logger"], logged["level"], logged["parcel"], logged["attempt"]) == (
        "app",
        "WARNING",
        7,
        1,
    )


@pytest.mark.parametrize("pool", ["processes", "solo"])
def test_a_program_that_sets_logging_up_itself_is_let(talk: Callable[..., Any], pool: str):
    _, err = talk("-P", pool, "-c", 1, "-l", "info", more=HOOK)

    name = "worker" if pool == "solo" else "worker-1"
    assert f"OWN {name} app from the logger" in err
    assert f"OWN {name} liteq.worker Task app.talk[1] received" in err
    assert not any(line.startswith("[") for line in err)


@pytest.mark.parametrize("command", [["worker", "--drain"], ["beat"]])
def test_a_program_that_fails_to_set_logging_up_starts_nothing(
    tmp_path: Path, start: Start, command: list[str]
):
    (tmp_path / "app.py").write_text(APP + HOOK.replace(", **kwargs", ""), encoding="utf-8")
    process = start(command[0], "app", *command[1:], cwd=tmp_path)
    _, err = process.communicate(timeout=PATIENCE)

    assert process.returncode == 2
    (line,) = err.splitlines()
    assert line.startswith("liteq: configure, connected to setup_logging, has failed: TypeError: ")


def test_a_file_can_set_logging_up(talk: Callable[..., Any], tmp_path: Path):
    config = {
        "version": 1,
        "formatters": {"lines": {"()": "liteq.log.JsonFormatter", "worker": "mine"}},
        "handlers": {"file": {"class": "logging.FileHandler", "filename": "own.log", "formatter": "lines"}},
        "loggers": {"liteq": {"handlers": ["file"], "level": "INFO"}},
    }
    (tmp_path / "log.json").write_text(json.dumps(config), encoding="utf-8")
    _, err = talk("-c", 1, "--log-config", "log.json", "-l", "debug")

    assert err == ["to stderr"]
    told = [json.loads(line) for line in (tmp_path / "own.log").read_text("utf-8").splitlines()]
    assert {line["worker"] for line in told} == {"mine"}
    assert "from the logger" in [line["message"] for line in told]


@pytest.mark.parametrize("command", ["worker", "beat"])
def test_a_file_that_cannot_be_used_is_said_before_anything_starts(
    liteq: Callable[..., Result], command: str, tmp_path: Path
):
    result = liteq(command, "queue.db", "--log-config", "nowhere.json")

    assert result.exit_code == 2
    assert "nowhere.json cannot be used: FileNotFoundError" in result.stderr
    assert not (tmp_path / "queue.db").exists()
