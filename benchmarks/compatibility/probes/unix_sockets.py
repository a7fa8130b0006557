"""asyncio's streams over a Unix socket."""

import asyncio
import tempfile


async def test_it():
    async def answer(reader, writer):
        writer.write((await reader.readline()).upper())
        await writer.drain()
        writer.close()

    with tempfile.TemporaryDirectory() as folder:
        path = f"{folder}/socket"

        async def ask(word):
            reader, writer = await asyncio.open_unix_connection(path)
            writer.write(word)
            reply = await reader.read()
            writer.close()
            await writer.wait_closed()
            return reply

        async with await asyncio.start_unix_server(answer, path):
            assert await asyncio.gather(ask(b"ann\n"), ask(b"bob\n")) == [b"ANN\n", b"BOB\n"]
