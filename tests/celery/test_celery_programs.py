"""Celery programs run as they are, but for the line that imports Celery."""

from __future__ import annotations

import pytest
from celery_programs import Folder

from liteq import Queue

CELERY_TASK = """\
from liteq import celery
import time
backend='sqlite:///results.db'
broker='sqlite:///queue.db'
cel=celery.Celery('test',backend=backend,broker=broker)
@cel.task
def send_email(name):
  print("向%s发送邮件..."%name)
  time.sleep(0)
  print("向%s发送邮件完成"%name)
  return "ok"
"""

PRODUCE = """\
from celery_task import send_email
result = send_email.delay("yuan")
print(result.id)
"""

ASK = """\
import sys
from liteq.celery.result import AsyncResult
from celery_task import cel
async_result=AsyncResult(id=sys.argv[1], app=cel)

if async_result.successful():
  result = async_result.get()
  print(result)
  result = async_result.forget()
elif async_result.failed():
  print('执行失败')
elif async_result.status == 'PENDING':
  print('任务等待中被执行')
elif async_result.status == 'RETRY':
  print('任务异常后正在重试')
elif async_result.status == 'STARTED':
  print('任务已经开始被执行')
"""

STATES = """\
import pathlib, time
from celery_task import cel

@cel.task
def started():
    pathlib.Path('began').touch()
    while not pathlib.Path('let go').exists():
        time.sleep(0.01)
    return '完成'

@cel.task(bind=True, max_retries=1, default_retry_delay=3600)
def retried(self):
    raise self.retry(exc=ValueError('再试'))

@cel.task
def failed(reason):
    raise ValueError(reason)
"""


def test_a_program_that_sends_mail_and_one_that_asks_for_the_result(folder: Folder):
    folder.write(celery_task=CELERY_TASK, produce=PRODUCE, ask=ASK)
    job = folder.run("produce.py")
    assert folder.run("ask.py", job) == "任务等待中被执行"

    folder.start("worker", "-A", "celery_task", "-l", "info", "-c", "1")
    folder.await_log("向yuan发送邮件完成", f"celery_task.send_email[{job}] succeeded")

    folder.until(lambda: folder.run("ask.py", job) == "ok", "result")
    # It was forgotten.
    assert folder.run("ask.py", job) == "任务等待中被执行"
    assert folder.logs().count("the broker keeps the results") == 1


@pytest.mark.parametrize("words", ["-A hinting worker", "worker queue.db", "worker queue.db -A hinting"])
def test_what_has_no_effect_is_told_once_at_its_line_however_many_processes_there_are(
    folder: Folder, words: str
):
    program = """\
from liteq.celery import Celery
app = Celery('hinting', broker='queue.db', backend='results.db')
app.conf.worker_concurrency = 4
@app.task
def hello(): print('hello')
if __name__ == '__main__': hello.delay()
"""
    folder.write(hinting=program)
    folder.run("hinting.py")
    folder.start(*words.split(), "-c", "3")

    folder.await_log("ready", "hello")
    assert folder.logs().count("LiteqWarning") == 1
    assert "hinting.py:3: LiteqWarning: The setting worker_concurrency has no effect" in folder.logs()
    assert folder.logs().count("the broker keeps the results") == 1


def test_a_program_reads_every_state(folder: Folder):
    folder.write(celery_task=CELERY_TASK, states=STATES, ask=ASK)
    jobs = folder.run(
        "-c",
        "from states import *; print(started.delay().id, retried.delay().id, failed.delay('没有面包').id)",
    ).split()
    folder.start("-A", "states", "worker", "-l", "info", "-c", "2")

    folder.until((folder.path / "began").exists, "job")
    folder.await_log(f"retried[{jobs[1]}] retry", f"failed[{jobs[2]}] raised")

    folder.until(lambda: folder.run("ask.py", jobs[1]) == "任务异常后正在重试", "retry")
    assert folder.run("ask.py", jobs[0]) == "任务已经开始被执行"
    assert folder.run("ask.py", jobs[2]) == "执行失败"
    (folder.path / "let go").touch()
    folder.until(lambda: folder.run("ask.py", jobs[0]) == "完成", "result")


def test_naive_times_are_utc_as_in_celery(folder: Folder):
    produce = """\
from datetime import datetime, timedelta
from celery_task import cel, send_email
cel.conf.timezone = 'Asia/Shanghai'
v1 = datetime(2020, 9, 1, 10, 9, 5)
v2 = datetime.utcfromtimestamp(v1.timestamp())
result = send_email.apply_async(args=["One Timestamp",], eta=v2)
ctime = datetime.now()
utc_ctime = datetime.utcfromtimestamp(ctime.timestamp())
task_time = utc_ctime + timedelta(seconds=3000)
result2 = send_email.apply_async(args=["Current + timedelta"], eta=task_time)
etas = [job.eta for job in cel.queue.transport.get((result.id, result2.id))]
assert etas == [v1.timestamp(), (ctime + timedelta(seconds=3000)).timestamp()], etas
"""
    folder.write(celery_task=CELERY_TASK, produce=produce)
    folder.run("produce.py")

    folder.start("worker", "celery_task", "-l", "info", "-c", "1")

    folder.await_log("向One Timestamp发送邮件完成")


CELERY_APP = """\
from datetime import timedelta
from liteq.celery import Celery
from liteq.celery.schedules import crontab

cel = Celery('schedule_demo', backend='sqlite:///queue.db', broker='sqlite:///queue.db',
             include=['schedule_demo.task1'])
cel.conf.timezone = 'Asia/Shanghai'
cel.conf.enable_utc = False
"""

TASK1 = """\
from .celery import cel
import time

@cel.task
def send_a_email(name):
  print("向%s发送邮件..."%name)
  return "ok"
"""

ON_AFTER_CONFIGURE = """\

@cel.on_after_configure.connect
def setup_periodic_tasks(sender, **kwargs):
  from schedule_demo.task1 import send_a_email
  # Calls test('hello') every 10 seconds.
  sender.add_periodic_task(0.2, send_a_email.s('hello'), name='add every 10')

  # Calls test('world') every 30 seconds
  sender.add_periodic_task(0.3, send_a_email.s('world'), expires=10)

  # Executes every Monday morning at 7:30 a.m.
  sender.add_periodic_task(
    crontab(hour=7, minute=30, day_of_week=1),
    send_a_email.s('Happy Mondays!'),
  )
"""

BEAT_SCHEDULE = """\

cel.conf.beat_schedule = {
  # 名字随意命名
  'task_name_schedule_at': {
    'task': 'schedule_demo.task1.send_a_email',
    'schedule': crontab(minute="*/2"),
    'args': (' 张三A ',)
  },
  '每秒': {
    'task': 'schedule_demo.task1.send_a_email',
    'schedule': 0.2,
    'args': ('李四',)
  },
  'by timedelta': {
    'task': 'schedule_demo.task1.send_a_email',
    'schedule': timedelta(seconds=0.3),
    'args': ('王五',)
  },
}
"""


def schedules(folder: Folder) -> dict[str, str]:
    with Queue(folder.path / "queue.db") as queue:
        return {each.name: str(each.schedule) for each in queue.schedules.list()}


@pytest.mark.parametrize(
    ("declared", "sent", "known"),
    [
        (ON_AFTER_CONFIGURE, ("hello", "world"), "add every 10"),
        (BEAT_SCHEDULE, ("李四", "王五"), "task_name_schedule_at"),
    ],
    ids=["add_periodic_task", "beat_schedule"],
)
@pytest.mark.parametrize(
    "commands",
    [
        ["worker -A schedule_demo -l info -B -c 1"],
        ["-A schedule_demo worker -l info -B -c 1"],
        ["beat -A schedule_demo", "worker -A schedule_demo -l info --no-beat -c 1"],
        ["-A schedule_demo beat", "-A schedule_demo worker -l info --no-beat -c 1"],
    ],
    ids=["worker -A -B", "-A worker -B", "beat -A and worker -A", "-A beat and -A worker"],
)
def test_a_package_whose_tasks_are_included_runs_periodically(
    folder: Folder, declared: str, sent: tuple[str, ...], known: str, commands: list[str]
):
    folder.write(
        schedule_demo____init__="",
        schedule_demo__celery=CELERY_APP + declared,
        schedule_demo__task1=TASK1,
    )

    for command in commands:
        folder.start(*command.split())

    folder.await_log(*(f"向{name}发送邮件..." for name in sent))
    assert known in schedules(folder)
    assert len(schedules(folder)) == 3


def test_a_script_that_is_run_and_a_worker_that_imports_it_call_its_tasks_the_same(folder: Folder):
    script = """\
from liteq.celery import Celery, Task
app = Celery('main name', broker='queue.db')

class Greet(Task):
    def run(self, name):
        return f'你好 {name} {self.request.called_directly}'

greet = app.register_task(Greet())

@app.task(bind=True, max_retries=5)
def count(self):
    return self.max_retries

if __name__ == '__main__':
    print(greet.delay('yuan').id, count.delay().id)
"""
    folder.write(script=script)
    jobs = folder.run("script.py").split()

    # A file alone names the modules, and an application that is imported for them registers its tasks.
    assert "drained: 2 jobs finished, 0 of them failed" in folder.run(
        "-m", "liteq", "worker", "queue.db", "--drain", "-c", "1"
    )

    with Queue(folder.path / "queue.db") as queue:
        assert [queue.AsyncResult(job).get(timeout=0) for job in jobs] == ["你好 yuan False", 5]
        assert {origin.task for origin in queue.transport.origins()} == {"script.Greet", "script.count"}


def test_a_program_without_a_guard_is_told_so_when_its_worker_starts(folder: Folder):
    folder.write(celery_task=CELERY_TASK + "\nsend_email.delay('yuan')\n")
    process = folder.start("worker", "-A", "celery_task")

    assert process.wait(20) == 2
    assert 'under `if __name__ == "__main__":`' in folder.logs()


def test_an_included_module_that_cannot_be_imported_is_named(folder: Folder):
    folder.write(
        schedule_demo____init__="",
        schedule_demo__celery=CELERY_APP,
        schedule_demo__task1="import nothing_such",
    )
    process = folder.start("-A", "schedule_demo", "worker")

    assert process.wait(20) == 2
    assert "Module 'schedule_demo.task1' cannot be imported" in folder.logs()
    assert "nothing_such" in folder.logs()
