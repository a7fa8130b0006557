"""The real host of a recording, asked by aiohttp's client, past all declared hosts."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from pytest_interleave.errors import RecordingError
from pytest_interleave.net import answering, har, interception
from pytest_interleave.net.har import Answer, Exchange, Request
from pytest_interleave.net.replies import reset

if TYPE_CHECKING:
    import aiohttp
    from aiohttp import web

_AS_CLIENTS_SAY = ("User-Agent", "Accept", "Accept-Encoding", "Content-Type")
#: Of the request as it came to us; the client that asks the real host has its own.
_NOT_PASSED_ON = har.OF_THE_CONNECTION | {"content-length", "content-encoding", "expect"}


class RealHost:
    """Where requests go that are to be recorded; at ``upstream``, or else at their own URL."""

    def __init__(self, upstream: str | None) -> None:
        self._upstream = upstream
        self._session: aiohttp.ClientSession | None = None

    async def ask(
        self, request: web.Request, arrived: Request, what: str, keep: Callable[[Exchange], None]
    ) -> web.StreamResponse:
        """Let the client have what the host answers, and ``keep`` it. Raise ``RecordingError`` if it does not."""
        import aiohttp
        from yarl import URL

        if request.headers.get("Upgrade", "").lower() == "websocket":
            raise RecordingError(f"{what} is a WebSocket, which is not recorded")
        url = f"{self._upstream}{request.raw_path}" if self._upstream else arrived.url
        dropped = _NOT_PASSED_ON | {"host"} if self._upstream else _NOT_PASSED_ON
        headers = [(name, value) for name, value in arrived.headers if name.lower() not in dropped]
        clock = asyncio.get_running_loop().time
        started = datetime.now(UTC).isoformat(timespec="milliseconds")
        began = clock()
        try:
            with interception.past_all_hosts():
                async with self._open().request(
                    arrived.method,
                    URL(url, encoded=True),
                    headers=headers,
                    data=arrived.body or None,
                    allow_redirects=False,
                    skip_auto_headers=_AS_CLIENTS_SAY,
                ) as response:
                    answered = clock()

                    def keep_answer(answer: Answer) -> None:
                        keep(Exchange(arrived, answer, started, answered - began, clock() - answered))

                    if _is_stream(response):
                        return await _pass_on(request, response, keep_answer)
                    body = await response.read()
        except (aiohttp.ClientError, OSError) as error:
            raise RecordingError(f"{what} could not be recorded: {error or type(error).__name__}") from error
        answer = _answer(response, body)
        keep_answer(answer)
        return await answering.send(request, answer, are_timings_kept=False)

    def _open(self) -> aiohttp.ClientSession:
        import aiohttp

        if self._session is None:
            self._session = aiohttp.ClientSession(
                auto_decompress=False,
                cookie_jar=aiohttp.DummyCookieJar(),
                connector=aiohttp.TCPConnector(limit=0),
                timeout=aiohttp.ClientTimeout(total=None),  # the client has its own
            )
        return self._session

    async def close(self) -> None:
        """Close the connections."""
        if self._session is not None:
            await self._session.close()


def _is_stream(response: aiohttp.ClientResponse) -> bool:
    """Whether the answer may come piece by piece, and the pieces be meant."""
    headers = response.headers
    return "chunked" in headers.get("Transfer-Encoding", "").lower() and "Content-Encoding" not in headers


async def _pass_on(
    request: web.Request, response: aiohttp.ClientResponse, keep: Callable[[Answer], None]
) -> web.StreamResponse:
    """Let the client have each piece when it comes, and keep what came: many a stream is never read to its end."""
    import aiohttp

    clock = asyncio.get_running_loop().time
    began = clock()
    streamed = answering.begin_stream(request, _answer(response, b""))
    pieces: list[tuple[float, int]] = []
    body = bytearray()
    is_finished = False
    try:
        try:
            await streamed.prepare(request)
        except ConnectionError:
            return streamed
        async for piece in _pieces(response):
            pieces.append((clock() - began, len(piece)))
            body += piece
            try:
                await streamed.write(piece)
            except ConnectionError:
                return streamed  # the client has gone, as clients of endless streams do
        is_finished = True
    except (aiohttp.ClientError, OSError):
        pieces.clear()
        reset(request)  # the client has had half an answer; it gets no end of it
        raise
    finally:
        if is_finished or pieces:
            keep(_answer(response, bytes(body), pieces, is_finished=is_finished))
    await streamed.write_eof()
    return streamed


async def _pieces(response: aiohttp.ClientResponse) -> Any:
    """Yield the chunks as the host made them."""
    chunk = bytearray()
    async for piece, is_end in response.content.iter_chunks():
        chunk += piece
        if is_end and chunk:
            yield bytes(chunk)
            chunk.clear()
    if chunk:
        yield bytes(chunk)


def _answer(response: aiohttp.ClientResponse, body: bytes, pieces: Any = (), *, is_finished: bool = True) -> Answer:
    encoding = response.headers.get("Content-Encoding", "").strip().lower()
    plain = har.decompress(body, encoding)
    return Answer(
        response.status,
        response.reason or "",
        tuple((name, value) for name, value in response.headers.items() if name.lower() not in har.OF_THE_CONNECTION),
        body if plain is None else plain,
        is_encoded=plain is None,
        # An answer in one piece is like any other.
        pieces=tuple(pieces) if len(pieces) > 1 or not is_finished else (),
        is_finished=is_finished,
    )
