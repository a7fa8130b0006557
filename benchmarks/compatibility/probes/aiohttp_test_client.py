"""aiohttp: `TestServer` and `TestClient`."""

import asyncio

from aiohttp import web
from aiohttp.test_utils import TestClient, TestServer


async def test_it():
    async def answer(request):
        await asyncio.sleep(0.02)
        return web.json_response({"name": request.match_info["name"]})

    app = web.Application()
    app.router.add_get("/{name}", answer)
    async with TestClient(TestServer(app)) as client:

        async def get(name):
            async with client.get(f"/{name}") as response:
                return await response.json()

        assert await asyncio.gather(get("ann"), get("bob")) == [{"name": "ann"}, {"name": "bob"}]
