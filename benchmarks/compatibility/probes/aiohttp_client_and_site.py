"""aiohttp: a client and a `TCPSite`, keep-alive, a body and a WebSocket."""

import asyncio

import aiohttp
from aiohttp import web


async def test_it():
    async def echo(request):
        return web.json_response({"path": request.path, "size": len(await request.read())})

    async def talk(request):
        channel = web.WebSocketResponse()
        await channel.prepare(request)
        async for message in channel:
            await channel.send_str(message.data.upper())
        return channel

    app = web.Application(client_max_size=10**8)
    app.router.add_post("/echo", echo)
    app.router.add_get("/talk", talk)
    runner = web.AppRunner(app)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    base = f"http://127.0.0.1:{runner.addresses[0][1]}"

    async def use(size):
        async with aiohttp.ClientSession() as session:
            for _ in range(2):
                async with session.post(f"{base}/echo", data=b"x" * size) as response:
                    assert await response.json() == {"path": "/echo", "size": size}
            async with session.ws_connect(f"{base}/talk") as channel:
                await channel.send_str("hello")
                assert await channel.receive_str() == "HELLO"

    await asyncio.gather(use(10), use(20_000))
    await runner.cleanup()
