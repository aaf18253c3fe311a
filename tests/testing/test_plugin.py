"""The fixtures that pytest finds by itself, in sessions of their own."""

from __future__ import annotations

import subprocess
import sys
from importlib.metadata import entry_points

import pytest

pytest_plugins = ["pytester"]

SHOP = """
    from liteq import Queue

    q = Queue("queue.db")

    @q.task(bind=True, autoretry_for=(ConnectionError,))
    def deliver(self, parcel):
        if self.request.retries < parcel:
            raise ConnectionError("nobody at home")
        return self.request.attempt

    @q.task
    def fail():
        raise ValueError("no such street")
"""


def run(pytester: pytest.Pytester, tests: str, ini: str = "", **outcomes: int) -> pytest.RunResult:
    """Run tests in a process of their own, with warnings as errors, and demand these outcomes."""
    pytester.makeini(
        f"[pytest]\naddopts = -p no:cacheprovider --strict-markers\nfilterwarnings = error\n{ini}"
    )
    pytester.makepyfile(test_shop=tests)
    result = pytester.runpytest_subprocess("-q", timeout=60)
    result.assert_outcomes(**outcomes)
    return result


def test_the_plugin_is_registered_and_brings_nothing_heavy():
    (found,) = entry_points(group="pytest11", name="liteq")
    assert found.value == "liteq.testing.plugin"
    heavy = "sqlite3 asyncio hypothesis msgpack multiprocessing liteq.worker liteq.testing.worker"
    code = f"""
import sys, pytest
before = set(sys.modules)
import liteq.testing.plugin
print(sorted(set({heavy.split()}) & (set(sys.modules) - before)))
"""
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", code], capture_output=True, text=True, check=True
    )
    assert done.stdout.strip() == "[]"


def test_the_tasks_of_a_program_run_on_a_store_that_lasts_as_long_as_the_test(pytester: pytest.Pytester):
    pytester.makepyfile(shop=SHOP)
    tests = """
        import pytest
        import shop

        def test_a_fresh_store(liteq_queue):
            assert liteq_queue is shop.q
            assert shop.q.url == "memory://"
            shop.deliver.delay(0)
            assert liteq_queue.drain().succeeded == 1

        def test_retries_on_the_clock(liteq_queue, liteq_clock):
            result = shop.deliver.delay(2)
            assert liteq_queue.drain().due_in == 180
            for _ in range(2):
                liteq_clock.advance(180)
                liteq_queue.drain()
            assert result.get(timeout=5) == 3

        @pytest.mark.liteq(store="sqlite")
        def test_a_file_and_a_worker(liteq_worker, liteq_queue, tmp_path):
            assert shop.q.url == str(tmp_path / "liteq-queue.db")
            assert shop.deliver.delay(0).get(timeout=30) == 1
            with pytest.raises(ValueError, match="no such street"):
                shop.fail.delay().get(timeout=30)
            assert [str(error) for error in liteq_worker.errors] == ["no such street"]

        @pytest.mark.parametrize("_", [1, 2])
        def test_a_worker_goes_by_the_clock(liteq_worker, liteq_clock, _):
            result = shop.deliver.options(countdown=3600).delay(0)
            assert not result.ready()
            liteq_clock.advance(3600)
            assert result.get(timeout=30) == 1

        def test_the_program_has_its_own_file_again():
            assert shop.q.url.endswith("queue.db")
    """
    run(pytester, tests, "liteq_app = shop:q", passed=6)
    assert not (pytester.path / "queue.db").exists()


def test_without_a_program_a_queue_has_the_tasks_that_a_test_gives_it(pytester: pytest.Pytester):
    tests = """
        def test_a_task_of_its_own(liteq_worker, liteq_queue):
            assert liteq_queue.url.endswith("liteq-queue.db")

            @liteq_queue.task(name="add")
            def add(x, y):
                return x + y

            assert add.delay(1, 2).get(timeout=30) == 3
    """
    run(pytester, tests, "liteq_store = sqlite", passed=1)


def test_a_project_can_give_the_application_and_the_store_as_fixtures(pytester: pytest.Pytester):
    pytester.makeconftest(
        """
        import pytest
        from liteq.celery import Celery

        @pytest.fixture
        def liteq_app():
            app = Celery("shop", broker="memory://")
            app.task(name="shop.add")(lambda x, y: x + y)
            return app

        @pytest.fixture
        def liteq_store(tmp_path):
            return tmp_path / "own.db"
        """
    )
    tests = """
        def test_it(liteq_app, liteq_queue):
            result = liteq_app.tasks["shop.add"].delay(1, 2)
            assert liteq_queue.url.endswith("own.db")
            assert liteq_queue.drain().succeeded == 1
            assert result.get(timeout=5) == 3
    """
    run(pytester, tests, passed=1)


def test_what_cannot_be_meant_is_said(pytester: pytest.Pytester):
    tests = """
        import pytest

        @pytest.mark.liteq(where="memory")
        def test_a_word_that_the_marker_does_not_know(liteq_store):
            pass

        @pytest.mark.liteq(store="redis")
        def test_a_store_that_the_marker_does_not_know(liteq_store):
            pass

        def test_an_application_that_is_not_there(liteq_queue):
            pass
    """
    run(pytester, tests, "liteq_app = nowhere:q", errors=3).stdout.fnmatch_lines(
        [
            "*@pytest.mark.liteq takes store= and nothing else.*",
            "*liteq's store is one of memory, sqlite, not 'redis'.*",
            "*liteq_app names 'nowhere:q', which cannot be had: No module*",
        ]
    )
