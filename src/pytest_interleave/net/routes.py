"""Mock routes: what a test says that a host answers, told over the wire by aiohttp's own server.

The client is left alone: its timeouts, pool, cookies, redirects and decoding are the real ones. A request goes to the
last declared route that it fits, so a test may go before what a fixture declares. A route gives its replies in order,
and the last of them again and again.
"""

from __future__ import annotations

import asyncio
import inspect
import json as json_module
import mimetypes
import re
import socket
import ssl
import sys
from collections.abc import AsyncIterable, Callable, Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol, TypeVar
from urllib.parse import parse_qsl

from pytest_interleave.net.draw import CHOICES_OF_ROUTES, check_kinds
from pytest_interleave.net.faults import HEALTHY, Faults, Schedule, check_for_route
from pytest_interleave.net.pacing import PacedTransport, pace
from pytest_interleave.net.wire import reset_when_closed

if TYPE_CHECKING:
    from aiohttp import web

    from pytest_interleave.net.aiohttp_server import ServedApplication
    from pytest_interleave.net.hosts import Hosts

#: Stands for "not said", where None is a value (JSON has null).
_ABSENT: Any = type("Absent", (), {"__repr__": lambda self: "absent"})()
#: What a client gets whose request fits no route: no API answers so by itself.
NO_ROUTE_STATUS = 501
_PLACEHOLDER = re.compile(r"\{(\w+)\}")
_LONGEST_VALUE = 200

Pairs = Mapping[str, object] | Iterable[tuple[str, object]]


@dataclass(eq=False)
class Call:
    """One request that arrived."""

    method: str
    url: str
    path: str
    query: tuple[tuple[str, str], ...]
    headers: Mapping[str, str]
    body: bytes
    #: By the clock of the loop: virtual where time is.
    began: float
    #: When the reply was given; None as long as it is not.
    ended: float | None = None
    route: Route | None = None

    @property
    def text(self) -> str:
        """The body as text."""
        return self.body.decode(errors="replace")

    def json(self) -> Any:
        """Return what the body says as JSON."""
        return json_module.loads(self.body)

    def __repr__(self) -> str:
        return f"<{self.method} {self.url}>"


@dataclass(frozen=True)
class Reply:
    """One answer of a route."""

    status: int = 200
    headers: Mapping[str, str] = field(default_factory=dict)
    body: bytes = b""
    #: Pieces of the body, each sent by itself; a number is a pause in seconds.
    stream: Iterable[bytes | str | float] | AsyncIterable[bytes | str | float] | None = None
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
        if self.file is not None and isinstance(request.transport, PacedTransport):
            kind = {"Content-Type": mimetypes.guess_type(self.file)[0] or "application/octet-stream"}
            return web.Response(status=self.status, headers={**kind, **self.headers}, body=self.file.read_bytes())
        if self.file is not None:
            return web.FileResponse(self.file, status=self.status, headers=self.headers)
        if self.stream is not None:
            return await self._stream(request, self.stream)
        if self.cut_after is not None:
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
        return web.Response(status=self.status, body=_encode(answer, headers), headers=headers)

    async def _stream(self, request: web.Request, pieces: Any) -> web.StreamResponse:
        from aiohttp import web

        response = web.StreamResponse(status=self.status, headers=self.headers)
        if "Content-Length" not in response.headers and request.version >= (1, 1):
            response.enable_chunked_encoding()
        await response.prepare(request)
        async for piece in _iterate(pieces):
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


def _encode(thing: Any, headers: dict[str, str]) -> bytes:
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


class Route:
    """What is asked, and the answers to it: ``api.get("/users/{id}").reply(json={...})``."""

    def __init__(
        self,
        method: str,
        path: str | re.Pattern[str],
        *,
        query: Pairs | None,
        headers: Mapping[str, str] | None,
        json: Any,
        body: bytes | str | None,
        is_optional: bool,
        place: str,
        owner: Routes,
    ) -> None:
        self.method = method.upper()
        if isinstance(path, str):
            path, mark, inline = path.partition("?")
            if mark and query is not None:
                raise ValueError(f"{path}?{inline} has a query already: leave out query=")
            if not path.startswith("/"):
                raise ValueError(f"the path {path!r} begins with no slash; the host is that of routes()")
            if mark:
                query = parse_qsl(inline, keep_blank_values=True)
        self.path = path
        self.is_optional = is_optional
        #: ``file:line`` of its declaration.
        self.place = place
        self.calls: list[Call] = []
        self._pattern = path if isinstance(path, re.Pattern) else _compile(path)
        pairs = query.items() if isinstance(query, Mapping) else query
        self._query = None if pairs is None else sorted((str(name), str(value)) for name, value in pairs)
        self._headers = dict(headers or {})
        self._json = json
        self._body = body.encode() if isinstance(body, str) else body
        self._replies: list[Reply] = []
        self._owner = owner
        self._schedule = Schedule(owner.hosts.now)
        self._kinds: tuple[str, ...] = ()

    # -- declaring -----------------------------------------------------------------------------------------------

    def reply(
        self,
        handler: Callable[..., Any] | None = None,
        *,
        status: int = 200,
        json: Any = _ABSENT,
        text: str | None = None,
        body: bytes | None = None,
        file: str | Path | None = None,
        stream: Iterable[bytes | str | float] | AsyncIterable[bytes | str | float] | None = None,
        headers: Mapping[str, str] | None = None,
        delay: float = 0.0,
        cut_after: int | None = None,
    ) -> Route:
        """Add an answer, after those that the route has. Returns the route.

        ``handler`` is a function, async or not, of aiohttp's request; it returns a response, text, bytes, or what JSON
        can hold. ``stream`` is sent piece by piece, and pauses where a piece is a number of seconds. ``delay`` comes
        before the answer; ``cut_after`` bytes of the body, the connection is closed.
        """
        if handler is not None and not callable(handler):
            raise TypeError(
                f"reply({handler!r}): what comes first is a function of the request; write json=, text= or body="
            )
        given = [handler, json if json is not _ABSENT else None, text, body, file, stream]
        if sum(one is not None for one in given) > 1:
            raise TypeError("reply() takes one of handler, json, text, body, file and stream")
        sent = dict(headers or {})
        content = b""
        if json is not _ABSENT:
            # What text or bytes would be as JSON is a JSON string.
            sent.setdefault("Content-Type", "application/json")
            content = json_module.dumps(json).encode()
        elif text is not None or body is not None:
            content = _encode(text if text is not None else body, sent)
        if cut_after is not None and not content:
            raise TypeError("cut_after cuts a json, text or body that it needs")
        self._replies.append(
            Reply(
                status=status,
                headers=sent,
                body=content,
                stream=stream,
                file=None if file is None else Path(file),
                handler=handler,
                delay=delay,
                cut_after=cut_after,
            )
        )
        return self

    def reset(self, *, delay: float = 0.0) -> Route:
        """Add, as the next answer, a connection that is reset before a byte of it. Returns the route."""
        self._replies.append(Reply(delay=delay, is_reset=True))
        return self

    def faults(self, *, after: float = 0.0, lasting: float = float("inf"), **faults: Any) -> Route:
        """Let the way to this route have these faults, as ``NamedHost.faults`` does for a host. Returns the route.

        They begin when a request has come in, so a connection is made as the host's own faults will have it.
        """
        self._schedule.add(check_for_route(Faults(**faults)), after, lasting)
        return self

    def may_fail(self, *kinds: str) -> Route:
        """Let a search choose, for each request, whether one of these strikes; none named: all. Returns the route.

        ``reset``, ``closed``, ``silent``, ``slow``, ``short``. Plain runs stay healthy.
        """
        self._kinds = check_kinds(kinds, CHOICES_OF_ROUTES)
        return self

    def heal(self) -> None:
        """End its faults, those to come included."""
        self._schedule.clear()

    # -- at work -------------------------------------------------------------------------------------------------

    def _draw(self, subject: str) -> Faults:
        """Return what the next request has for itself."""
        now = self._schedule.faults_now()
        own = self._owner.hosts.draw_own(now, self._kinds, subject)
        return now.shared if own is HEALTHY else own

    async def set_out(self, request: web.Request) -> None:
        """Take as long as the request takes to come; prepare the way back."""
        while self._schedule.faults_now().partition:
            await self._schedule.wait_for_change()
        subject = f"the answer to {self}"
        fate = self._draw(subject) if self._schedule or self._kinds else HEALTHY
        hosts = self._owner.hosts
        latency = hosts.draw.seconds(fate.latency, subject)
        if latency:
            await asyncio.sleep(latency)
        if fate is not HEALTHY or isinstance(request.transport, PacedTransport):
            paced = pace(request)
            if paced is not None:
                paced.begin(fate, latency, lambda text: hosts.note_fault(f"{subject} {text}"))

    def mismatches(self, call: Call) -> list[str]:
        """Return what of the request is not as the route wants it, a line each."""
        found = []
        if self.method not in ("*", call.method):
            found.append(f"method: {self.method} is wanted, {call.method} came")
        if self._pattern.fullmatch(call.path) is None:
            path = self.path if isinstance(self.path, str) else self.path.pattern
            found.append(f"path: {path} is wanted, {call.path} came")
        if self._query is not None and self._query != sorted(call.query):
            found.append(f"query: {query_text(self._query)} is wanted, {query_text(call.query)} came")
        for name, value in self._headers.items():
            actual = call.headers.get(name)
            if actual != value:
                came = "none" if actual is None else repr(actual)
                found.append(f"header {name}: {value!r} is wanted, {came} came")
        if self._json is not _ABSENT:
            try:
                fits = call.json() == self._json
            except ValueError:
                fits = False
            if not fits:
                wanted = json_module.dumps(self._json, default=repr)
                found.append(f"JSON: {shorten(wanted)} is wanted, {shorten(call.text) or 'nothing'} came")
        if self._body is not None and self._body != call.body:
            found.append(f"body: {shorten(repr(self._body))} is wanted, {shorten(repr(call.body))} came")
        return found

    def parameters(self, call: Call) -> dict[str, str]:
        """Return what the path has at the route's placeholders."""
        match = self._pattern.fullmatch(call.path)
        return {} if match is None else match.groupdict()

    def take(self, call: Call) -> Reply:
        """Note the request; return the answer to it."""
        self.calls.append(call)
        call.route = self
        if not self._replies:
            return Reply()
        return self._replies[min(len(self.calls), len(self._replies)) - 1]

    def __str__(self) -> str:
        path = self.path if isinstance(self.path, str) else f"/{self.path.pattern}/"
        query = "" if self._query is None else f"?{'&'.join(f'{name}={value}' for name, value in self._query)}"
        return f"{self.method} {path}{query}"

    def __repr__(self) -> str:
        return f"<route {self}, {len(self.calls)} calls>"


class Expected(Protocol):
    """What an unmatched request is compared with: a route, or a request that was recorded."""

    @property
    def path(self) -> str | re.Pattern[str]:
        """The path that is asked for."""

    def mismatches(self, call: Call) -> list[str]:
        """Return what of the request is not as it should be, a line each."""


@dataclass(frozen=True)
class Unmatched:
    """A request that fitted no route."""

    call: Call
    routes: tuple[Route, ...]

    @property
    def place(self) -> str | None:
        """Where the nearest route is declared, as ``file:line``."""
        nearest = self.nearest()
        return None if nearest is None else nearest.place

    @property
    def advice(self) -> str:
        """What to do about it; ``{test}`` stands for the test."""
        return ""

    def summary(self) -> str:
        """Return one line."""
        return f"{self.call.method} {self.call.url} fits no route"

    def nearest(self) -> Route | None:
        """Return the route that it misses by the least."""
        return nearest_of(self.call, self.routes)

    def differences(self) -> tuple[str, ...]:
        """Return what the nearest route wants and what came, then the other routes."""
        nearest = self.nearest()
        if nearest is None:
            return ("no route is declared",)
        others = [route for route in self.routes if route is not nearest]
        lines = [f"the nearest, declared there, is {nearest}:"]
        lines += [f"  {line}" for line in nearest.mismatches(self.call)]
        if others:
            lines.append("others: " + ", ".join(str(route) for route in others))
        return tuple(lines)


_AnyExpected = TypeVar("_AnyExpected", bound=Expected)


def nearest_of(call: Call, expected: Iterable[_AnyExpected]) -> _AnyExpected | None:
    """Return what the request misses by the least; None if nothing is expected."""

    def distance(one: _AnyExpected) -> tuple[bool, int, int]:
        """Order them: those for this path first, then by how much else differs, then by how the path begins."""
        found = one.mismatches(call)
        path = one.path if isinstance(one.path, str) else ""
        common = sum(1 for one, other in zip(path.split("/"), call.path.split("/"), strict=False) if one == other)
        return any(line.startswith("path") for line in found), len(found), -common

    return min(expected, key=distance, default=None)


class Routes:
    """The routes of one host, and the log of what was asked there."""

    def __init__(self, name: str, hosts: Hosts) -> None:
        self.name = name
        self.hosts = hosts
        self.declared: list[Route] = []
        #: Every request, in the order of arrival.
        self.calls: list[Call] = []
        self.unmatched: list[Unmatched] = []
        #: The largest number of requests that waited for their answers at once.
        self.max_in_flight = 0
        #: Exceptions of handlers; their clients got a 500.
        self.errors: list[Exception] = []
        self._in_flight = 0
        self._served: ServedApplication | None = None

    # -- declaring -----------------------------------------------------------------------------------------------

    def add(
        self,
        method: str,
        path: str | re.Pattern[str],
        *,
        query: Pairs | None = None,
        headers: Mapping[str, str] | None = None,
        json: Any = _ABSENT,
        body: bytes | str | None = None,
        optional: bool = False,
    ) -> Route:
        """Declare a route; without a reply it answers 200 with nothing.

        ``method`` may be ``*``. ``path`` may have placeholders (``/users/{id}``) and a query, or is a regular
        expression. The query, if one is named here or there, is the whole one; of the headers, others may come too.
        A route that no request comes to fails the test, unless it is ``optional``.
        """
        frame = sys._getframe(1)
        while frame.f_code.co_filename == __file__ and frame.f_back is not None:
            frame = frame.f_back
        place = f"{frame.f_code.co_filename}:{frame.f_lineno}"
        route = Route(
            method,
            path,
            query=query,
            headers=headers,
            json=json,
            body=body,
            is_optional=optional,
            place=place,
            owner=self,
        )
        self.declared.append(route)
        return route

    def get(self, path: str | re.Pattern[str], **wanted: Any) -> Route:
        """Declare a route for GET; see ``add``."""
        return self.add("GET", path, **wanted)

    def post(self, path: str | re.Pattern[str], **wanted: Any) -> Route:
        """Declare a route for POST; see ``add``."""
        return self.add("POST", path, **wanted)

    def put(self, path: str | re.Pattern[str], **wanted: Any) -> Route:
        """Declare a route for PUT; see ``add``."""
        return self.add("PUT", path, **wanted)

    def patch(self, path: str | re.Pattern[str], **wanted: Any) -> Route:
        """Declare a route for PATCH; see ``add``."""
        return self.add("PATCH", path, **wanted)

    def delete(self, path: str | re.Pattern[str], **wanted: Any) -> Route:
        """Declare a route for DELETE; see ``add``."""
        return self.add("DELETE", path, **wanted)

    def unused(self) -> list[Route]:
        """Return the routes that had to be used and were not."""
        return [route for route in self.declared if not route.calls and not route.is_optional]

    # -- at work -------------------------------------------------------------------------------------------------

    async def listen(self, listener: socket.socket, tls: ssl.SSLContext | None) -> None:
        """Answer on that socket."""
        if self._served is None:
            from pytest_interleave.net.aiohttp_server import serve_all

            self._served = serve_all(self._answer)
        await self._served.listen(listener, tls)

    async def close(self) -> None:
        """End the server."""
        if self._served is not None:
            await self._served.close()

    async def _answer(self, request: web.Request) -> web.StreamResponse:
        from aiohttp import web

        clock = asyncio.get_running_loop().time
        query = tuple(request.query.items())
        self._in_flight += 1
        self.max_in_flight = max(self.max_in_flight, self._in_flight)
        call = Call(request.method, _url_of(request), request.path, query, request.headers, b"", clock())
        try:
            call.body = await request.read()
            self.calls.append(call)
            for route in reversed(self.declared):
                if not route.mismatches(call):
                    break
            else:
                unmatched = Unmatched(call, tuple(self.declared))
                self.unmatched.append(unmatched)
                self.hosts.note_unmatched(unmatched)
                text = "\n".join([unmatched.summary(), *unmatched.differences()])
                return web.Response(status=NO_ROUTE_STATUS, text=text)
            request.match_info.update(route.parameters(call))
            reply = route.take(call)
            await route.set_out(request)
            return await reply.send(request)
        except (web.HTTPException, ConnectionError):
            raise
        except Exception as error:
            self.errors.append(error)
            raise
        finally:
            call.ended = clock()
            self._in_flight -= 1

    def __repr__(self) -> str:
        return f"<routes of {self.name}: {', '.join(map(str, self.declared)) or 'none'}>"


def _url_of(request: web.Request) -> str:
    """Return what ``request.url`` would be, which fails in old aiohttp where the host has a port and yarl is new."""
    target = request.path_qs
    return f"{request.scheme}://{request.host}{target}" if target.startswith("/") else target


def _compile(path: str) -> re.Pattern[str]:
    """Return what matches a path with placeholders, each of which stands for one part of it."""
    pieces = _PLACEHOLDER.split(path)
    return re.compile(
        "".join(f"(?P<{piece}>[^/]+)" if number % 2 else re.escape(piece) for number, piece in enumerate(pieces))
    )


def query_text(pairs: Iterable[tuple[str, str]]) -> str:
    """Return a query for a message."""
    return "&".join(f"{name}={value}" for name, value in pairs) or "none"


def shorten(text: str) -> str:
    """Return as much of a text as a message may have."""
    return text if len(text) <= _LONGEST_VALUE else f"{text[:_LONGEST_VALUE]}… ({len(text)} characters)"
