"""aiohttp: a `UnixSite` and a `UnixConnector`."""

import asyncio
import tempfile

import aiohttp
from aiohttp import web


async def test_it():
    async def answer(request):
        return web.Response(text=f"hello {request.query['name']}")

    app = web.Application()
    app.router.add_get("/", answer)
    runner = web.AppRunner(app)
    await runner.setup()
    with tempfile.TemporaryDirectory() as folder:
        path = f"{folder}/socket"
        await web.UnixSite(runner, path).start()
        async with aiohttp.ClientSession(connector=aiohttp.UnixConnector(path)) as session:

            async def get(name):
                async with session.get("http://localhost/", params={"name": name}) as response:
                    return await response.text()

            assert await asyncio.gather(get("ann"), get("bob")) == ["hello ann", "hello bob"]
        await runner.cleanup()
