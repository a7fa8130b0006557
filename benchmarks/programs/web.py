"""An aiohttp server and two clients with one request each."""

from __future__ import annotations

import asyncio
import importlib
from typing import Any

# aiohttp is not installed where the benchmarks themselves are checked and started.
aiohttp: Any = importlib.import_module("aiohttp")
web: Any = importlib.import_module("aiohttp.web")
test_utils: Any = importlib.import_module("aiohttp.test_utils")

PORT = 8080


async def test_client() -> None:
    """Do it as users' tests do: `TestServer` and `TestClient`, on a loopback socket."""
    server = test_utils.TestServer(_application())
    async with test_utils.TestClient(server) as first, test_utils.TestClient(server) as second:
        await asyncio.gather(*(_check(client.get("/")) for client in (first, second)))


async def loopback() -> None:
    """Do it with `TCPSite` and `ClientSession` on 127.0.0.1, on a port that is free."""
    runner = await _start("127.0.0.1", 0)
    port = runner.addresses[0][1]
    await asyncio.gather(_request("127.0.0.1", port), _request("127.0.0.1", port))
    await runner.cleanup()


async def simulated_loopback() -> None:
    """Do the same where the network is simulated, and any port is free."""
    runner = await _start("127.0.0.1", PORT)
    await asyncio.gather(_request("127.0.0.1", PORT), _request("127.0.0.1", PORT))
    await runner.cleanup()


async def simloop_hosts() -> None:
    """Do the same on simloop's named hosts: it knows no 127.0.0.1."""
    network: Any = asyncio.get_running_loop().net  # type: ignore[attr-defined]
    is_up, is_over = asyncio.Event(), asyncio.Event()

    async def serve() -> None:
        runner = await _start("server", PORT)
        is_up.set()
        await is_over.wait()
        await runner.cleanup()

    serving = network.host("server").create_task(serve())
    await is_up.wait()
    await asyncio.gather(*(network.host(name).create_task(_request("server", PORT)) for name in ("ann", "bob")))
    is_over.set()
    await serving


def _application() -> Any:
    async def answer(request: Any) -> Any:
        return web.Response(text="hello")

    application = web.Application()
    application.router.add_get("/", answer)
    return application


async def _start(host: str, port: int) -> Any:
    runner = web.AppRunner(_application(), access_log=None)
    await runner.setup()
    await web.TCPSite(runner, host, port).start()
    return runner


async def _request(host: str, port: int) -> None:
    async with aiohttp.ClientSession() as session:
        await _check(session.get(f"http://{host}:{port}/"))


async def _check(request: Any) -> None:
    async with request as response:
        assert await response.text() == "hello"
