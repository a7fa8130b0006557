"""Mock routes as the answer to aiohttp's client."""

import asyncio
import re

API = "https://api.example.com"


async def test_it(hosts, mock_session):
    api = hosts.routes(API)
    api.get(re.compile(r"/users/\d+")).reply(json={"name": "Bob"}, delay=0.02)
    api.get("/users/{number}", query={"full": "1"}).reply(json={"name": "Ann"}, delay=0.02)
    api.post("/users", json={"name": "Eve"}).reply(status=201)

    async def name(path):
        async with mock_session.get(API + path) as response:
            response.raise_for_status()
            return (await response.json())["name"]

    async def create():
        async with mock_session.post(f"{API}/users", json={"name": "Eve"}) as response:
            return response.status

    assert await asyncio.gather(name("/users/1?full=1"), name("/users/2"), create()) == ["Ann", "Bob", 201]
    assert sorted(call.url for call in api.calls) == [f"{API}/users", f"{API}/users/1?full=1", f"{API}/users/2"]
