"""Which of Celery's settings do what here: three tables, which the documentation is tested against.

A name that ends with `*` stands for all that begin like it.
"""

from __future__ import annotations

from collections.abc import Mapping
from fnmatch import fnmatchcase
from typing import Any

__all__ = ["CHANGED_LATE", "SILENT", "USED", "WITHOUT_EFFECT", "default_of", "find"]

USED: Mapping[str, tuple[Any, str]] = {
    "broker_url": (
        None,
        "the queue's file, or its Redis server; the variable `CELERY_BROKER_URL` wins over it, as in Celery",
    ),
    "result_backend": (None, "checked; the broker keeps the results"),
    "timezone": (None, "the zone of schedules; without it UTC"),
    "enable_utc": (True, "`False` needs a `timezone`"),
    "task_serializer": (
        "msgpack",
        "of arguments and results: `msgpack`, which loses no types, `json` or `yaml`",
    ),
    "result_serializer": (None, "the same as `task_serializer`, or left out"),
    "accept_content": (
        None,
        "the codecs that are read, by name or content type; without it all that are safe to read",
    ),
    "result_accept_content": (None, "the same as `accept_content`, or left out"),
    "task_compression": (None, "of arguments and results: `gzip`, `bzip2`, `lzma` or `zstd`"),
    "result_compression": (None, "the same as `task_compression`, or left out"),
    "result_expires": (86400.0, "seconds or a timedelta that a finished job is kept; `None` for ever"),
    "task_default_queue": ("celery", "the queue name of tasks that name none"),
    "task_default_priority": (None, "the priority of tasks that name none; a higher one runs first"),
    "task_routes": (None, "names or patterns of tasks, each with its `queue` and `priority`; no functions"),
    "task_always_eager": (False, "run tasks at once in the caller"),
    "task_eager_propagates": (False, "raise what such a task raises"),
    "task_ignore_result": (False, "the `ignore_result` of tasks that do not say"),
    "task_time_limit": (None, "the `time_limit` of tasks that do not say"),
    "task_soft_time_limit": (None, "the same of `soft_time_limit`, where that is less than `time_limit`"),
    "beat_schedule": ({}, "schedules by name; a misspelt key is refused"),
    "include": ((), "modules that workers and beat import"),
    "imports": ((), "the same"),
    "queue_options": ({}, "liteq's own: further arguments for `liteq.Queue`, such as `durability`"),
}
"""What has a meaning here, each with its default and what it does."""

_ALWAYS = "it is always so"
_SERVER = "there is no server"
_OTHER = "a store that is not here"
SILENT: Mapping[str, str] = {
    "task_acks_late": _ALWAYS,
    "task_acks_on_failure*": _ALWAYS,
    "task_acks_on_timeout": _ALWAYS,
    "task_reject_on_worker_lost": "a job whose worker died runs again; see `max_crashes`",
    "task_retry_on_worker_lost": "a job whose worker died runs again; see `max_crashes`",
    "task_track_started": _ALWAYS,
    "task_store_errors_even_if_ignored": _ALWAYS,
    "task_remote_tracebacks": _ALWAYS,
    "result_extended": _ALWAYS,
    "result_persistent": _ALWAYS,
    "task_create_missing_queue*": "queue names need no declaration",
    "task_queues": "queue names need no declaration; a worker serves all, or those of `-Q`",
    "task_queue_max_priority": "every queue has priorities",
    "task_default_queue_type": _SERVER,
    "task_default_exchange*": _SERVER,
    "task_default_routing_key": _SERVER,
    "task_default_delivery_mode": "every job is in the file",
    "task_protocol": _SERVER,
    "task_publish_retry*": _SERVER,
    "task_repr_maxlevels": "arguments are not kept as text",
    "task_send_sent_event": "there are no events",
    "event_*": "there are no events",
    "control_*": "there is no remote control",
    "worker_enable_remote_control": "there is no remote control",
    "worker_send_task_events": "there are no events",
    "worker_disable_rate_limits": "there are no rate limits",
    "worker_prefetch_multiplier": "a worker takes short jobs in batches, and long ones one by one",
    "worker_disable_prefetch": "a worker takes short jobs in batches, and long ones one by one",
    "worker_hijack_root_logger": "the root logger is left alone",
    "worker_redirect_stdouts*": "what a task prints is printed; liteq worker --redirect-stdouts logs it",
    "worker_state_db": "what is revoked is in the file",
    "worker_proc_alive_timeout": _SERVER,
    "worker_lost_wait": "a lost worker is noticed at once",
    "worker_cancel_long_running_tasks_on_connection_loss": _SERVER,
    "worker_deduplicate_successful_tasks": "a finished job is not delivered again",
    "worker_detect_quorum_queues": _SERVER,
    "beat_schedule_filename": "the schedules are in the queue's file",
    "beat_sync_every": "the schedules are in the queue's file",
    "beat_max_loop_interval": "the scheduler sleeps until the next due moment",
    "beat_enable_remote_control": "there is no remote control",
    "beat_remote_control_max_tick_age": "there is no remote control",
    "result_cache_max": "results are read from the file",
    "result_exchange*": _SERVER,
    "result_backend_*": _SERVER,
    "result_chord_*": "there are no chords yet",
    "broker_*": _SERVER,
    "redis_*": _OTHER,
    "database_*": _OTHER,
    "cache_*": _OTHER,
    "mongodb_*": _OTHER,
    "cassandra_*": _OTHER,
    "couchbase_*": _OTHER,
    "cosmosdbsql_*": _OTHER,
    "arangodb_*": _OTHER,
    "elasticsearch_*": _OTHER,
    "s3_*": _OTHER,
    "gcs_*": _OTHER,
    "azureblockblob_*": _OTHER,
    "dynamodb_*": _OTHER,
}
"""What has no meaning here, or is always so, each with why: accepted silently."""

_COMMAND = "give it to the command: liteq worker"
WITHOUT_EFFECT: Mapping[str, str] = {
    "broker_read_url": "there is one file for all; set broker_url",
    "broker_write_url": "there is one file for all; set broker_url",
    "task_default_rate_limit": "rate limits are not built yet",
    "task_annotations": "give the options to the tasks",
    "task_inherit_parent_priority": "give the priority at the call",
    "task_store_eager_result": "an eager job is stored nowhere",
    "task_allow_error_cb_on_chord_header": "workflows are not built yet",
    "result_failure_expires": "result_expires is for failures too",
    "beat_scheduler": "the scheduler is liteq's own, and keeps its state in the queue's file",
    "beat_cron_starting_deadline": "each schedule has its own catch_up",
    "security_*": "a queue signs its jobs with queue_options={'signing_key': ...}",
    "worker_concurrency": f"{_COMMAND} -c N",
    "worker_pool": f"{_COMMAND} -P NAME",
    "worker_max_tasks_per_child": f"{_COMMAND} --max-jobs N",
    "worker_max_memory_per_child": "memory is not watched yet",
    "worker_log_format": f"{_COMMAND} --log-format json, or --log-config FILE",
    "worker_task_log_format": f"{_COMMAND} --log-format json, or --log-config FILE",
    "worker_log_color": "log lines have no colours",
    "worker_*": "liteq's worker is another one",
}
"""What Celery has and liteq lacks, each with what to do instead: setting it warns."""

CHANGED_LATE = frozenset({"beat_schedule", "include", "imports", "task_eager_propagates", "result_backend"})
"""What can be changed without making the queue anew."""


def find(table: Mapping[str, str], name: str) -> str | None:
    """Return what a table says about a setting; None if it is not in it."""
    if name in table:
        return table[name]
    return next(
        (why for pattern, why in table.items() if "*" in pattern and fnmatchcase(name, pattern)), None
    )


def default_of(name: str) -> Any:
    """Return the default of a setting that has a meaning here."""
    value = USED[name][0]
    return dict(value) if isinstance(value, dict) else value
