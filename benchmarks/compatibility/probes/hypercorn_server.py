"""hypercorn, which binds its socket itself, and httpx."""

import asyncio

import httpx
from serving import serve_hypercorn
from starlette.applications import Starlette
from starlette.responses import PlainTextResponse
from starlette.routing import Route


async def answer(request):
    return PlainTextResponse(request.query_params["name"].upper())


async def test_it():
    app = Starlette(routes=[Route("/", answer)])
    async with serve_hypercorn(app) as port, httpx.AsyncClient(base_url=f"http://127.0.0.1:{port}") as client:
        replies = await asyncio.gather(*(client.get("/", params={"name": name}) for name in ("ann", "bob")))

    assert [reply.text for reply in replies] == ["ANN", "BOB"]
