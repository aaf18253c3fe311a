"""A worker finds its task modules, and says in one sentence why it could not."""

from __future__ import annotations

import sys
import textwrap
from collections.abc import Iterator
from pathlib import Path

import pytest

from liteq.errors import ImportGuardError, WorkerError
from liteq.worker.config import TaskModule
from liteq.worker.imports import import_tasks, load_app


class App:
    """Stands where `liteq.Queue` does: `load_app` is told what to look for."""


@pytest.fixture(autouse=True)
def clean_imports(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    before = set(sys.modules)
    monkeypatch.setattr(sys, "path", [*sys.path])
    monkeypatch.setattr(sys, "dont_write_bytecode", True)
    monkeypatch.chdir(tmp_path)
    yield
    for name in set(sys.modules) - before:
        del sys.modules[name]


def write(folder: Path, name: str, text: str) -> TaskModule:
    (folder / f"{name}.py").write_text(text)
    return TaskModule(name, str(folder), str(folder))


def test_a_module_is_imported_from_its_recorded_root(tmp_path: Path) -> None:
    import_tasks([write(tmp_path, "lq_plain", "answer = 42")])
    assert sys.modules["lq_plain"].answer == 42


def test_a_root_is_put_on_the_path_once(tmp_path: Path) -> None:
    import_tasks([write(tmp_path, "lq_one", ""), write(tmp_path, "lq_two", "")])
    assert sys.path.count(str(tmp_path)) == 1


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("x = 1\nimport lq_nothing_of_that_name", "line 2): ModuleNotFoundError"),
        ("1 / 0", "line 1): ZeroDivisionError: division by zero"),
        ("x = (", "SyntaxError"),
        ("import sys\nsys.exit('bye')", "line 2): SystemExit: bye"),
    ],
)
def test_a_module_that_fails_is_named_with_file_line_and_reason(
    tmp_path: Path, text: str, expected: str
) -> None:
    with pytest.raises(WorkerError) as caught:
        import_tasks([write(tmp_path, "lq_broken", text)])
    assert str(caught.value).startswith("Module 'lq_broken' cannot be imported (")
    assert "lq_broken.py" in str(caught.value)
    assert expected in str(caught.value)


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("q.conf.beat_schedule = {'aa': {'task': 'lq.t', 'schedule': 3}}", "beat_schedule['aa']: The argum"),
        ("q.conf.beat_schedule['aa'] = {'task': 'lq.t', 'schedule': 'hourly'}", "beat_schedule['aa']: "),
        ("q.add_periodic_task(3, t.s())", "The arguments do not fit task lq.t"),
        ("q.add_periodic_task('61 * * * *', t.s(1))", "61"),
        ("q.add_periodic_task(3, t.s(1), timezone='Nowhere')", "Nowhere"),
        ("crontab(hour=47)", "47"),
    ],
)
def test_a_mistake_in_a_declaration_is_told_with_the_users_own_line(
    tmp_path: Path, line: str, expected: str
) -> None:
    text = "from liteq import Queue, crontab\nq = Queue('memory://')\n@q.task(name='lq.t')\ndef t(x): ...\n"
    with pytest.raises(WorkerError) as caught:
        import_tasks([write(tmp_path, "lq_broken", text + line)])
    place = f"({tmp_path / 'lq_broken.py'}, line 5): "
    assert str(caught.value).startswith(f"Module 'lq_broken' cannot be imported {place}")
    assert expected in str(caught.value)


def test_a_module_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(WorkerError, match="'lq_absent' cannot be imported"):
        import_tasks([TaskModule("lq_absent", str(tmp_path), str(tmp_path))])


def test_a_module_that_starts_work_when_imported_is_told_about_the_guard(tmp_path: Path) -> None:
    text = "from liteq.app.guard import refuse_while_importing\nrefuse_while_importing('delay()')"
    with pytest.raises(ImportGuardError, match="__main__"):
        import_tasks([write(tmp_path, "lq_eager", text)])


def test_an_application_is_found_in_the_working_directory(tmp_path: Path) -> None:
    write(tmp_path, "lq_app", f"from {__name__} import App\nq = App()\nsame = q")
    assert load_app("lq_app", App) is sys.modules["lq_app"].q


def test_an_application_is_found_by_its_attribute(tmp_path: Path) -> None:
    write(tmp_path, "lq_app", f"from {__name__} import App\none, two = App(), App()")
    assert load_app("lq_app:two", App) is sys.modules["lq_app"].two


@pytest.mark.parametrize(
    ("target", "text", "expected"),
    [
        ("lq_app", "one, two = App(), App()", "more than one App.*lq_app:one, lq_app:two"),
        ("lq_app", "x = 1", "no application .App or Celery object. in lq_app; name the module"),
        ("lq_app:three", "one = App()", "there is lq_app:one"),
        ("lq_app:three", "three = 3", "none under 'three'"),
    ],
)
def test_an_unclear_application_is_refused_with_the_choices(
    tmp_path: Path, target: str, text: str, expected: str
) -> None:
    write(tmp_path, "lq_app", f"from {__name__} import App\n{text}")
    with pytest.raises(WorkerError, match=expected):
        load_app(target, App)


# ---- applications that stand for a queue, and where Celery looks -------------------------------------


class Standing:
    """Stands for an `App`, as `liteq.celery.Celery` does for a queue."""

    def __init__(self, app: App) -> None:
        self.app = app

    def __liteq_queue__(self) -> App:
        return self.app


def test_what_stands_for_an_application_is_one(tmp_path: Path) -> None:
    write(tmp_path, "lq_standing", "from test_imports import App, Standing\ncel = Standing(App())")
    found = load_app("lq_standing", App)
    assert sys.modules["lq_standing"].cel.app is found


def test_a_package_may_have_its_application_in_a_module_called_celery(tmp_path: Path) -> None:
    package = tmp_path / "lq_proj"
    package.mkdir()
    (package / "__init__.py").write_text("")
    write(package, "celery", "from test_imports import App\nanything = App()")
    found = load_app("lq_proj", App)
    assert sys.modules["lq_proj.celery"].anything is found
    assert load_app("lq_proj.celery.anything", App) is found
    assert load_app("lq_proj.celery:anything", App) is found


@pytest.mark.parametrize("usual", ["app", "celery"])
def test_of_several_applications_the_one_with_the_usual_name_is_meant(tmp_path: Path, usual: str) -> None:
    write(tmp_path, f"lq_{usual}", f"from test_imports import App\nfirst = App()\n{usual} = App()")
    assert load_app(f"lq_{usual}", App) is getattr(sys.modules[f"lq_{usual}"], usual)


def test_an_application_that_cannot_be_made_ready_says_where_and_why(tmp_path: Path) -> None:
    text = """\
        class Broken:
            def __liteq_queue__(self):
                return 1 / 0
        app = Broken()
    """
    write(tmp_path, "lq_unready", textwrap.dedent(text))
    with pytest.raises(WorkerError, match=r"cannot be used \(.*lq_unready.py, line 3\): ZeroDivisionError"):
        load_app("lq_unready", App)
