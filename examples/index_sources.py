"""Index every Python source file of the standard library, with four worker processes.

    python examples/index_sources.py

One job for each file: count its lines, tokens and names, and hash it. The queue is the file
`index_sources.db` in the current folder, and so is the index: the results are kept in it. Stop the
program whenever you like, with Ctrl-C or even `kill -9`, and start it again: files that are done are not
read again, unless they have changed. `--check` does the same work in a plain loop and compares. `--pool`
and `--queue` let the same program run on every pool and transport, as in `--pool threads` or
`--queue memory://`.
"""

from __future__ import annotations

import argparse
import hashlib
import io
import os
import sys
import sysconfig
import time
import tokenize
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from liteq import AsyncResult, LiteqError, Queue, register_type

TRACE = "INDEX_SOURCES_TRACE"

# The results are the index, so they are kept for ever (and not for a day, the default).
q = Queue("index_sources.db", result_expires=None)


# Registered, so that a result that is a Counts comes back as a Counts.
@register_type
@dataclass(frozen=True)
class Counts:
    """What the index says about one file."""

    size: int
    lines: int
    tokens: int
    names: int
    digest: str


@q.task
def index_file(path: str) -> Counts:
    """Read one file and count what is in it. This is what the workers run."""
    if TRACE in os.environ:
        note_attempt(os.environ[TRACE], path)
    source = Path(path).read_bytes()
    tokens = names = 0
    try:
        for token in tokenize.tokenize(io.BytesIO(source).readline):
            tokens += 1
            names += token.type == tokenize.NAME
    except (SyntaxError, tokenize.TokenError):
        # The library's own tests have files that are broken on purpose; they count up to the error.
        pass
    return Counts(len(source), len(source.splitlines()), tokens, names, hashlib.sha256(source).hexdigest())


def note_attempt(trace: str, path: str) -> None:
    """Append a line about this attempt: process, CPU seconds that it has used so far, file."""
    with Path(trace).open("a", encoding="utf-8") as file:
        file.write(f"{os.getpid()}\t{time.process_time():.6f}\t{path}\n")


def find_sources(root: Path) -> list[Path]:
    """List the Python files under a folder, leaving out packages that were installed into it."""
    installed = {"site-packages", "dist-packages"}
    found = (path for path in root.rglob("*.py") if installed.isdisjoint(path.relative_to(root).parts))
    return sorted(path for path in found if path.is_file())


def job_id(path: Path) -> str:
    """Name the job of a file: the same for as long as the answer would be the same."""
    about = path.stat()
    facts = (path, about.st_size, about.st_mtime_ns, sys.implementation.cache_tag)
    return f"index:{path.name[:80]}:{hashlib.sha256(repr(facts).encode()).hexdigest()[:32]}"


def summarize(index: Mapping[Path, Counts]) -> str:
    """Say what all files have together. The order in which they were indexed makes no difference."""
    every = index.values()
    digest = hashlib.sha256()
    for path in sorted(index):
        digest.update(f"{path} {index[path].digest}\n".encode())
    return (
        f"{len(index):,} files, {sum(each.size for each in every):,} bytes, "
        f"{sum(each.lines for each in every):,} lines, {sum(each.tokens for each in every):,} tokens, "
        f"{sum(each.names for each in every):,} names\n"
        f"digest {digest.hexdigest()}"
    )


def show_progress(what: str, done: int, total: int) -> None:
    """Show how far it is: in place on a terminal, else a line for every tenth of the way."""
    if sys.stdout.isatty():
        print(f"\r{what}: {done:,} of {total:,} files", end="\n" if done == total else "", flush=True)
    elif done == total or done * 10 // total > (done - 1) * 10 // total:
        print(f"{what}: {done:,} of {total:,} files", flush=True)


def index_with_workers(
    queue: Queue, sources: Sequence[Path], workers: int, pool: str | None, fresh: bool
) -> dict[Path, Counts]:
    """Index files with workers, and return what each of them found."""
    # The same task on the file that was asked for.
    index = queue.task(index_file.fn)
    results: dict[Path, AsyncResult[Counts]] = {path: queue.AsyncResult(job_id(path)) for path in sources}
    todo = [path for path, result in results.items() if fresh or not result.successful()]
    print(f"{len(sources):,} files: {len(sources) - len(todo):,} are done, {len(todo):,} to do", flush=True)
    # A job that still waits from last time is not stored twice, because its id is the same.
    queue.enqueue_many(index.s(str(path)).set(task_id=results[path].id) for path in todo)
    found: dict[Path, Counts] = {}
    with queue.start_workers(workers, pool=pool):
        for number, (path, result) in enumerate(results.items(), 1):
            outcome = result.get(propagate=False)
            if isinstance(outcome, Counts):
                found[path] = outcome
            else:
                print(f"\n{path} failed: {outcome!r}", file=sys.stderr)
            show_progress("indexed", number, len(sources))
    return found


def index_in_a_loop(sources: Sequence[Path]) -> dict[Path, Counts]:
    """Index files one after the other, with no queue involved: calling a task is a plain call."""
    found: dict[Path, Counts] = {}
    for path in sources:
        found[path] = index_file(str(path))
        show_progress("checked", len(found), len(sources))
    return found


def parse_arguments() -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(description="Index Python source files with worker processes.")
    library = sysconfig.get_paths()["stdlib"]
    parser.add_argument("--root", default=library, metavar="DIR", help="index this folder (%(default)s)")
    parser.add_argument("--queue", default=q.url, metavar="URL", help="the queue (%(default)s)")
    parser.add_argument("--workers", type=int, metavar="N", help="how many at once (4, or 1 for solo)")
    parser.add_argument("--pool", metavar="NAME", help="how: processes, threads, asyncio, gevent, solo ...")
    parser.add_argument("--fresh", action="store_true", help="index again what is done already")
    parser.add_argument("--check", action="store_true", help="prove the totals with a plain loop")
    parser.add_argument("--trace", metavar="FILE", help="append a line to this file for each attempt")
    return parser.parse_args()


def run(options: argparse.Namespace) -> str | None:
    """Do what the command line says; return what went wrong, if anything did."""
    root = Path(options.root).resolve()
    sources = find_sources(root)
    if not sources:
        return f"There is no Python file under {root}; name another folder with --root."
    if options.trace:
        os.environ[TRACE] = str(Path(options.trace).absolute())  # worker processes inherit it
    with Queue(options.queue, result_expires=None) as queue:
        workers = options.workers or (1 if options.pool == "solo" else 4)
        found = index_with_workers(queue, sources, workers, options.pool, options.fresh)
    if failed := len(sources) - len(found):
        return f"{failed:,} files could not be indexed; the same command tries them again."
    totals = summarize(found)
    print(totals)
    if options.check:
        os.environ.pop(TRACE, None)
        if (expected := summarize(index_in_a_loop(sources))) != totals:
            return f"The check failed: a plain loop over the same files gives\n{expected}"
        print("The check holds: a plain loop over the same files gives the same totals.")
    return None


def main() -> str | None:
    """Run the program; what it returns is printed on standard error, and the exit status is then 1."""
    try:
        return run(parse_arguments())
    except KeyboardInterrupt:
        return "\nStopped. What is done is kept; the same command goes on from there."
    except (LiteqError, OSError) as error:
        return str(error)


# Workers import this module for its task; without this line each of them would run the program again.
if __name__ == "__main__":
    sys.exit(main())
