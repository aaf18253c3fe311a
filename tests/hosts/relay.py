"""A slow link: hands bytes on to another address after a while, in both directions and in their order.

`python relay.py PORT HOST:PORT SECONDS`; it says a line when it is ready, and ends with its input. The
kernel has the same as a queueing discipline (netem), but not every kernel has that.
"""

from __future__ import annotations

import asyncio
import contextlib
import sys

__all__: list[str] = []

CHUNK = 1 << 16


async def _carry(source: asyncio.StreamReader, target: asyncio.StreamWriter, delay: float) -> None:
    """Hand on what comes, each piece so many seconds after it came, however many are under way."""
    loop = asyncio.get_running_loop()
    pieces: asyncio.Queue[tuple[float, bytes]] = asyncio.Queue()

    async def deliver() -> None:
        while True:
            due, piece = await pieces.get()
            await asyncio.sleep(due - loop.time())
            if not piece:
                break
            target.write(piece)
            await target.drain()

    delivering = asyncio.create_task(deliver())
    with contextlib.suppress(ConnectionError):
        while piece := await source.read(CHUNK):
            pieces.put_nowait((loop.time() + delay, piece))
    pieces.put_nowait((loop.time() + delay, b""))
    with contextlib.suppress(ConnectionError):
        await delivering
    target.close()


async def _main(port: int, host: str, target: int, delay: float) -> None:
    async def serve(source: asyncio.StreamReader, sink: asyncio.StreamWriter) -> None:
        try:
            answers, questions = await asyncio.open_connection(host, target)
        except OSError:
            sink.close()
            return
        await asyncio.gather(_carry(source, questions, delay), _carry(answers, sink, delay))

    async with await asyncio.start_server(serve, "", port):
        print("ready", flush=True)
        await asyncio.to_thread(sys.stdin.read)


if __name__ == "__main__":
    to, _, to_port = sys.argv[2].rpartition(":")
    asyncio.run(_main(int(sys.argv[1]), to, int(to_port), float(sys.argv[3])))
