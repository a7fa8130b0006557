"""httpx and a Starlette application under uvicorn, with a stream."""

import asyncio

import httpx
from serving import serve_uvicorn
from starlette.applications import Starlette
from starlette.responses import JSONResponse, StreamingResponse
from starlette.routing import Route


async def hello(request):
    await asyncio.sleep(0.01)
    return JSONResponse({"hello": request.query_params["name"]})


async def stream(request):
    async def parts():
        for number in range(3):
            yield str(number)
            await asyncio.sleep(0.01)

    return StreamingResponse(parts())


async def test_it():
    app = Starlette(routes=[Route("/", hello), Route("/stream", stream)])
    async with serve_uvicorn(app) as port, httpx.AsyncClient(base_url=f"http://127.0.0.1:{port}") as client:
        one, two, three = await asyncio.gather(
            client.get("/", params={"name": "ann"}), client.get("/", params={"name": "bob"}), client.get("/stream")
        )

    assert (one.json(), two.json(), three.text) == ({"hello": "ann"}, {"hello": "bob"}, "012")
