"""FastAPI: sync routes and dependencies, which run in threads."""

import asyncio

import fastapi
import httpx
from serving import serve_uvicorn


def make_app():
    app = fastapi.FastAPI()

    def double(number: int):
        return number * 2

    @app.get("/sync")
    def in_thread(value: int = fastapi.Depends(double)):
        return {"value": value}

    @app.get("/async")
    async def in_loop(value: int = fastapi.Depends(double)):
        return {"value": value}

    return app


async def test_it():
    async with serve_uvicorn(make_app()) as port, httpx.AsyncClient(base_url=f"http://127.0.0.1:{port}") as client:
        replies = await asyncio.gather(
            *(client.get(path) for path in ("/sync?number=1", "/sync?number=2", "/async?number=3"))
        )

    assert [reply.json()["value"] for reply in replies] == [2, 4, 6]
