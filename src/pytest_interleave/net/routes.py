"""Mock routes: what a test says that a host answers, told over the wire by aiohttp's own server.

The client is left alone: its timeouts, pool, cookies, redirects and decoding are the real ones. A request goes to the
last declared route that it fits, so a test may go before what a fixture declares. A route gives its replies in order,
and the last of them again and again.
"""

from __future__ import annotations

import asyncio
import json as json_module
import re
import socket
import ssl
import sys
from collections.abc import AsyncIterator, Callable, Hashable, Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pytest_interleave.net.calls import NO_ROUTE_STATUS, Call, Unmatched
from pytest_interleave.net.draw import CHOICES_OF_ROUTES, check_kinds
from pytest_interleave.net.faults import HEALTHY, Faults, Schedule, check_for_route, read_faults
from pytest_interleave.net.pacing import PacedTransport, pace
from pytest_interleave.net.replies import Once, Pieces, Reply, encode
from pytest_interleave.net.wanted import ABSENT, Query, Wanted

if TYPE_CHECKING:
    from aiohttp import web

    from pytest_interleave.net.aiohttp_server import ServedApplication
    from pytest_interleave.net.hosts import Hosts


class Route:
    """What is asked, and the answers to it: ``api.get("/users/{id}").reply(json={...})``."""

    def __init__(
        self,
        wanted: Wanted,
        *,
        is_optional: bool,
        place: str,
        owner: Routes,
    ) -> None:
        self.wanted = wanted
        self.is_optional = is_optional
        #: ``file:line`` of its declaration.
        self.place = place
        self.calls: list[Call] = []
        self._replies: list[Reply] = []
        self._owner = owner
        self._schedule = Schedule(owner.hosts.now)
        self._kinds: tuple[str, ...] = ()

    @property
    def method(self) -> str:
        """The method that is wanted; ``*`` for any."""
        return self.wanted.method

    @property
    def path(self) -> str | re.Pattern[str]:
        """The path that is wanted."""
        return self.wanted.path

    # -- declaring -----------------------------------------------------------------------------------------------

    def reply(
        self,
        handler: Callable[..., Any] | None = None,
        *,
        status: int = 200,
        json: Any = ABSENT,
        text: str | None = None,
        body: bytes | None = None,
        file: str | Path | None = None,
        stream: Pieces | Callable[[], Pieces] | None = None,
        headers: Mapping[str, str] | None = None,
        delay: float = 0.0,
        cut_after: int | None = None,
    ) -> Route:
        """Add an answer, after those that the route has. Returns the route.

        ``handler`` is a function, async or not, of aiohttp's request; it returns a response, text, bytes, or what JSON
        can hold. ``stream`` is sent piece by piece, and pauses where a piece is a number of seconds; it may be a
        function that is called for each request, such as an async generator's. ``delay`` comes before the answer;
        ``cut_after`` bytes of the body, the connection is closed.
        """
        if handler is not None:
            _check_handler(handler)
        given = [handler, json if json is not ABSENT else None, text, body, file, stream]
        if sum(one is not None for one in given) > 1:
            raise TypeError("reply() takes one of handler, json, text, body, file and stream")
        sent = dict(headers or {})
        content = b""
        if json is not ABSENT:
            # What text or bytes would be as JSON is a JSON string.
            sent.setdefault("Content-Type", "application/json")
            content = json_module.dumps(json).encode()
        elif text is not None or body is not None:
            content = encode(text if text is not None else body, sent)
        if cut_after is not None and not content:
            raise TypeError("cut_after cuts a json, text or body that it needs")
        if isinstance(stream, Iterator | AsyncIterator):
            stream = Once(stream)
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
        self._schedule.add(check_for_route(read_faults(faults)), after, lasting)
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
        return self.wanted.mismatches(call)

    def take(self, call: Call) -> Reply:
        """Note the request; return the answer to it."""
        self.calls.append(call)
        call.route = self
        if not self._replies:
            return Reply()
        return self._replies[min(len(self.calls), len(self._replies)) - 1]

    def __str__(self) -> str:
        return str(self.wanted)

    def __repr__(self) -> str:
        return f"<route {self}, {len(self.calls)} calls>"


class Routes:
    """The routes of one host, and the log of what was asked there."""

    def __init__(self, name: str, hosts: Hosts, *, asked_as: Hashable = None) -> None:
        self.name = name
        #: What ``Hosts.routes`` was called with.
        self.asked_as = asked_as
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
        query: Query | None = None,
        headers: Mapping[str, object] | None = None,
        json: Any = ABSENT,
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
        wanted = Wanted(method, path, query=query, headers=headers, json=json, body=body)
        route = Route(wanted, is_optional=optional, place=place, owner=self)
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
            request.match_info.update(route.wanted.parameters(call))
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


def _check_handler(handler: Any) -> None:
    """Raise if it is no function of a request, with what to write for what it is."""
    from aiohttp import web

    kind = handler if isinstance(handler, type) else type(handler)
    if issubclass(kind, web.StreamResponse):
        advice = "a response is sent once: write status=, json= …, or a function that makes it"
    elif issubclass(kind, BaseException):
        advice = (
            "clients raise errors of their own: .reset() breaks the connection, delay=60 runs into a timeout, "
            "and faults(refuse=True) of the host lets nobody in"
        )
    elif not callable(handler):
        advice = "what comes first is a function of the request; write json=, text= or body="
    else:
        return
    raise TypeError(f"reply({handler!r}): {advice}")
