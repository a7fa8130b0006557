"""How a failure reads in which requests to a server race: by request, not by the server's own lines."""

from __future__ import annotations

import sys

import pytest

#: From Python 3.12 on, aiohttp starts its handlers eagerly, in a callback: what runs there is in no task's step.
IS_EAGER = sys.version_info >= (3, 12)

LAST_WINS = """
import asyncio
from aiohttp import ClientSession, web
from aiohttp.test_utils import TestServer

async def test_last_wins():
    seen = []
    async def put(request):
        seen.append(request.match_info["n"])
        return web.Response()
    app = web.Application()
    app.router.add_put("/values/{n}", put)
    async with TestServer(app) as server, ClientSession() as ada, ClientSession() as grace:
        url = server.make_url("/values")
        for each in (ada, grace) if IS_KEPT else ():
            await each.put(url / "0")
        await asyncio.gather(ada.put(url / "1"), grace.put(url / "2"))
        assert seen[-1] == "2"
"""


@pytest.mark.parametrize(
    ("is_kept", "expected"),
    [
        (
            False,
            "Fails if *"
            if IS_EAGER
            else "Fails if the connection for request PUT /values/1 comes in after*seen.append*task*PUT /values/2).*",
        ),
        (True, "Fails if *" if IS_EAGER else "Fails if request PUT /values/2 arrives before request PUT /values/1."),
    ],
    ids=["new connection", "kept connection"],
)
def test_the_sentence_names_the_requests(pytester: pytest.Pytester, is_kept: bool, expected: str) -> None:
    pytester.makeini("[pytest]\nasyncio_mode = auto")
    pytester.makepyfile(LAST_WINS.replace("IS_KEPT", str(is_kept)))

    result = pytester.runpytest("--interleave", "--interleave-seed=1", "--interleave-time=20")

    result.assert_outcomes(failed=1)
    report = result.stdout.str().partition("- interleave -")[2]
    sentence = " ".join(report.partition("\n\n")[0].split())
    assert "web_protocol.py" not in report
    assert pytest.LineMatcher([sentence]).fnmatch_lines([f"*{expected}"]) is None
    columns = next(line for line in report.splitlines() if line.startswith("time "))
    assert ("PUT /values/1" in columns) != IS_EAGER
    assert ("PUT /values/2" in columns) != IS_EAGER
