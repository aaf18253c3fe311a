"""The SQLite transport: one WAL file is broker and result store.

Beside `queue.db` stands the folder `queue.db.liteq/` with what does not belong into a database: the
turnstile (a lock that writers queue at), the doorbells, and for each worker its life lock and the slot
in which it publishes what it runs.
"""
