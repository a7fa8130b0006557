"""websockets: server and client."""

import asyncio

from websockets.asyncio.client import connect
from websockets.asyncio.server import serve


async def test_it():
    async def shout(channel):
        async for message in channel:
            await channel.send(message.upper())

    async with serve(shout, "127.0.0.1", 0) as server:
        port = server.sockets[0].getsockname()[1]

        async def talk(word):
            async with connect(f"ws://127.0.0.1:{port}") as channel:
                await channel.send(word)
                return await channel.recv()

        assert await asyncio.gather(talk("hello"), talk("world")) == ["HELLO", "WORLD"]
