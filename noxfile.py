"""What `nox` runs: tests on every interpreter found, lint, types, docs, long proofs and benchmarks.

Run `nox` for everything but the benchmarks and the long proofs, `nox -s tests` for one session, `nox -l`
for the list.
"""

from __future__ import annotations

from pathlib import Path

import nox

nox.needs_version = ">=2024.4"
nox.options.default_venv_backend = "venv"
nox.options.error_on_missing_interpreters = False
nox.options.reuse_existing_virtualenvs = True
nox.options.sessions = ["lint", "types", "docs", "tests"]

INTERPRETERS = ["3.11", "3.12", "3.13"]


@nox.session(python=INTERPRETERS)
def tests(session: nox.Session) -> None:
    """Run the test suite; arguments after `--` go to pytest."""
    session.install("-e", ".[test]")
    session.run("python", "-m", "pytest", "-n", "auto", *session.posargs)


@nox.session
def lint(session: nox.Session) -> None:
    """Check style and formatting with ruff; `nox -s lint -- --fix` mends what can be mended."""
    session.install("-e", ".[lint]")
    if "--fix" in session.posargs:
        session.run("ruff", "check", "--fix")
        session.run("ruff", "format")
        return
    session.run("ruff", "check")
    session.run("ruff", "format", "--check")


@nox.session
def types(session: nox.Session) -> None:
    """Check the types of the library and of the examples."""
    session.install("-e", ".[lint]")
    session.run("mypy", "--strict", "liteq", "examples")


@nox.session
def docs(session: nox.Session) -> None:
    """Build the documentation into docs/_build/html; a warning is an error."""
    session.install("-e", ".[docs]")
    session.run("sphinx-build", "-W", "--keep-going", "-b", "html", "docs", "docs/_build/html")


@nox.session
def bench(session: nox.Session) -> None:
    """Print this machine's figures; arguments after `--` go to `liteq bench`."""
    session.install("-e", ".")
    session.run("liteq", "bench", *session.posargs)


@nox.session
def chaos(session: nox.Session) -> None:
    """Prove the guarantees at full length, for hours; arguments after `--` go to `python -m chaos`."""
    session.install("-e", ".[test]")
    session.run("python", "-m", "chaos", *session.posargs, env={"PYTHONPATH": str(Path("tests").absolute())})


@nox.session
def hosts(session: nox.Session) -> None:
    """Let hosts lose each other and their Redis server (Linux, as root); `-- NAME` plays one scenario."""
    session.install("-e", ".[test]")
    session.run("python", "-m", "hosts", *session.posargs, env={"PYTHONPATH": str(Path("tests").absolute())})


@nox.session(name="bench-peers")
def bench_peers(session: nox.Session) -> None:
    """Measure liteq beside other queues; arguments after `--` are its options (`-- --help` lists them)."""
    # Each peer has an environment of its own below this session's, and none can spoil another one's.
    environments = Path(session.virtualenv.location, "peers").absolute()
    session.run(
        "python",
        "-m",
        "peers.run",
        "--environments",
        str(environments),
        *session.posargs,
        env={"PYTHONPATH": str(Path("tests").absolute())},
    )
