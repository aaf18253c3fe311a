"""Schedules that modules declare, from the start of one program to that of the next."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from shutil import rmtree
from typing import Any

import pytest
from programs import Program, wait_until

from liteq import Queue
from liteq.app.schedule_info import ScheduleInfo
from liteq.timetable import ScheduleRecord

HEAD = """
from liteq import Queue, crontab

q = Queue("queue.db")

@q.task
def note(word="x"):
    pass

"""


class Stage:
    """A folder with modules, and the queue file that their programs share."""

    def __init__(self, program: Program) -> None:
        self.program = program
        self.file = program.folder / "queue.db"

    def write(self, name: str, *declarations: str) -> None:
        self.program.write(name, HEAD + "\n".join(declarations))

    def work(self, *words: object) -> None:
        """Let a worker start, and end when there is nothing to do."""
        done = self.program.run("-m", "liteq", "worker", *words, "-c", "2", "--drain")
        assert done.returncode == 0, done.stderr

    def schedules(self) -> dict[str, ScheduleInfo]:
        with Queue(self.file) as queue:
            return {info.name: info for info in queue.schedules}

    def names(self) -> list[str]:
        return sorted(self.schedules())


@pytest.fixture
def stage(program: Program) -> Stage:
    return Stage(program)


def declare(name: str, schedule: object = 3600, more: str = "") -> str:
    return f"q.add_periodic_task({schedule}, note.s(), name={name!r}{more})"


WAYS: list[Callable[[str], list[str]]] = [
    lambda module: ["queue.db", "-A", module],
    lambda module: [module],
    lambda module: [f"{module}:q", "-P", "solo", "-c", "1"],
    lambda module: [f"{module}:q", "-A", module],
]


@pytest.mark.parametrize("way", WAYS, ids=["file", "application", "solo", "application and module"])
def test_a_worker_stores_changes_and_removes_what_its_modules_declare(
    stage: Stage, way: Callable[[str], list[str]]
):
    words = way("shop")
    start = words if "solo" not in words else words[:3]
    run = stage.work if "solo" not in words else _solo(stage)

    stage.write("shop", declare("a"), declare("b", "crontab(hour=3)"))
    run(*start)
    before = stage.schedules()
    assert {info.module for info in before.values()} == {"shop"}
    assert sorted(before) == ["a", "b"]

    stage.write("shop", declare("a", 60), declare("c"))
    run(*start)
    after = stage.schedules()
    assert sorted(after) == ["a", "c"]
    assert after["a"].description == "every 1 minute"


def _solo(stage: Stage) -> Callable[..., None]:
    def run(*words: object) -> None:
        done = stage.program.run("-m", "liteq", "worker", *words, "--drain")
        assert done.returncode == 0, done.stderr

    return run


def test_a_worker_on_a_file_finds_the_modules_that_are_recorded_there(stage: Stage):
    stage.write("shop", declare("a"), "if __name__ == '__main__': note.delay()")
    assert stage.program.run("shop.py").returncode == 0
    stage.work("queue.db")
    assert stage.names() == ["a"]


def test_what_other_modules_declare_and_what_was_made_at_run_time_is_left_alone(stage: Stage):
    stage.write("shop", declare("a"))
    stage.write("office", declare("b"), "note.delay() if __name__ == '__main__' else None")
    stage.work("queue.db", "-A", "shop")
    stage.work("queue.db", "-A", "office")
    with Queue(stage.file) as queue:
        queue.task(name="at.hand")(print)
        queue.schedules.add(60, "at.hand", name="c")
    stage.write("shop")
    stage.work("queue.db", "-A", "office")
    assert stage.names() == ["a", "b", "c"]
    stage.work("queue.db", "-A", "shop")
    assert stage.names() == ["b", "c"]


def test_a_module_of_the_same_name_in_another_folder_is_another_module(stage: Stage, tmp_path: Path):
    stage.write("shop", declare("a"))
    stage.work("queue.db", "-A", "shop")
    other = tmp_path / "other"
    other.mkdir()
    source = HEAD.replace('"queue.db"', repr(str(stage.file))) + declare("b")
    (other / "shop.py").write_text(source, encoding="utf-8")
    done = stage.program.run("-m", "liteq", "worker", stage.file, "-A", "shop", "--drain", cwd=other)
    assert done.returncode == 0, done.stderr
    assert stage.names() == ["a", "b"]


def test_a_change_at_run_time_survives_until_the_declaration_changes(stage: Stage):
    stage.write("shop", declare("a"), declare("b"))
    stage.work("shop")
    with Queue(stage.file) as queue:
        queue.schedules.change("a", schedule=5, args=("y",))
        queue.schedules.pause("b")
    stage.work("shop")
    found = stage.schedules()
    assert (found["a"].description, found["a"].args) == ("every 5 seconds", ("y",))
    assert found["b"].paused
    stage.write("shop", declare("a", 7200), declare("b", 7200))
    stage.work("shop")
    found = stage.schedules()
    assert (found["a"].description, found["a"].args) == ("every 2 hours", ())
    assert (found["b"].description, found["b"].paused) == ("every 2 hours", True)


@pytest.mark.parametrize(
    "call",
    [
        "note.s({'a', 'b', 'c', 'd', 'e'})",
        "note.s([{'x': frozenset('abcde')}, {('a', 'b'): set('abcde'), frozenset('abcde'): 1}])",
        "note.s(), headers={'tags': set('abcde'), 'more': [{'x': frozenset('abcde')}]}",
        "note.s(word={letter: 1 for letter in set('abcde')})",
    ],
    ids=["argument", "nested", "headers", "dict in the order of a set"],
)
def test_a_set_in_a_declaration_is_the_same_in_every_program(stage: Stage, call: str):
    stage.write("shop", f"q.add_periodic_task(60, {call}, name='a')")
    for _ in range(3):
        stage.work("shop")
        with Queue(stage.file) as queue:
            queue.schedules.pause("a")
    stage.work("shop")
    assert stage.schedules()["a"].paused


@pytest.mark.parametrize("is_known", [False, True], ids=["unknown", "known by name"])
def test_a_beat_without_the_tasks_leaves_alone_what_workers_have_stored(stage: Stage, is_known: bool):
    beats = 'from liteq import Queue\nq = Queue("queue.db")\n'
    entry = {"task": "work.report", "schedule": 3600.0, "args": ("x",)}
    (stage.program.folder / "beats.py").write_text(f"{beats}q.conf.beat_schedule = {{'rep': {entry!r}}}\n")
    work = "from beats import q\n@q.task(queue='slow', priority={}, expires=60)\ndef report(x): pass\n"
    (stage.program.folder / "work.py").write_text(work.format(5))
    if is_known:
        assert stage.program.run("-c", "import work; work.report.delay(1)").returncode == 0
    reconcile = "from beats import q; q.start_scheduler().stop()"

    def stored() -> ScheduleRecord:
        with Queue(stage.file) as queue:
            (record,) = queue.transport.schedules()
            return record

    assert stage.program.run("-c", reconcile).returncode == 0
    assert (stored().broken is None) == is_known
    stage.work("work")
    with Queue(stage.file) as queue:
        queue.schedules.pause("rep")
    before = stored()
    assert before.job is not None
    assert (before.job.queue, before.job.priority, before.broken) == ("slow", 5, None)
    assert stage.program.run("-c", reconcile).returncode == 0
    stage.work("work")
    assert stored() == before
    (stage.program.folder / "work.py").write_text(work.format(7))
    stage.work("work")
    after = stored()
    assert after.job == before.job._replace(priority=7)
    assert after.paused


def test_a_handler_of_on_after_configure_declares_in_every_program(stage: Stage):
    handler = "@q.on_after_configure.connect\ndef setup(sender, **kwargs):\n    "
    stage.write("shop", handler + declare("a").replace("q.", "sender."))
    stage.work("shop")
    stage.work("queue.db", "-A", "shop")
    assert stage.names() == ["a"]
    stage.write("shop")
    stage.work("queue.db", "-A", "shop")
    assert stage.names() == []


def test_a_declaration_under_the_main_guard_belongs_to_the_program_that_runs(stage: Stage):
    guarded = "if __name__ == '__main__':\n    {}\n    with q.start_workers(2): pass"
    stage.write("shop", guarded.format(declare("a")))
    assert stage.program.run("shop.py").returncode == 0
    stage.work("queue.db", "-A", "shop")
    assert stage.names() == ["a"]
    stage.write("shop", guarded.format("pass"))
    assert stage.program.run("shop.py").returncode == 0
    assert stage.names() == []


@pytest.mark.parametrize("is_kept", [False, True], ids=["the old one is gone", "the old one is kept"])
def test_what_a_program_declares_no_more_goes_when_it_has_moved_and_the_old_one_is_gone(
    stage: Stage, tmp_path: Path, is_kept: bool
):
    head = HEAD.replace('"queue.db"', repr(str(stage.file)))
    guarded = head + "if __name__ == '__main__':\n    {}\n    q.start_scheduler().stop()\n"
    releases = [tmp_path / "1", tmp_path / "2"]
    for release, declaration in zip(releases, (declare("a"), "pass"), strict=True):
        release.mkdir()
        (release / "shop.py").write_text(guarded.format(declaration))
    assert stage.program.run(releases[0] / "shop.py").returncode == 0
    assert stage.names() == ["a"]
    if not is_kept:
        rmtree(releases[0])
    assert stage.program.run(releases[1] / "shop.py").returncode == 0
    assert stage.names() == ["a"] * is_kept


def test_a_declaration_that_cannot_be_ends_the_worker_with_the_reason(stage: Stage):
    late = "@q.on_after_configure.connect\ndef setup(sender, **kwargs):\n    "
    stage.write("shop", late + "sender.add_periodic_task(1, note.s(1, 2, 3))")
    for words in (["shop"], ["queue.db", "-A", "shop"]):
        done = stage.program.run("-m", "liteq", "worker", *words)
        assert done.returncode == 2
        assert "too many positional arguments" in done.stderr
        assert "Traceback" not in done.stderr


def test_a_schedule_of_an_unknown_task_is_listed_as_broken_and_the_others_fire(stage: Stage):
    entries = {
        "wrong": {"task": "shop.not", "schedule": 0.2},
        "right": {"task": "shop.note", "schedule": 0.2},
    }
    stage.write("shop", f"q.conf.beat_schedule = {entries!r}")
    stage.program.start("-m", "liteq", "worker", "shop", "-c", "1", "-B")
    wait_until(stage.file.exists)
    wait_until(lambda: "right" in stage.schedules() and stage.schedules()["right"].runs > 1, 30)
    wrong = stage.schedules()["wrong"]
    assert wrong.runs == 0
    assert wrong.broken is not None
    assert "'shop.note'" in wrong.broken


def test_beat_stores_what_is_declared_and_fires_an_object_of_ones_own(stage: Stage):
    own = (
        "from datetime import timedelta\n"
        "class Often:\n"
        "    def next_after(self, t):\n"
        "        return (t + timedelta(seconds=1)).replace(microsecond=0)\n"
    )
    stage.write("shop", own, declare("own", "Often()"))
    beat = stage.program.start("-m", "liteq", "beat", "shop")
    wait_until(stage.file.exists)
    wait_until(lambda: "own" in stage.schedules() and stage.schedules()["own"].runs > 0, 30)
    beat.terminate()
    assert beat.wait(10) == 0


def test_two_programs_that_start_at_once_store_each_schedule_once(stage: Stage):
    stage.write("shop", *(declare(f"s{number}") for number in range(20)))
    started = [
        stage.program.start("-m", "liteq", "worker", "queue.db", "-A", "shop", "-c", "1", "--drain")
        for _ in range(3)
    ]
    for process in started:
        assert process.wait(60) == 0
    assert len(stage.names()) == 20


def test_the_list_of_a_running_program_is_changed_from_the_command_line_at_once(stage: Stage):
    stage.write("shop", declare("a"))
    stage.program.start("-m", "liteq", "worker", "shop", "-c", "1")
    wait_until(stage.file.exists)
    wait_until(lambda: "a" in stage.schedules(), 30)

    def ask(*words: object) -> Any:
        done = stage.program.run("-m", "liteq", "schedules", *words, "--json")
        assert done.returncode == 0, done.stderr
        return json.loads(done.stdout)

    ask("change", "queue.db", "a", "--schedule", "0.2")
    wait_until(lambda: stage.schedules()["a"].runs > 1, 30)
    ask("pause", "queue.db", "a")
    runs = ask("queue.db")[0]["runs"]
    assert ask("show", "queue.db", "a")["runs"] == runs


def test_a_queue_in_memory_fires_what_is_declared_with_it():
    with Queue("memory://") as queue:

        @queue.periodic(0.1, name="often")
        @queue.task(name="memory.note")
        def note() -> None: ...

        with queue.start_workers(1):
            wait_until(lambda: queue.schedules.get("often").runs > 1)


def test_start_scheduler_stores_and_fires_what_is_declared(tmp_path: Path):
    with Queue(tmp_path / "queue.db") as queue:

        @queue.periodic(0.1, name="often")
        @queue.task(name="file.note")
        def note() -> None: ...

        with queue.start_scheduler():
            wait_until(lambda: queue.schedules.get("often").runs > 1)
