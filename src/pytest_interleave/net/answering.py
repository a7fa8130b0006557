"""An answer of a recording, as aiohttp's server sends it: the body in plain, whole or in the pieces that it came in."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from pytest_interleave.net import har
from pytest_interleave.net.har import Answer

if TYPE_CHECKING:
    from aiohttp import web
    from multidict import CIMultiDict


async def send(request: web.Request, answer: Answer, *, are_timings_kept: bool) -> web.StreamResponse:
    """Give that answer, with the pauses between its pieces if timings are kept."""
    from aiohttp import web

    if not answer.pieces or request.method == "HEAD":
        headers = headers_of(answer, is_head=request.method == "HEAD")
        return web.Response(
            status=answer.status, reason=answer.reason or None, headers=headers, body=answer.body or None
        )
    clock = asyncio.get_running_loop().time
    response = begin_stream(request, answer)
    await response.prepare(request)
    began = clock()
    start = 0
    for seconds, length in answer.pieces:
        pause = began + seconds - clock()
        if are_timings_kept and pause > 0:
            await asyncio.sleep(pause)
        await response.write(answer.body[start : start + length])
        start += length
    if not answer.is_finished:
        await asyncio.Event().wait()  # until the client goes, or the test ends, as it was when this was recorded
    await response.write_eof()
    return response


def begin_stream(request: web.Request, answer: Answer) -> web.StreamResponse:
    """Return a response that is sent piece by piece."""
    from aiohttp import web

    response = web.StreamResponse(status=answer.status, reason=answer.reason or None, headers=headers_of(answer))
    if request.version >= (1, 1):
        response.enable_chunked_encoding()
    return response


def headers_of(answer: Answer, *, is_head: bool = False) -> CIMultiDict[str]:
    """Return the headers, but for those that do not fit what is sent."""
    from multidict import CIMultiDict

    dropped = set(har.OF_THE_CONNECTION)
    if not answer.is_encoded:
        dropped.add("content-encoding")
    if not is_head:
        dropped.add("content-length")
    return CIMultiDict((name, value) for name, value in answer.headers if name.lower() not in dropped)
