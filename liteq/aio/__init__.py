"""Queues for asyncio programs: the event loop never waits for the store, threads of the queue do.

asyncio is imported with the first coroutine that needs it, not with liteq.
"""
