"""What `liteq bench` does: it measures liteq on this machine, beside the floor.

The *floor* is what SQLite itself can do: the same writes in the same transactions by bare `sqlite3`, with
no library, measured in the same run.
"""
