"""What log lines look like, which job they name, and what becomes of what tasks print."""

from __future__ import annotations

import asyncio
import contextvars
import io
import json
import logging
import os
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator
from datetime import datetime
from typing import Any

import pytest

from liteq import ConfigurationError, Queue, SoftTimeLimitExceeded, WorkerError, get_task_logger
from liteq.log import JobFilter, JsonFormatter, TextFormatter
from liteq.signals import setup_logging
from liteq.worker import log_setup, redirecting
from liteq.worker.log import set_up_logging
from liteq.worker.log_setup import let_program_configure, load_log_config
from liteq.worker.redirecting import LoggedStream, redirect_stdouts
from liteq.worker.soft import run_limited

Lines = Callable[..., list[Any]]


@pytest.fixture(autouse=True)
def _own_logging() -> Iterator[None]:
    """Take back what a test makes of liteq's log lines."""
    logger = logging.getLogger("liteq")
    before = [*logger.handlers], logger.level, logger.propagate
    yield
    logger.handlers[:] = before[0]
    logger.setLevel(before[1])
    logger.propagate = before[2]


@pytest.fixture
def written() -> io.StringIO:
    return io.StringIO()


@pytest.fixture
def run(queue: Queue, written: io.StringIO) -> Lines:
    """Run a function as the task `t`, with what it logs and prints captured; return the log's lines."""

    def run(function: Callable[[], object], log_format: str = "text", level: str | None = None) -> list[Any]:
        set_up_logging("debug", "me", written, log_format)
        logging.getLogger("liteq.worker").setLevel("ERROR")
        queue.task(name="t")(function).options(task_id="1").delay()
        try:
            with redirect_stdouts(level):
                queue.drain()
        finally:
            logging.getLogger("liteq.worker").setLevel(logging.NOTSET)
        lines = written.getvalue().splitlines()
        return [json.loads(line) for line in lines] if log_format == "json" else lines

    return run


def record(message: str = "hello", *args: object, **extra: object) -> logging.LogRecord:
    made = logging.getLogger("some.where").makeRecord("some.where", 20, "f.py", 1, message, args, None)
    vars(made).update(extra)
    return made


# ---- lines -----------------------------------------------------------------------------------------


def test_what_a_task_logs_names_its_job(run: Lines):
    logger = get_task_logger("some.module")
    (line,) = run(lambda: logger.info("hello %s", "there"))
    assert line.endswith(": INFO/me] t[1]: hello there")


def test_what_is_logged_outside_of_a_job_names_none(caplog: pytest.LogCaptureFixture):
    get_task_logger("some.module").warning("hello")
    (told,) = caplog.records
    assert (told.task_name, told.task_id, told.attempt) == (None, None, None)  # type: ignore[attr-defined]
    assert TextFormatter("100% me").format(told).endswith(": WARNING/100% me] hello")


def test_the_workers_own_lines_name_the_job_once_and_in_json_too(queue: Queue, written: io.StringIO):
    queue.task(name="t")(lambda: 7).options(task_id="1").delay()
    set_up_logging("info", "me", written)
    queue.drain()
    received, succeeded = written.getvalue().splitlines()
    assert received.endswith("] Task t[1] received")
    assert "] Task t[1] succeeded in" in succeeded

    set_up_logging("info", "me", written, "json")
    queue.task(name="fail")(lambda: 1 / 0).options(task_id="2").delay()
    queue.drain()
    told = [json.loads(line) for line in written.getvalue().splitlines()[2:]]
    assert [(line["task"], line["id"], line["attempt"]) for line in told] == [("fail", "2", 1)] * 2
    assert [line["level"] for line in told] == ["INFO", "ERROR"]
    assert "ZeroDivisionError" in told[1]["exc_info"]
    assert "exc_info" not in told[0]


def test_a_line_of_json_has_everything(run: Lines):
    logger = get_task_logger("some.module")
    (line,) = run(lambda: logger.warning("two\nlines", extra={"parcel": 7, "id": "theirs"}), "json")
    at = datetime.fromisoformat(line.pop("time"))
    assert at.utcoffset() is not None
    assert line.pop("pid") > 0
    assert line == {
        "level": "WARNING",
        "logger": "some.module",
        "message": "two\nlines",
        "worker": "me",
        "task": "t",
        "id": "1",
        "attempt": 1,
        "parcel": 7,
        "id_": "theirs",
    }


def test_what_a_record_was_given_is_kept_and_the_rest_is_added(run: Lines):
    logger = get_task_logger("some.module")
    extra = {"task_id": "theirs", "job": "a carpenter"}
    assert run(lambda: logger.warning("hello", extra=extra))[0].endswith("] t[theirs]: hello")
    told = record(**extra)
    TextFormatter().format(told)
    assert json.loads(JsonFormatter().format(told))["job"] == "a carpenter"


class Unprintable:
    def __repr__(self) -> str:
        raise RuntimeError


@pytest.mark.parametrize(
    ("value", "shown"),
    [
        ({"a": [1, None]}, {"a": [1, None]}),
        (float("nan"), "nan"),
        ({1, 2}, "{1, 2}"),
        ({(1, 2): 3}, "{(1, 2): 3}"),
        ("\ud800\x1b", "\ud800\x1b"),
    ],
)
def test_what_is_no_json_is_shown_as_it_prints(value: object, shown: object):
    line = JsonFormatter().format(record(extra=value))
    assert line.isascii()
    assert json.loads(line)["extra"] == shown


def test_what_cannot_even_be_printed_costs_no_line():
    told = json.loads(JsonFormatter().format(record(extra=Unprintable())))
    assert told["message"] == "hello"
    assert "Unprintable" in told["extra"]


def test_no_id_passes_for_a_line():
    line = TextFormatter().format(record(task_name="t", task_id="1\n[2026] forged", attempt=1))
    assert "\n" not in line
    assert "1\\n[2026] forged" in line


def test_the_filter_tells_the_job_to_a_handler_of_the_users_own(queue: Queue, written: io.StringIO):
    handler = logging.StreamHandler(written)
    handler.addFilter(JobFilter())
    handler.setFormatter(logging.Formatter("%(task_name)s[%(task_id)s] %(attempt)s %(message)s"))
    logger = logging.getLogger("library")
    logger.addHandler(handler)
    try:
        queue.task(name="t")(lambda: logger.warning("hello")).options(task_id="1").delay()
        queue.drain()
    finally:
        logger.removeHandler(handler)
    assert written.getvalue() == "t[1] 1 hello\n"


# ---- what tasks print ------------------------------------------------------------------------------


def test_what_a_task_prints_is_logged_line_by_line_and_the_last_line_needs_no_end(run: Lines):
    def chatter() -> None:
        print("one", end="")
        print("\r another\n\ntwo")
        sys.stdout.buffer.write("thr\u00e9e\n".encode()[:4])
        sys.stdout.buffer.write("thr\u00e9e\n".encode()[4:])
        print("to stderr", file=sys.stderr, end="", flush=True)

    lines = run(chatter, level="info")
    assert [line.partition("] ")[2] for line in lines] == [
        "t[1]:  another",
        "t[1]: two",
        "t[1]: thr\u00e9e",
        "t[1]: to stderr",
    ]
    assert all(": INFO/me]" in line for line in lines)


def test_lines_of_jobs_in_other_threads_and_coroutines_are_kept_apart(run: Lines):
    together = threading.Barrier(2, timeout=30)

    def halves(word: str) -> None:
        for half in (word, word.upper()):
            together.wait()
            print(half, end="")

    def in_threads() -> None:
        # A context as an executor with threads has it: the job's own.
        threads = [
            threading.Thread(target=contextvars.copy_context().run, args=(halves, word))
            for word in ("ab", "cd")
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()

        async def say() -> None:
            await asyncio.sleep(0)
            print("\nfrom a coroutine")

        asyncio.run(say())

    first, last = run(in_threads, level="info")
    assert sorted(first.partition("]: ")[2]) == sorted("abABcdCD")
    assert last.endswith("t[1]: from a coroutine")


def test_what_a_thread_prints_that_outlives_its_job_is_logged_at_once(run: Lines, queue: Queue):
    go, gone = threading.Event(), threading.Event()

    def late() -> None:
        go.wait(30)
        print("late", end="")
        gone.set()

    threads: list[threading.Thread] = []

    def leave() -> None:
        threads.append(threading.Thread(target=contextvars.copy_context().run, args=(late,)))
        threads[0].start()
        print("begun", end="")
        after.delay()

    @queue.task(name="after")
    def after() -> None:
        go.set()
        assert gone.wait(30)

    lines = run(leave, level="info")
    threads[0].join()
    assert [line.partition("]: ")[2] for line in lines] == ["begun", "late"]


def test_a_handler_that_writes_to_standard_error_does_not_write_into_itself(
    run: Lines, capsys: pytest.CaptureFixture[str]
):
    class Chatty(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            print("handled", record.getMessage(), file=sys.stderr)

    def chatter() -> None:
        logging.getLogger("liteq").addHandler(Chatty())
        print("hello")

    assert len(run(chatter, level="info")) == 1
    assert capsys.readouterr().err == "handled hello\n"


def test_what_a_thread_has_begun_to_print_is_logged_when_it_ends(run: Lines):
    def leave_to_a_thread() -> None:
        thread = threading.Thread(target=print, args=("no end",), kwargs={"end": ""})
        thread.start()
        thread.join()

    (line,) = run(leave_to_a_thread, level="info")
    assert line.endswith("no end")


def test_a_handler_that_fails_does_not_fail_a_job_that_prints(
    run: Lines, capsys: pytest.CaptureFixture[str], queue: Queue
):
    class Broken(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            raise ConnectionError("the collector is gone")

    went_on: list[bool] = []

    def chatter() -> None:
        logging.getLogger("liteq").addHandler(Broken())
        print("hello")
        print("no end", end="")
        went_on.append(True)

    assert len(run(chatter, level="info")) == 2
    assert capsys.readouterr().out == "hello\nno end\n"
    assert went_on


@pytest.mark.parametrize("prints", [False, True])
def test_a_soft_limit_that_comes_while_a_task_logs_is_met_by_the_task(prints: bool):
    class Slow(io.StringIO):
        def write(self, text: str) -> int:
            give_up = time.monotonic() + 10
            while time.monotonic() < give_up:
                time.sleep(0.001)
            return len(text)

    set_up_logging("debug", "me", Slow())
    log = LoggedStream(Slow(), logging.WARNING).write if prints else get_task_logger("t").warning
    with pytest.raises(SoftTimeLimitExceeded):
        run_limited(0.02, log, "hello\n")


@pytest.mark.filterwarnings("ignore:.*fork:DeprecationWarning")
@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork here")
def test_a_child_that_is_forked_while_others_print_prints(written: io.StringIO):
    set_up_logging("debug", "me", written)
    stream = LoggedStream(written, logging.WARNING)
    with redirecting._lock:
        child = os.fork()
        if child == 0:
            # It ends the child, should that wait for ever.
            signal.alarm(10)
            stream.write("hello\n")
            os._exit(0 if "hello" in written.getvalue() else 1)
        assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0


def test_a_redirected_stream_is_a_stream_still(run: Lines):
    seen: list[object] = []

    def look() -> None:
        out = sys.stdout
        assert isinstance(out, LoggedStream)
        assert (out.isatty(), out.writable(), out.readable(), out.closed) == (False, True, False, False)
        assert out.encoding
        out.reconfigure(encoding="ascii")
        out.writelines(["a\n", "b\n"])
        out.close()
        assert out.write("c") == 1
        assert out.buffer.write(b"d") == 1
        with pytest.raises(TypeError, match="must be str, not bytes"):
            out.write(b"e")  # type: ignore[arg-type]
        seen.append("all")

    before = sys.stdout, sys.stderr
    assert [line.partition("]: ")[2] for line in run(look, level="info")] == ["a", "b", "cd"]
    assert seen == ["all"]
    assert (sys.stdout, sys.stderr) == before


def test_a_line_without_an_end_does_not_grow_for_ever(run: Lines):
    def endless() -> None:
        for _ in range(3):
            print("x" * 40_000, end="")

    assert [line.count("x") for line in run(endless, level="info")] == [80_000, 40_000]


def test_by_default_what_a_task_prints_is_printed(run: Lines, capsys: pytest.CaptureFixture[str]):
    assert run(lambda: print("hello")) == []
    assert capsys.readouterr().out == "hello\n"


# ---- a configuration of the user's own ---------------------------------------------------------------


def test_a_program_that_sets_logging_up_itself_does_so_once_and_liteq_does_not(
    monkeypatch: pytest.MonkeyPatch,
):
    monkeypatch.setattr(log_setup, "_called", [])
    set_up_logging("info", "me")
    let_program_configure("info", "me")
    assert len(logging.getLogger("liteq").handlers) == 1
    seen: list[dict[str, Any]] = []

    @setup_logging.connect
    def configure(**told: Any) -> None:
        seen.append(told)

    try:
        let_program_configure("info", "me")
        let_program_configure("info", "me")
    finally:
        setup_logging.disconnect(configure)
    assert logging.getLogger("liteq").handlers == []
    assert logging.getLogger("liteq").propagate
    (told,) = seen
    assert (told["loglevel"], told["worker"], told["sender"], told["signal"]) == (
        20,
        "me",
        None,
        setup_logging,
    )


def test_a_program_that_fails_to_set_logging_up_is_told_where_and_why(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(log_setup, "_called", [])

    def configure(loglevel: int) -> None: ...

    def stumble(**told: Any) -> None:
        raise ValueError("no such colour")

    for receiver, said in [
        (configure, r"configure, connected to setup_logging, has failed: TypeError: .*unexpected keyword"),
        (stumble, r"stumble, .* failed \(.*test_log_lines.py, line \d+\): ValueError: no such colour"),
    ]:
        setup_logging.connect(receiver)
        try:
            with pytest.raises(WorkerError, match=said):
                let_program_configure("info", "me")
        finally:
            setup_logging.disconnect(receiver)


@pytest.mark.parametrize(
    "text", ["", "{", "[loggers]\nkeys=nobody", '{"version": 1, "handlers": {"a": {"class": "nowhere.H"}}}']
)
def test_a_log_configuration_that_cannot_be_used_is_refused_with_its_name(tmp_path: Any, text: str):
    file = tmp_path / "log.conf"
    file.write_text(text, encoding="utf-8")
    with pytest.raises(ConfigurationError, match=r"log.conf cannot be used: \w+: ."):
        load_log_config(str(file))
    with pytest.raises(ConfigurationError, match=r"nowhere.json cannot be used: FileNotFoundError"):
        load_log_config(str(tmp_path / "nowhere.json"))
