"""aiohttp: `FileResponse`, which reads in threads and calls `sendfile`."""

import asyncio

from aiohttp import web
from aiohttp.test_utils import TestClient, TestServer

CONTENT = b"0123456789" * 3_000


async def test_it(tmp_path):
    file = tmp_path / "numbers.txt"
    file.write_bytes(CONTENT)

    async def send(request):
        return web.FileResponse(file)

    app = web.Application()
    app.router.add_get("/", send)
    async with TestClient(TestServer(app)) as client:

        async def download():
            async with client.get("/") as response:
                assert response.status == 200
                return await response.read()

        assert await asyncio.gather(download(), download()) == [CONTENT, CONTENT]
