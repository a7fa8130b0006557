"""aiohttp over TLS; a client that does not know the authority is turned away."""

import asyncio
import ssl

import aiohttp
import pytest
import trustme
from aiohttp import web

AUTHORITY = trustme.CA()
CERTIFICATE = AUTHORITY.issue_cert("localhost")


async def test_it():
    async def answer(request):
        return web.Response(text=request.scheme)

    app = web.Application()
    app.router.add_get("/", answer)
    runner = web.AppRunner(app)
    await runner.setup()
    server_context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    CERTIFICATE.configure_cert(server_context)
    await web.TCPSite(runner, "127.0.0.1", 0, ssl_context=server_context).start()
    url = f"https://localhost:{runner.addresses[0][1]}/"
    client_context = ssl.create_default_context()
    AUTHORITY.configure_trust(client_context)

    async def get():
        async with aiohttp.ClientSession() as session, session.get(url, ssl=client_context) as response:
            return await response.text()

    async def distrust():
        async with aiohttp.ClientSession() as session:
            with pytest.raises(aiohttp.ClientConnectorCertificateError):
                await session.get(url)

    assert (await asyncio.gather(get(), get(), distrust()))[:2] == ["https", "https"]
    await runner.cleanup()
