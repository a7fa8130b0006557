"""Three of the tests ask httpbin.org for real: here that is a named host, so that they need no internet."""

import pytest
from aiohttp import web


async def _status(request: web.Request) -> web.Response:
    return web.Response(status=int(request.match_info["status"]))


async def _get(request: web.Request) -> web.Response:
    return web.json_response({"args": dict(request.query)})


@pytest.fixture(autouse=True)
def httpbin(request: pytest.FixtureRequest) -> None:
    if "pass_through" not in request.node.name:
        return
    app = web.Application()
    app.router.add_get("/status/{status}", _status)
    app.router.add_get("/get", _get)
    hosts = request.getfixturevalue("hosts")
    for scheme in ("http", "https"):
        hosts.serve(f"{scheme}://httpbin.org", app)
