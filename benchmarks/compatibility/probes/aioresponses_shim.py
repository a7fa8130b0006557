"""The shim for aioresponses as the answer to aiohttp's client."""

import asyncio

import aiohttp

from pytest_interleave.aioresponses import CallbackResult, aioresponses

API = "https://api.example.com"


async def test_it():
    async def answer(url, **kwargs):
        await asyncio.sleep(0.02)
        return CallbackResult(payload={"name": "Bob"}, headers={"X-From": url.path})

    async def name(session, path):
        async with session.get(API + path, headers={"X-Wanted": "name"}) as response:
            response.raise_for_status()
            return (await response.json())["name"], response.headers.get("X-From")

    with aioresponses() as m:
        m.get(f"{API}/users/1", payload={"name": "Ann"})
        m.get(f"{API}/users/2", callback=answer)
        async with aiohttp.ClientSession() as session:
            found = await asyncio.gather(name(session, "/users/1"), name(session, "/users/2"))

        assert found == [("Ann", None), ("Bob", "/users/2")]
        m.assert_any_call(f"{API}/users/1")
