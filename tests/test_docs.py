"""The code in README.md and docs/ runs as it is printed, and leaves no option undocumented.

A page is worked through from top to bottom in a folder of its own. What a fence does is said in the
comment right before it, which readers do not see:

- a `python` fence is added to the page's script, `<page>.py`, which runs when the page ends;
- a `python` (or any other) fence after `<!-- file: name -->` is saved under that name instead;
- a `console` fence is run when it is reached: each line that starts with `$ ` is a command, and the
  lines under it must appear in its output in that order (`...` stands for anything);
- a fence after `<!-- not run: why -->` is only checked for syntax.
"""

from __future__ import annotations

import ast
import inspect
import os
import re
import shlex
import subprocess
import sys
import sysconfig
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import click
import pytest

import liteq
from liteq.app.conf import TaskOptions
from liteq.calls.options import CallOptions
from liteq.calls.policies import PolicyOptions
from liteq.cli.main import main
from liteq.lifecycle import Event
from liteq.states import State

ROOT = Path(__file__).parent.parent
PAGES = [
    page
    for page in [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").rglob("*.md"))]
    if "_build" not in page.parts
]
RUN = {"python", "console"}
SHELLS = {"bash", "sh", "shell", "zsh", "bat", "powershell", "doscon", "pycon"}
SECONDS = 60

SHOP_QUEUE = "SHOP_QUEUE"
"""Names the URL of a server, for pages that need one."""

FENCE = re.compile(
    r"(?:^<!-- (?P<verb>[a-z ]+): (?P<argument>[^\n]+?) -->\n)?"
    r"^```(?P<language>\w+)[^\n]*\n(?P<text>.*?)^```$",
    re.MULTILINE | re.DOTALL,
)


@dataclass(frozen=True)
class Fence:
    """A block of code on a page, and what its comment says about it."""

    language: str
    text: str
    line: int
    verb: str | None
    argument: str | None

    def problem(self) -> str | None:
        """Say what is wrong with it before anything runs; None if nothing is."""
        if self.verb not in {None, "file", "not run"}:
            return f"unknown comment {self.verb!r}"
        if self.language in SHELLS and self.verb != "not run":
            return f"write `console` instead of `{self.language}`, or say why it is not run"
        if self.language == "console" and not self.text.startswith("$ "):
            return "a console block starts with a command: `$ ...`"
        if self.language == "python":
            try:
                ast.parse(self.text)
            except SyntaxError as error:
                return f"not Python: {error}"
        return None


def fences(text: str) -> Iterator[Fence]:
    """Yield the fenced blocks of a page, in order."""
    for match in FENCE.finditer(text):
        line = text.count("\n", 0, match.start("text"))
        yield Fence(match["language"], match["text"], line, match["verb"], match["argument"])


def commands(text: str) -> Iterator[tuple[list[str], list[str]]]:
    """Yield the commands of a console block, each with the output lines that are printed under it."""
    for part in re.split(r"^\$ ", text, flags=re.MULTILINE)[1:]:
        command, *output = part.replace("\\\n", " ").splitlines()
        yield shlex.split(command, comments=True), [line for line in output if line.strip()]


def missing_line(expected: list[str], output: str) -> str | None:
    """Return the first expected line that does not come in its order; None if all do."""
    lines = iter(output.splitlines())
    for wanted in expected:
        if wanted.strip() == "...":
            # Any number of lines, none too: two processes may print in either order.
            continue
        pattern = re.compile(".*".join(re.escape(piece) for piece in wanted.strip().split("...")))
        if not any(pattern.fullmatch(line.strip()) for line in lines):
            return wanted
    return None


@dataclass
class Walk:
    """One walk through a page, in a folder of its own."""

    folder: Path
    page: str
    script: list[str] = field(default_factory=list)

    def through(self, text: str) -> None:
        """Do what every block of the page says, then run the page's own script."""
        for fence in fences(text):
            problem = fence.problem()
            assert problem is None, f"{self.page}, line {fence.line}: {problem}"
            if fence.verb == "not run":
                continue
            if fence.verb == "file":
                self.save(str(fence.argument), fence.text)
            elif fence.language == "python":
                # Blank lines keep the line numbers of a traceback those of the page.
                written = "".join(self.script).count("\n")
                self.script.append("\n" * (fence.line - written) + fence.text)
            elif fence.language == "console":
                self.type_in(fence)
        if self.script:
            name = f"{Path(self.page).stem.lower().replace('-', '_')}.py"
            self.save(name, "".join(self.script))
            self.run([sys.executable, name])

    def save(self, name: str, text: str) -> None:
        path = self.folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")

    def type_in(self, fence: Fence) -> None:
        for command, expected in commands(fence.text):
            output = self.run([find_program(command[0]), *command[1:]])
            missing = missing_line(expected, output)
            place = f"{self.page}, line {fence.line}"
            assert missing is None, (
                f"{place}: `{shlex.join(command)}` did not print {missing!r}, but:\n{output}"
            )

    def run(self, command: list[str]) -> str:
        finished = subprocess.run(
            command,
            cwd=self.folder,
            env={**os.environ, "PYTHONUTF8": "1"},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            encoding="utf-8",
            timeout=SECONDS,
            check=False,
        )
        assert finished.returncode == 0, (
            f"{self.page}: {shlex.join(command)} ended with {finished.returncode}:\n{finished.stdout}"
        )
        return finished.stdout


def find_program(name: str) -> str:
    """Return what a command's first word means here: this interpreter, or a script installed beside it."""
    if name == "python":
        return sys.executable
    suffix = ".exe" if sys.platform == "win32" else ""
    program = Path(sysconfig.get_path("scripts")) / f"{name}{suffix}"
    assert program.exists(), f"no program {name!r} is installed beside this interpreter"
    return str(program)


def page_name(page: Path) -> str:
    return page.relative_to(ROOT).as_posix()


def runs(page: Path) -> bool:
    found = fences(page.read_text(encoding="utf-8"))
    return any(fence.language in RUN and fence.verb != "not run" for fence in found)


@pytest.mark.parametrize("page", [page for page in PAGES if runs(page)], ids=page_name)
def test_the_code_on_the_page_runs(
    page: Path, tmp_path: Path, request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch
):
    text = page.read_text(encoding="utf-8")
    if SHOP_QUEUE in text:
        monkeypatch.setenv(SHOP_QUEUE, request.getfixturevalue("redis_url"))
    Walk(tmp_path, page_name(page)).through(text)


@pytest.mark.parametrize("page", PAGES, ids=page_name)
def test_every_block_is_run_or_says_why_not(page: Path):
    problems = {fence.line: fence.problem() for fence in fences(page.read_text(encoding="utf-8"))}

    assert {line: problem for line, problem in problems.items() if problem} == {}


@pytest.mark.parametrize("page", PAGES, ids=page_name)
def test_no_block_is_indented_out_of_sight(page: Path):
    assert re.findall(r"^[ \t]+```\w+", page.read_text("utf-8"), re.MULTILINE) == []


@pytest.mark.parametrize("page", PAGES, ids=page_name)
def test_nobody_is_told_to_install_another_project(page: Path):
    assert not re.search(
        r"(?:pip|uv|poetry)[^\n`]*\b(?:install|add)\s+liteq(?!-queue)\b", page.read_text("utf-8")
    )


def text_of(page: str) -> str:
    return (ROOT / "docs" / page).read_text(encoding="utf-8")


def undocumented(names: Iterable[str], page: str) -> list[str]:
    """Return the names that a page never shows as code."""
    text = text_of(page)
    return [name for name in names if f"`{name}`" not in text]


def test_every_option_of_a_task_is_documented():
    assert undocumented([*TaskOptions.__annotations__, "bind"], "guides/tasks.md") == []


def test_every_option_of_a_call_is_documented():
    assert undocumented(CallOptions.__annotations__, "guides/tasks.md") == []


def test_every_policy_of_a_schedule_is_documented():
    assert undocumented(PolicyOptions.__annotations__, "guides/schedules.md") == []


def test_every_setting_of_a_queue_is_documented():
    settings = [
        name
        for name, parameter in inspect.signature(liteq.Queue).parameters.items()
        if parameter.kind is parameter.KEYWORD_ONLY
    ]
    assert settings
    assert undocumented(settings, "guides/tasks.md") == []


def test_every_state_and_event_is_explained():
    assert undocumented([state.value for state in State], "lifecycle.md") == []
    assert [event for event in Event if f"\n| {event} | " not in text_of("lifecycle.md")] == []


def test_every_command_and_option_is_documented():
    text = text_of("guides/workers.md")
    missing = []
    for words, command in commands_of(main):
        if f"`{' '.join(words)}`" not in text:
            missing.append(" ".join(words))
        for parameter in command.params:
            spellings = {*parameter.opts, *parameter.secondary_opts}
            if isinstance(parameter, click.Option) and not parameter.hidden:
                missing += [] if any(name in text for name in spellings) else [f"{words}: {parameter.opts}"]
    assert missing == []


def commands_of(
    command: click.Command, words: tuple[str, ...] = ("liteq",)
) -> Iterator[tuple[tuple[str, ...], click.Command]]:
    """Yield a command's subcommands, and theirs, with the words that call them."""
    if isinstance(command, click.Group):
        context = click.Context(command)
        for name in command.list_commands(context):
            found = command.get_command(context, name)
            assert found is not None
            if not found.hidden:
                yield (*words, name), found
                yield from commands_of(found, (*words, name))


def test_a_page_whose_script_fails_is_found(tmp_path: Path):
    with pytest.raises(AssertionError, match="ZeroDivisionError"):
        Walk(tmp_path, "page.md").through("Text.\n\n```python\n1 / 0\n```\n")


def test_blocks_of_a_page_are_one_script_with_the_line_numbers_of_the_page(tmp_path: Path):
    with pytest.raises(AssertionError, match=r'page\.py", line 6'):
        Walk(tmp_path, "page.md").through("```python\nx = 0\n```\n\n```python\n1 / x\n```\n")


def test_a_saved_file_can_be_imported_by_the_script_of_its_page(tmp_path: Path):
    saved = "<!-- file: tasks.py -->\n```python\nx = 1\n```\n"
    script = "```python\nimport tasks\nassert tasks.x == 1\n```\n"

    Walk(tmp_path, "page.md").through(f"{saved}\n{script}")

    assert (tmp_path / "tasks.py").read_text() == "x = 1\n"


def test_a_command_that_prints_something_else_is_found(tmp_path: Path):
    page = "```console\n$ python -c 'print(1 + 1)'\n{}\n```\n"

    Walk(tmp_path, "page.md").through(page.format("2"))
    with pytest.raises(AssertionError, match="did not print '3'"):
        Walk(tmp_path, "page.md").through(page.format("3"))


def test_output_is_compared_in_order_with_dots_for_anything():
    assert missing_line(["a ... z", "end"], "start\na b z\nend") is None
    assert missing_line(["end", "start"], "start\nend") == "start"


def test_a_block_marked_not_run_is_not_run_but_must_be_python(tmp_path: Path):
    Walk(tmp_path, "page.md").through("<!-- not run: it fails -->\n```python\n1 / 0\n```\n")
    with pytest.raises(AssertionError, match="not Python"):
        Walk(tmp_path, "page.md").through("<!-- not run: it fails -->\n```python\n1 /\n```\n")


@pytest.mark.parametrize(
    "page",
    ["```sh\nls\n```\n", "<!-- skip: reasons -->\n```python\n1\n```\n", "```console\nls\n```\n"],
    ids=["a shell block", "an unknown comment", "a console block without a prompt"],
)
def test_a_block_that_would_be_passed_over_is_refused(page: str):
    assert [fence.problem() for fence in fences(page)] != [None]
