"""A server farther away: a proxy that holds back the beginning of each answer.

``python -m benchmarks.delay PORT SECONDS`` listens on a port of its own, which it prints, and
passes everything on to that port of this machine.
"""

import asyncio
import contextlib
import sys

CHUNK = 1 << 18


async def main(port: int, seconds: float) -> None:
    async def serve(client: asyncio.StreamReader, back: asyncio.StreamWriter) -> None:
        try:
            server, on = await asyncio.open_connection("127.0.0.1", port)
        except OSError:
            back.close()
            return
        asked = asyncio.Event()

        async def requests() -> None:
            while data := await client.read(CHUNK):
                asked.set()
                on.write(data)
                await on.drain()
            on.close()

        async def answers() -> None:
            while data := await server.read(CHUNK):
                if asked.is_set():
                    asked.clear()
                    await asyncio.sleep(seconds)
                back.write(data)
                await back.drain()
            back.close()

        with contextlib.suppress(ConnectionError):
            await asyncio.gather(requests(), answers())
        on.close()
        back.close()

    listening = await asyncio.start_server(serve, "127.0.0.1", 0, limit=CHUNK)
    print(listening.sockets[0].getsockname()[1], flush=True)
    async with listening:
        await listening.serve_forever()


if __name__ == "__main__":
    asyncio.run(main(int(sys.argv[1]), float(sys.argv[2])))
