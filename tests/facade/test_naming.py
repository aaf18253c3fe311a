"""What tasks are called, and where workers find them."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

import liteq
from liteq import ConfigurationError, DuplicateTaskError, Queue
from liteq.app.guard import importing
from liteq.app.naming import name_task

TASK = """
import json
from liteq import ConfigurationError, Queue
q = Queue("queue.db")
@q.task
def add(x, y):
    return x + y
def show():
    origin = add.origin
    where = None if origin is None else [origin.module, origin.root, origin.directory]
    try:
        add.new_job((1, 2), {})
        refused = None
    except ConfigurationError as error:
        refused = str(error)
    print(json.dumps([add.name, where, refused]))
"""
MAIN = TASK + '\nif __name__ == "__main__":\n    show()\n'


def run(*command: str, cwd: Path, stdin: str | None = None) -> list:
    env = {**os.environ, "PYTHONPATH": str(Path(liteq.__file__).parent.parent)}
    done = subprocess.run(
        [sys.executable, *command], cwd=cwd, env=env, input=stdin, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


@pytest.fixture
def folder(tmp_path):
    return tmp_path.resolve()


@pytest.mark.parametrize("script", ["work.py", "my-script.py"])
def test_a_script_is_called_by_its_stem_and_found_in_its_folder(folder, script):
    (folder / "scripts").mkdir()
    (folder / "scripts" / script).write_text(MAIN)
    stem = script.removesuffix(".py")
    home = [stem, str(folder / "scripts"), str(folder)]
    assert run(f"scripts/{script}", cwd=folder) == [f"{stem}.add", home, None]


def test_a_script_behind_a_symbolic_link_is_found_beside_its_own_neighbours(folder):
    (folder / "real").mkdir()
    (folder / "real" / "work.py").write_text(MAIN)
    try:
        (folder / "link.py").symlink_to(folder / "real" / "work.py")
    except OSError:
        pytest.skip("no symbolic links here")
    assert run("link.py", cwd=folder) == ["work.add", ["work", str(folder / "real"), str(folder)], None]


def test_a_module_run_with_dash_m_keeps_its_real_name(folder):
    (folder / "pkg" / "sub").mkdir(parents=True)
    (folder / "pkg" / "__init__.py").write_text("")
    (folder / "pkg" / "sub" / "jobs.py").write_text(MAIN)
    home = ["pkg.sub.jobs", str(folder), str(folder)]
    assert run("-m", "pkg.sub.jobs", cwd=folder) == ["pkg.sub.jobs.add", home, None]


def test_a_package_run_with_dash_m_is_found_by_the_name_of_its_main_module(folder):
    (folder / "pkg").mkdir()
    (folder / "pkg" / "__main__.py").write_text(MAIN)
    home = ["pkg.__main__", str(folder), str(folder)]
    assert run("-m", "pkg", cwd=folder) == ["pkg.__main__.add", home, None]


def test_an_imported_module_of_a_package_is_found_above_its_top_package(folder):
    (folder / "pkg").mkdir()
    (folder / "pkg" / "__init__.py").write_text(TASK)
    home = ["pkg", str(folder), str(folder)]
    assert run("-c", "import pkg; pkg.show()", cwd=folder) == ["pkg.add", home, None]


@pytest.mark.parametrize(
    ("command", "stdin"), [(["-c", TASK + "\nshow()"], None), (["-"], TASK + "\nshow()")]
)
def test_a_task_that_no_module_holds_is_refused_when_it_is_called(folder, command, stdin):
    name, home, refused = run(*command, cwd=folder, stdin=stdin)
    assert (name, home) == ("__main__.add", None)
    assert "__main__.add" in refused
    assert "REPL" in refused
    assert "name=" in refused


def test_the_main_module_of_a_folder_is_refused_and_the_reason_told(folder):
    (folder / "app").mkdir()
    (folder / "app" / "__main__.py").write_text(MAIN)
    name, home, refused = run("app", cwd=folder)
    assert (name, home) == ("app.__main__.add", None)
    assert "run as a folder" in refused


def test_a_script_without_the_py_extension_is_refused(folder):
    (folder / "tool").write_text(MAIN)
    assert "cannot be imported" in run("tool", cwd=folder)[2]


def test_a_task_without_a_home_is_taken_under_a_name_of_its_own(folder):
    code = TASK.replace("@q.task", "@q.task(name='sums')") + "\nshow()"
    assert run("-c", code, cwd=folder) == ["sums", None, None]


def test_a_name_of_its_own_keeps_the_home(queue):
    @queue.task(name="totals")
    def total() -> None: ...

    assert total.name == "totals"
    assert total.origin is not None
    assert total.origin.task == "totals"
    assert total.origin.module == __name__


def test_a_nested_function_is_called_by_where_it_stands(queue):
    @queue.task
    def inner() -> None: ...

    module = test_a_nested_function_is_called_by_where_it_stands.__module__
    assert inner.name == f"{module}.test_a_nested_function_is_called_by_where_it_stands.inner"


def test_while_a_worker_imports_relative_paths_start_where_the_program_ran(tmp_path):
    with importing(str(tmp_path)):
        assert Queue("jobs.db").url == str(tmp_path / "jobs.db")
        assert name_task(run).origin.directory == str(tmp_path)
    assert Queue("jobs.db").url == str(Path.cwd() / "jobs.db")


def test_what_has_no_name_needs_one(queue):
    with pytest.raises(ConfigurationError, match="name="):
        queue.task(lambda: None)
    assert queue.task(name="nothing")(lambda: None).name == "nothing"


def test_two_functions_of_one_name_are_refused(queue):
    @queue.task(name="one")
    def first() -> None: ...

    with pytest.raises(DuplicateTaskError, match="'one'"):

        @queue.task(name="one")
        def second() -> None: ...

    assert queue.tasks["one"] is first


def test_a_second_definition_of_one_name_is_refused(queue):
    def define():
        @queue.task
        def report() -> int:
            return 1

    def define_again():
        @queue.task(name=next(iter(queue.tasks)))
        def report() -> int:
            return 2

    define()
    with pytest.raises(DuplicateTaskError, match="line"):
        define_again()


def test_running_the_same_definition_again_replaces_the_task(queue):
    def define():
        @queue.task
        def again() -> None: ...

        return again

    define()
    second = define()
    assert queue.tasks[second.name] is second


def test_an_unknown_task_is_answered_with_the_nearest_name(queue):
    queue.task(name="mail.send")(lambda: None)
    with pytest.raises(liteq.UnknownTaskError, match=r"Did you mean 'mail\.send'"):
        queue.registry.get("mail.sent")
