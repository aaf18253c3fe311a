"""Who may use a queue: the modes of its files, and what is refused where somebody else has put it."""

from __future__ import annotations

import json
import os
import shutil
import sqlite3
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import users
from programs import Program

from liteq import Queue
from liteq.errors import StoreError, StoreUnavailableError
from liteq.job import NewJob, WorkerInfo
from liteq.transports.local.slot import read_slot
from liteq.transports.sqlite.bell import ring
from liteq.transports.sqlite.place import is_private
from liteq.transports.sqlite.transport import SqliteTransport

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="there, folders say who may use a file")
root_only = pytest.mark.skipif(
    not hasattr(os, "geteuid") or os.geteuid() != 0, reason="only root can become other users"
)

PRIVATE = {"file": 0o600, "folder": 0o700}
SHARED = {"file": 0o660, "folder": 0o770}


def modes_below(folder: Path) -> dict[str, int]:
    """Return the mode of everything that belongs to a queue in a folder, but for the sticky group bit."""
    found = [path for path in folder.rglob("*") if path.relative_to(folder).parts[0].startswith("queue.db")]
    return {path.name: path.lstat().st_mode & 0o5777 for path in found}


def expected(names: dict[str, int], modes: dict[str, int]) -> dict[str, int]:
    return {name: modes["folder" if name == "queue.db.liteq" else "file"] for name in names}


# ---- modes ---------------------------------------------------------------------------------------------

APP = """
    import sys
    from liteq import Queue

    q = Queue({path!r}, file_mode={mode})

    @q.task
    def noop():
        pass

    if __name__ == "__main__":
        listener = q.transport.listen_for_jobs()
        noop.delay()
        with q.start_workers(1):
            noop.delay().get(timeout=20)
            folder = q.transport.path.parent
            found = [*folder.glob("queue.db*"), *folder.glob("queue.db.liteq/*")]
            print({{f"{{e.name.partition('-')[0]}} {{e.lstat().st_mode & 0o777:o}}" for e in found}})
        listener.close()
"""


@pytest.mark.parametrize("umask", [0, 0o022, 0o077, 0o777], ids=oct)
@pytest.mark.parametrize("mode", [0o600, 0o660], ids=oct)
def test_files_have_the_mode_that_was_asked_for_whatever_the_umask(
    program: Program, umask: int, mode: int
) -> None:
    if umask == 0o777 and os.geteuid() != 0:
        pytest.skip("Python could not write its own caches")
    folder = program.folder / "data"
    folder.mkdir()
    script = program.write("app", APP.format(path=str(folder / "queue.db"), mode=mode))
    done = subprocess.run(
        [sys.executable, str(script)], umask=umask, capture_output=True, text=True, timeout=60, check=False
    )
    assert done.returncode == 0, done.stderr
    kinds = {line.rpartition(" ")[0]: line.rpartition(" ")[2] for line in eval(done.stdout)}
    assert {"queue.db", "queue.db.liteq", "bell", "bells", "life", "slot", "turnstile", "lead"} <= set(kinds)
    assert set(kinds.values()) == {f"{mode:o}", "770" if mode == 0o660 else "700"}
    names = modes_below(folder)
    assert names == expected(names, SHARED if mode == 0o660 else PRIVATE)


@pytest.mark.parametrize("mode", [0o600, 0o660], ids=oct)
@pytest.mark.parametrize(
    "words",
    [
        ("worker", "queue.db", "--drain", "-c", "1", "-A", "later"),
        ("call", "queue.db", "later.noop"),
        ("doctor", "queue.db"),
        ("inspect", "queue.db"),
    ],
    ids=lambda words: words[0],
)
def test_every_command_makes_side_files_that_go_with_the_file(
    program: Program, words: tuple[str, ...], mode: int
) -> None:
    program.write("later", "from liteq import Queue\nq = Queue('queue.db')\n@q.task\ndef noop(): pass\n")
    path = program.folder / "queue.db"
    with Queue(path, file_mode=mode) as q:
        q.transport.count()
    shutil.rmtree(program.folder / "queue.db.liteq")
    done = subprocess.run(
        [sys.executable, "-m", "liteq", *words],
        cwd=program.folder,
        umask=0,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert "Traceback" not in done.stderr
    names = modes_below(program.folder)
    assert "queue.db.liteq" in names
    assert names == expected(names, SHARED if mode == 0o660 else PRIVATE)


def test_a_file_that_is_shared_or_closed_later_takes_its_side_files_along(tmp_path: Path) -> None:
    path = tmp_path / "queue.db"
    for mode, modes in [(0o600, PRIVATE), (0o660, SHARED), (0o600, PRIVATE)]:
        if path.exists():
            path.chmod(mode)
        with SqliteTransport(path) as transport:
            transport.enqueue([NewJob("id", "task", b"payload")], 0.0)
            with transport.lead():
                pass
            names = modes_below(tmp_path)
        # A lock that this opening had no use for keeps its mode until somebody needs it.
        names.pop("migration", None)
        assert names == expected(names, modes)


def test_the_mode_of_a_file_that_is_there_is_not_changed(tmp_path: Path) -> None:
    path = tmp_path / "queue.db"
    SqliteTransport(path).close()
    with SqliteTransport(path, file_mode=0o660) as transport:
        transport.count()
        assert set(modes_below(tmp_path).values()) == {0o600, 0o700}


def test_a_users_own_connection_makes_no_file_that_others_may_read(tmp_path: Path) -> None:
    path = tmp_path / "queue.db"
    with Queue(path) as q:
        noop = q.task(name="noop")(lambda: None)
        q.transport.count()
        q.close()
        before = os.umask(0)
        try:
            own = sqlite3.connect(path)
            noop.using(own).delay()
            own.commit()
            names = modes_below(tmp_path)
            own.close()
        finally:
            os.umask(before)
    assert {"queue.db-wal", "queue.db-shm"} <= names.keys()
    assert names == expected(names, PRIVATE)


@pytest.fixture
def common() -> Iterator[Path]:
    """A folder that belongs to a group, in a place that every user can reach."""
    folder = Path(tempfile.mkdtemp(prefix="liteq-shared-"))
    os.chown(folder, 0, users.GROUP)
    folder.chmod(0o2771)
    yield folder
    shutil.rmtree(folder)


@root_only
def test_a_group_shares_a_queue_and_nobody_else_can_use_it(common: Path) -> None:
    done = subprocess.run(
        [sys.executable, users.__file__, str(common)],
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    said = json.loads(done.stdout)
    first, second = users.FIRST[0], users.SECOND[0]
    of_first, of_second, (again, shown) = said["share"]["both"]
    # The second user's worker ran the first one's job as well, while both had the file open.
    assert (of_first, of_second, again) == (second, second, first)
    assert said["share"]["second again"][0] == second
    assert said["share"]["outsider"].startswith("StoreUnavailableError: ")
    assert said["share"]["outsider, by hand"] is False
    assert_modes(shown, f"660 {users.GROUP}", f"2770 {users.GROUP}")
    for umask in ("0", "777", "277"):
        ran, shown = said[umask]
        assert ran == first
        assert_modes(shown, f"600 {users.GROUP}", f"700 {users.GROUP}")
        ran, shown = said[f"{umask} shared"]
        assert_modes(shown, f"660 {users.GROUP}", f"2770 {users.GROUP}")


def assert_modes(shown: dict[str, str], file: str, folder: str) -> None:
    assert {"bells", "turnstile", "lead", "migration", "slot-7", "bell-0"} <= shown.keys()
    for name, mode in shown.items():
        wanted = folder if name.endswith(".liteq") else file
        # The sticky bit of the folder around it is inherited even where nothing is shared.
        assert mode in (wanted, wanted.replace("700 ", "2700 ")), name


@root_only
def test_what_root_makes_beside_somebody_elses_queue_is_theirs(tmp_path: Path) -> None:
    path = tmp_path / "queue.db"
    SqliteTransport(path).close()
    shutil.rmtree(tmp_path / "queue.db.liteq")
    for each in (tmp_path, path):
        os.chown(each, *users.FIRST)
    with SqliteTransport(path) as transport:
        transport.listen_for_jobs().close()
        transport.enqueue([NewJob("id", "task", b"payload")], 0.0)
        owners = {(each.lstat().st_uid, each.lstat().st_gid) for each in tmp_path.rglob("*")}
    assert owners == {users.FIRST}


# ---- what others have put there --------------------------------------------------------------------------


def plant_link(place: Path, victim: Path) -> None:
    place.symlink_to(victim)


def plant_dangling_link(place: Path, victim: Path) -> None:
    place.symlink_to(victim.with_name("not there"))


def plant_second_name(place: Path, victim: Path) -> None:
    place.hardlink_to(victim)


def plant_pipe(place: Path, victim: Path) -> None:
    os.mkfifo(place)


def plant_folder(place: Path, victim: Path) -> None:
    place.mkdir()


PLANTS = [plant_link, plant_dangling_link, plant_second_name, plant_pipe, plant_folder]


def use(path: Path, name: str) -> None:
    """Do what opens this side file."""
    with SqliteTransport(path) as transport:
        if name == "lead":
            with transport.lead():
                pass
        elif name == "slot-1":
            transport.slot(1)


@pytest.mark.parametrize("name", ["turnstile", "bells", "lead", "slot-1", "migration"])
@pytest.mark.parametrize("plant", PLANTS)
def test_a_side_file_that_is_no_file_of_its_own_is_refused_and_not_touched(
    tmp_path: Path, name: str, plant: Any
) -> None:
    path, victim = tmp_path / "queue.db", tmp_path / "victim"
    SqliteTransport(path).close()
    victim.write_text("precious")
    victim.chmod(0o640)
    place = tmp_path / "queue.db.liteq" / name
    place.unlink(missing_ok=True)
    plant(place, victim)
    if name == "migration":
        path.unlink()
    with pytest.raises(StoreUnavailableError, match=r"remove it|cannot be opened"):
        use(path, name)
    assert victim.read_text() == "precious"
    assert victim.stat().st_mode & 0o777 == 0o640
    assert not victim.with_name("not there").exists()


@pytest.mark.parametrize("plant", PLANTS)
def test_a_lock_of_the_bells_that_is_no_file_of_its_own_costs_the_bell_and_is_not_touched(
    tmp_path: Path, plant: Any
) -> None:
    victim = tmp_path / "victim"
    victim.write_text("precious")
    with SqliteTransport(tmp_path / "queue.db") as transport:
        plant(tmp_path / "queue.db.liteq" / "bells-lock", victim)
        listener = transport.listen_for_jobs()
        listener.arm()
        assert listener.wait(0.01) is False
        listener.close()
    assert victim.read_text() == "precious"


@pytest.mark.parametrize("plant", PLANTS)
def test_a_bell_that_is_no_pipe_of_its_own_is_passed_by(tmp_path: Path, plant: Any) -> None:
    path, victim = tmp_path / "queue.db", tmp_path / "victim"
    with SqliteTransport(path) as transport:
        victim.write_text("precious")
        place = tmp_path / "queue.db.liteq" / "bell-0"
        if plant is plant_pipe:
            other = tmp_path / "another pipe"
            os.mkfifo(other)
            place.hardlink_to(other)
        else:
            plant(place, victim)
        assert ring(place, 0) is False
        listener = transport.listen_for_jobs()
        listener.arm()
        with SqliteTransport(path) as producer:
            producer.enqueue([NewJob("id", "task", b"payload")], 0.0)
        assert listener.wait(10.0)
        listener.close()
    assert victim.read_text() == "precious"


@pytest.mark.parametrize("plant", PLANTS)
def test_a_slot_that_is_no_file_of_its_own_is_read_as_none(tmp_path: Path, plant: Any) -> None:
    victim = tmp_path / "victim"
    victim.write_bytes(b"\1" * 32)
    plant(tmp_path / "slot-1", victim)
    running = read_slot(tmp_path / "slot-1")
    # A second name leads to what its owner wrote; it is only read, and says what it says.
    assert (running is None) == (plant is not plant_second_name)


@pytest.mark.parametrize("size", [0, 31, 33, 100_001])
def test_a_slot_of_a_wrong_size_says_nothing_and_is_put_right_by_its_owner(tmp_path: Path, size: int) -> None:
    path = tmp_path / "queue.db"
    with SqliteTransport(path) as transport:
        place = tmp_path / "queue.db.liteq" / "slot-1"
        place.write_bytes(b"\1" * size)
        assert read_slot(place) is None
        slot = transport.slot(1)
        slot.begin(3, 4, None)
        running = transport.running(1)
        assert running is not None
        assert (running.seq, running.token) == (3, 4)
        slot.close()


@pytest.mark.parametrize("plant", PLANTS)
def test_a_life_that_is_no_file_of_its_own_proves_no_death_and_harms_nobody(
    tmp_path: Path, plant: Any
) -> None:
    path, victim = tmp_path / "queue.db", tmp_path / "victim"
    victim.write_text("precious")
    with SqliteTransport(path) as transport:
        holder = transport.register(WorkerInfo("w", "host", 1, 1), 60.0, 0.0)
        [place] = (tmp_path / "queue.db.liteq").glob("life-*")
        place.unlink()
        plant(place, victim)
        [record] = transport.workers()
        assert (record.holder, record.alive) == (
            holder,
            None if plant in (PLANTS[0], PLANTS[1], PLANTS[4]) else False,
        )
        transport.tend(0.0)
    assert victim.read_text() == "precious"


def test_a_bell_table_that_was_cut_is_made_whole(tmp_path: Path) -> None:
    path = tmp_path / "queue.db"
    SqliteTransport(path).close()
    (tmp_path / "queue.db.liteq" / "bells").write_bytes(b"\1")
    with SqliteTransport(path) as transport:
        listener = transport.listen_for_jobs()
        listener.arm()
        transport.enqueue([NewJob("id", "task", b"payload")], 0.0)
        assert listener.wait(10.0)
        listener.close()


@pytest.mark.parametrize("suffix", ["-wal", "-shm", "-journal"])
@pytest.mark.parametrize("plant", PLANTS)
def test_what_sqlite_would_take_for_its_own_is_refused(tmp_path: Path, suffix: str, plant: Any) -> None:
    path, victim = tmp_path / "queue.db", tmp_path / "victim"
    victim.write_text("precious")
    plant(tmp_path / f"queue.db{suffix}", victim)
    for _ in range(2):
        with pytest.raises(StoreUnavailableError, match="SQLite would take"):
            SqliteTransport(path)
        assert victim.read_text() == "precious"
        assert not victim.with_name("not there").exists()
        if not path.exists():
            path.touch()


@root_only
def test_what_somebody_else_has_made_is_refused(tmp_path: Path) -> None:
    path, side = tmp_path / "queue.db", tmp_path / "queue.db.liteq"
    SqliteTransport(path).close()
    outsider = users.OUTSIDER[0]
    for each in (side, side / "turnstile", side / "bells", tmp_path / "queue.db-wal"):
        each.touch()
        os.chown(each, outsider, -1)
        with pytest.raises(StoreUnavailableError, match="belongs to another user"):
            SqliteTransport(path)
        os.chown(each, 0, -1)
    SqliteTransport(path).close()


@root_only
def test_a_side_folder_that_everybody_can_write_is_refused(tmp_path: Path) -> None:
    path, side = tmp_path / "queue.db", tmp_path / "queue.db.liteq"
    SqliteTransport(path).close()
    side.chmod(0o777)
    # One's own is closed again; somebody else has to do that for theirs.
    SqliteTransport(path).close()
    assert side.stat().st_mode & 0o777 == 0o700
    side.chmod(0o777)
    for each in (tmp_path, path, side, *side.iterdir()):
        os.chown(each, *users.FIRST)
    with pytest.raises(StoreUnavailableError, match="can be written by everybody"):
        SqliteTransport(path)


def test_a_shared_file_names_nothing_to_import(tmp_path: Path) -> None:
    path = tmp_path / "queue.db"
    with SqliteTransport(path, file_mode=0o660) as transport:
        assert not transport.trusted
        path.chmod(0o600)
        assert transport.trusted
        tmp_path.chmod(0o770)
        assert not transport.trusted
        tmp_path.chmod(0o1777)
        assert transport.trusted
        tmp_path.chmod(0o700)


@pytest.mark.parametrize(("mode", "fine"), [(0o600, True), (0o660, True), (0o666, False), (0o602, False)])
def test_doctor_finds_a_file_that_everybody_can_write(tmp_path: Path, mode: int, fine: bool) -> None:
    path = tmp_path / "queue.db"
    with SqliteTransport(path) as transport:
        path.chmod(mode)
        [private] = [finding for finding in transport.diagnose(0.0) if finding.check == "private"]
    assert private.ok is fine
    assert f"mode {mode:04o}" in private.detail


@root_only
def test_a_file_in_somebody_elses_folder_names_nothing_to_import(tmp_path: Path) -> None:
    path = tmp_path / "queue.db"
    path.touch(0o600)
    assert is_private(path)
    os.chown(tmp_path, users.OUTSIDER[0], -1)
    assert not is_private(path)


def test_an_unwritable_side_folder_is_told_in_a_sentence(tmp_path: Path) -> None:
    (tmp_path / "queue.db.liteq").write_text("in the way")
    with pytest.raises(StoreError, match="not a real folder"):
        SqliteTransport(tmp_path / "queue.db")
