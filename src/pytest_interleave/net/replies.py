"""The answers of mock routes, as aiohttp's server sends them."""

from __future__ import annotations

import asyncio
import inspect
import json as json_module
import mimetypes
from collections.abc import AsyncIterable, Callable, Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pytest_interleave.net.pacing import PacedTransport
from pytest_interleave.net.wire import reset_when_closed

if TYPE_CHECKING:
    from aiohttp import web

Piece = bytes | str | float
Pieces = Iterable[Piece] | AsyncIterable[Piece]


@dataclass(frozen=True)
class Reply:
    """One answer of a route."""

    status: int = 200
    headers: Mapping[str, str] = field(default_factory=dict)
    body: bytes = b""
    #: Pieces of the body, each sent by itself; a number is a pause in seconds. Or what returns them for each request.
    stream: Pieces | Callable[[], Pieces] | None = None
    file: Path | None = None
    handler: Callable[..., Any] | None = None
    delay: float = 0.0
    cut_after: int | None = None
    is_reset: bool = False

    async def send(self, request: web.Request) -> web.StreamResponse:
        """Give this answer."""
        from aiohttp import web

        if self.delay:
            await asyncio.sleep(self.delay)
        if self.is_reset:
            reset(request)
            return web.Response()
        if self.handler is not None:
            return await self._ask(self.handler, request)
        if self.file is not None and not self.file.is_file():
            raise FileNotFoundError(f"reply(file={str(self.file)!r}): there is no such file in {Path.cwd()}")
        if self.file is not None and isinstance(request.transport, PacedTransport):
            kind = {"Content-Type": mimetypes.guess_type(self.file)[0] or "application/octet-stream"}
            return web.Response(status=self.status, headers={**kind, **self.headers}, body=self.file.read_bytes())
        if self.file is not None:
            return web.FileResponse(self.file, status=self.status, headers=self.headers)
        if self.stream is not None:
            return await self._stream(request, self.stream() if callable(self.stream) else self.stream)
        if self.cut_after is not None and request.method != "HEAD":
            return await self._cut(request, self.cut_after)
        return web.Response(status=self.status, headers=self.headers, body=self.body)

    async def _ask(self, handler: Callable[..., Any], request: web.Request) -> web.StreamResponse:
        from aiohttp import web

        answer = handler(request)
        if inspect.isawaitable(answer):
            answer = await answer
        if isinstance(answer, web.StreamResponse):
            return answer
        headers = dict(self.headers)
        return web.Response(status=self.status, body=encode(answer, headers), headers=headers)

    async def _stream(self, request: web.Request, pieces: Any) -> web.StreamResponse:
        from aiohttp import web

        response = web.StreamResponse(status=self.status, headers=self.headers)
        if "Content-Length" not in response.headers and request.version >= (1, 1):
            response.enable_chunked_encoding()
        await response.prepare(request)
        async for piece in _iterate(() if request.method == "HEAD" else pieces):
            if isinstance(piece, (bytes, str)):
                await response.write(piece.encode() if isinstance(piece, str) else piece)
            else:
                await asyncio.sleep(piece)
        await response.write_eof()
        return response

    async def _cut(self, request: web.Request, count: int) -> web.StreamResponse:
        """Promise the whole body and hang up in it."""
        from aiohttp import web

        response = web.StreamResponse(status=self.status, headers=self.headers)
        response.content_length = len(self.body)
        await response.prepare(request)
        await response.write(self.body[:count])
        if request.transport is not None:
            request.transport.close()
        return response


class Once:
    """An iterator as the pieces of one answer: a second one would be empty."""

    def __init__(self, pieces: Pieces) -> None:
        self._pieces: Pieces | None = pieces

    def __call__(self) -> Pieces:
        """Return the pieces, the first time."""
        pieces, self._pieces = self._pieces, None
        if pieces is None:
            raise RuntimeError(
                "reply(stream=…) was given an iterator, and the first request has used it up: give a list, or the "
                "function that makes it (stream=events, not stream=events())"
            )
        return pieces


async def _iterate(pieces: Any) -> Any:
    if isinstance(pieces, AsyncIterable):
        async for piece in pieces:
            yield piece
    else:
        for piece in pieces:
            yield piece


def reset(request: web.Request) -> None:
    """End the connection of a request as nobody should."""
    transport = request.transport
    if transport is not None:
        reset_when_closed(transport)
        transport.abort()


def encode(thing: Any, headers: dict[str, str]) -> bytes:
    """Return the bytes for text, bytes or JSON; name the type in the headers unless they do."""
    if isinstance(thing, (bytes, bytearray, memoryview)):
        kind, encoded = "application/octet-stream", bytes(thing)
    elif isinstance(thing, str):
        kind, encoded = "text/plain; charset=utf-8", thing.encode()
    else:
        kind, encoded = "application/json", json_module.dumps(thing).encode()
    if not any(name.lower() == "content-type" for name in headers):
        headers["Content-Type"] = kind
    return encoded
