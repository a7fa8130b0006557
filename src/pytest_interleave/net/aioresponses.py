"""aioresponses' calls, answered over the wire: what a test declares there, a real client gets from a real server.

As there, a request is matched where the client makes it, and errors are raised there; that is the only way to raise
just what a test asks for. An answer takes the way of every answer: a connection of the client's own pool, which leads
to a server of ours on the loopback interface, and bytes that the client parses. No ``ClientResponse`` is made here.
"""

from __future__ import annotations

import asyncio
import contextvars
import copy
import functools
import inspect
import json
import re
import socket
import ssl
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from types import TracebackType
from typing import Any, NamedTuple, Self, TypeVar
from weakref import WeakKeyDictionary

from aiohttp import BaseConnector, ClientConnectionError, ClientResponse, ClientSession, UnixConnector, web
from multidict import CIMultiDict, MultiDict
from yarl import URL

from pytest_interleave.net import certificates, interception
from pytest_interleave.net.endpoint import Endpoint
from pytest_interleave.net.hosts import Hosts
from pytest_interleave.net.named_host import NamedHost

FunctionT = TypeVar("FunctionT", bound=Callable[..., Any])
Body = str | bytes
#: Both ends of a connection, as the client sees them: no two connections share them.
Ends = tuple[Any, Any]


@dataclass(eq=False)
class CallbackResult:
    """What a callback may return: an answer."""

    method: str = "GET"
    status: int = 200
    body: Body = ""
    content_type: str = "application/json"
    payload: Any = None
    headers: Mapping[str, str] | None = None
    response_class: type[ClientResponse] | None = None
    reason: str | None = None

    def to_response(self) -> web.Response:
        """Return what the server sends."""
        body = self.body if self.payload is None else json.dumps(self.payload)
        headers = CIMultiDict({"Content-Type": self.content_type})
        headers.update(self.headers or {})
        encoded = body if isinstance(body, bytes) else body.encode()
        return web.Response(status=self.status, reason=self.reason, headers=headers, body=encoded)


class RequestCall(NamedTuple):
    """How a session was called: ``session.get(url, *args, **kwargs)``."""

    args: tuple[Any, ...]
    kwargs: dict[str, Any]


class _Match:
    """A declared answer, and for which requests."""

    def __init__(
        self,
        url: URL | str | re.Pattern[str],
        method: str,
        answer: CallbackResult,
        error: Any,
        repeat: bool | int,
        callback: Callable[..., Any] | None,
    ) -> None:
        self.url = url if isinstance(url, re.Pattern) else normalize_url(url)
        self.method = method.upper()
        self.answer = answer
        self.error = error
        self.callback = callback
        #: How often it may still be used; None: for ever.
        self.left = None if repeat is True else max(int(repeat), 1)

    def fits(self, method: str, url: URL) -> bool:
        if self.method != method.upper():
            return False
        return bool(self.url.match(str(url))) if isinstance(self.url, re.Pattern) else self.url == url

    async def find_answer(self, url: URL, kwargs: dict[str, Any]) -> CallbackResult:
        """Ask the callback, if there is one. Raise if the answer is an error."""
        result = None
        if self.callback is not None:
            result = self.callback(url, **kwargs)
            if inspect.isawaitable(result):
                result = await result
        if self.error is not None:
            raise self.error
        return self.answer if result is None else result

    def __repr__(self) -> str:
        return f"<{self.method} {self.url}>"


class _Exchange:
    """One call of a session, with the requests to which redirections lead."""

    def __init__(self, mock: aioresponses, method: str, url: URL, kwargs: dict[str, Any], match: _Match) -> None:
        self.mock = mock
        self.method = method
        self.url = url
        self.kwargs = {"allow_redirects": True, **kwargs}
        #: What the next request gets; None: it is to be looked for.
        self.match: _Match | None = match
        self.error: BaseException | None = None

    async def connect(self, connector: BaseConnector, request: Any, connect: Callable[[], Any]) -> Any:
        """Return a connection at whose other end the answer to the request waits; keep what comes up instead."""
        url = self.url
        match, self.match = self.match, None
        if match is None:
            url = normalize_url(getattr(request, "original_url", request.url))
            match = self.mock.take(request.method, url)
        try:
            if match is None:
                raise ClientConnectionError(f"Connection refused: {self.method} {self.url}")
            if match.error is not None:
                await match.find_answer(url, self.kwargs)
            request.proxy = None
            connection = await self._connect_to(self.mock.host_for(request.url), connector, connect)
            try:
                answer = await match.find_answer(url, self.kwargs)
                if answer.response_class is not None:
                    request.response_class = answer.response_class
                self.mock.answers[_ends(connection.transport, "sockname", "peername")] = answer.to_response()
            except BaseException:
                connection.close()
                raise
        except BaseException as error:
            self.error = error
            raise
        return connection

    async def _connect_to(self, host: NamedHost, connector: BaseConnector, connect: Callable[[], Any]) -> Any:
        token = interception.captor.set(host)
        try:
            connection = await connect()
            # The session's pool may have one to the real host, or to a server of an earlier scope.
            while _peer(connection) not in _addresses(host):
                connection.close()
                if isinstance(connector, UnixConnector):
                    raise RuntimeError("a UnixConnector goes to its own socket: mock a session without one")
                connection = await connect()
        finally:
            interception.captor.reset(token)
        return connection


class aioresponses:  # noqa: N801 - the name that its users know
    """Answers to the requests of all of aiohttp's sessions: a context manager, a decorator, or ``start`` and ``stop``.

    ``passthrough`` are beginnings of URLs that are asked for real; with ``passthrough_unmatched``, all are that nothing
    here answers. A decorated function gets this object as its last argument, or by the name ``param``.
    """

    def __init__(
        self, *, param: str | None = None, passthrough: Sequence[str] = (), passthrough_unmatched: bool = False
    ) -> None:
        self.passthrough_unmatched = passthrough_unmatched
        #: The calls of sessions, by method and URL, its query in order.
        self.requests: dict[tuple[str, URL], list[RequestCall]] = {}
        #: What waits to be sent on connections.
        self.answers: dict[Ends, web.Response] = {}
        self._parameter = param
        self._passthrough = tuple(passthrough)
        self._matches: list[_Match] = []
        self._hosts: _CapturingHosts | None = None
        self._servers: list[_Server] = []
        self._hosts_of_loops: WeakKeyDictionary[asyncio.AbstractEventLoop, dict[URL, NamedHost]] = WeakKeyDictionary()

    # -- scope ---------------------------------------------------------------------------------------------------

    def start(self) -> None:
        """Begin to answer, and to note requests: a decorated test may be run many times."""
        self._matches.clear()
        self.requests = {}
        self._hosts = _CapturingHosts()
        self._hosts.context = contextvars.Context()  # its servers belong to no task of the test
        interception.activate(self._hosts, before_others=False)  # named hosts say what may not be reached
        if not _active:
            ClientSession._request = _request  # type: ignore[method-assign, assignment]
            BaseConnector.connect = _connect  # type: ignore[method-assign, assignment]
        _active.append(self)

    def stop(self) -> None:
        """End it."""
        _active.remove(self)
        if not _active:
            ClientSession._request = _original_request  # type: ignore[method-assign]
            BaseConnector.connect = _original_connect  # type: ignore[method-assign]
        for server in self._servers:
            server.end()
        self._servers.clear()
        self._hosts_of_loops.clear()
        assert self._hosts is not None
        self._hosts.close()
        self.clear()

    def clear(self) -> None:
        """Forget what was declared."""
        self._matches.clear()
        self.answers.clear()

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.stop()

    def __call__(self, function: FunctionT) -> FunctionT:
        """Decorate a function, async or not."""
        if inspect.iscoroutinefunction(function):

            @functools.wraps(function)
            async def call_async(*args: Any, **kwargs: Any) -> Any:
                with self:
                    args, kwargs = self._pass_itself(function, args, kwargs)
                    return await function(*args, **kwargs)

            decorated: Any = call_async
        else:

            @functools.wraps(function)
            def call(*args: Any, **kwargs: Any) -> Any:
                with self:
                    args, kwargs = self._pass_itself(function, args, kwargs)
                    return function(*args, **kwargs)

            decorated = call
        decorated.__signature__ = self._signature_left(function)
        return decorated  # type: ignore[no-any-return]

    def _pass_itself(
        self, function: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]
    ) -> tuple[tuple[Any, ...], dict[str, Any]]:
        """Return the arguments with this object: by its name, or as the first that is missing."""
        if self._parameter:
            return args, {**kwargs, self._parameter: self}
        names = [one.name for one in _positional(function)[len(args) :] if one.name not in kwargs]
        # pytest passes fixtures by name, whichever come first.
        return (args, {**kwargs, names[0]: self}) if names and kwargs else ((*args, self), kwargs)

    # -- declaring -----------------------------------------------------------------------------------------------

    def add(
        self,
        url: URL | str | re.Pattern[str],
        method: str = "GET",
        status: int = 200,
        body: Body = "",
        exception: BaseException | type[BaseException] | None = None,
        content_type: str = "application/json",
        payload: Any = None,
        headers: Mapping[str, str] | None = None,
        response_class: type[ClientResponse] | None = None,
        repeat: bool | int = False,
        timeout: bool = False,
        reason: str | None = None,
        callback: Callable[..., Any] | None = None,
    ) -> None:
        """Declare an answer: to one request, to ``repeat`` of them, or to all (True).

        A callback, async or not, gets the URL and what the session was called with; it may return a ``CallbackResult``.
        """
        answer = CallbackResult(method, status, body, content_type, payload, headers, response_class, reason)
        error = TimeoutError("Connection timeout test") if timeout else exception
        self._matches.append(_Match(url, method, answer, error, repeat, callback))

    def get(self, url: URL | str | re.Pattern[str], **answer: Any) -> None:
        """Declare an answer to GET; see ``add``."""
        self.add(url, method="GET", **answer)

    def post(self, url: URL | str | re.Pattern[str], **answer: Any) -> None:
        """Declare an answer to POST; see ``add``."""
        self.add(url, method="POST", **answer)

    def put(self, url: URL | str | re.Pattern[str], **answer: Any) -> None:
        """Declare an answer to PUT; see ``add``."""
        self.add(url, method="PUT", **answer)

    def patch(self, url: URL | str | re.Pattern[str], **answer: Any) -> None:
        """Declare an answer to PATCH; see ``add``."""
        self.add(url, method="PATCH", **answer)

    def delete(self, url: URL | str | re.Pattern[str], **answer: Any) -> None:
        """Declare an answer to DELETE; see ``add``."""
        self.add(url, method="DELETE", **answer)

    def head(self, url: URL | str | re.Pattern[str], **answer: Any) -> None:
        """Declare an answer to HEAD; see ``add``."""
        self.add(url, method="HEAD", **answer)

    def options(self, url: URL | str | re.Pattern[str], **answer: Any) -> None:
        """Declare an answer to OPTIONS; see ``add``."""
        self.add(url, method="OPTIONS", **answer)

    # -- what came -----------------------------------------------------------------------------------------------

    def assert_not_called(self) -> None:
        """Fail if there was any request."""
        if self.requests:
            raise AssertionError(f"no request was expected; there were {self._describe_requests()}")

    def assert_called(self) -> None:
        """Fail if there was no request."""
        if not self.requests:
            raise AssertionError("a request was expected; there was none")

    def assert_called_once(self) -> None:
        """Fail if there was not just one request."""
        if sum(map(len, self.requests.values())) != 1:
            raise AssertionError(f"one request was expected; there were {self._describe_requests()}")

    def assert_any_call(self, url: URL | str, method: str = "GET", *args: Any, **kwargs: Any) -> None:
        """Fail if there was no request of that method and URL; the other arguments are not looked at."""
        self._find_calls(url, method, kwargs)

    def assert_called_with(
        self,
        url: URL | str,
        method: str = "GET",
        args_to_match: Sequence[str] | None = None,
        *args: Any,
        **kwargs: Any,
    ) -> None:
        """Fail if the last request of that method and URL was not made with just these arguments.

        ``args_to_match`` names those that are looked at; without it, all are.
        """
        actual = self._find_calls(url, method, kwargs)[-1]
        expected = _note(method.upper(), args, kwargs)
        if args_to_match is None:
            is_same = actual == expected
        else:
            is_same = all(
                name in actual.kwargs and actual.kwargs[name] == expected.kwargs[name] for name in args_to_match
            )
        if not is_same:
            raise AssertionError(f"{method.upper()} {url} was called with {actual}, and not with {expected}")

    def assert_called_once_with(self, *args: Any, **kwargs: Any) -> None:
        """Fail if there was not just one request, with these arguments; see ``assert_called_with``."""
        self.assert_called_once()
        self.assert_called_with(*args, **kwargs)

    def _find_calls(self, url: URL | str, method: str, kwargs: dict[str, Any]) -> list[RequestCall]:
        method, url = method.upper(), normalize_url(merge_params(url, kwargs.get("params")))
        calls = self.requests.get((method, url))
        if not calls:
            raise AssertionError(f"{method} {url} was expected; there were {self._describe_requests()}")
        return calls

    def _describe_requests(self) -> str:
        lines = [f"{method} {url} ({len(calls)} times)" for (method, url), calls in self.requests.items()]
        return ", ".join(lines) or "no requests"

    # -- at work -------------------------------------------------------------------------------------------------

    def take(self, method: str, url: URL) -> _Match | None:
        """Return the first answer for the request that is not used up, and use it."""
        for match in self._matches:
            if match.fits(method, url):
                if match.left is not None:
                    match.left -= 1
                    if match.left == 0:
                        self._matches.remove(match)
                return match
        return None

    async def request(
        self, following: Callable[..., Any], session: ClientSession, method: str, url: Any, args: Any, kwargs: Any
    ) -> Any:
        """Stand in for ``ClientSession._request``; ``following`` is asked for what passes through."""
        if session.closed:
            raise RuntimeError("Session is closed")
        if hasattr(kwargs.get("data"), "__aiter__"):
            # Its errors are the caller's, and the call log has the bytes, as with aioresponses.
            kwargs["data"] = b"".join([piece async for piece in kwargs["data"]])
        full = normalize_url(merge_params(session._build_url(url), kwargs.get("params")))
        if str(full).startswith(self._passthrough) and self._passthrough:
            return await following(session, method, url, *args, **kwargs)
        told = dict(kwargs)
        if session.headers:
            told["headers"] = session._prepare_headers(kwargs.get("headers"))
        self.requests.setdefault((method, full), []).append(_note(method, args, told))
        match = self.take(method, full)
        if match is None:
            if self.passthrough_unmatched:
                return await following(session, method, url, *args, **kwargs)
            raise ClientConnectionError(f"Connection refused: {method} {full}")
        exchange = _Exchange(self, method, full, told, match)
        if match.error is not None:
            await match.find_answer(full, exchange.kwargs)
        token = _exchange.set(exchange)
        try:
            return await _original_request(session, method, url, *args, **kwargs)
        except Exception:
            # aiohttp makes errors of its own of some that come up while it connects.
            if exchange.error is not None and not isinstance(exchange.error, asyncio.CancelledError):
                raise exchange.error from None
            raise
        finally:
            _exchange.reset(token)

    def host_for(self, url: URL) -> NamedHost:
        """Return where connections for that URL go in the running loop."""
        loop = asyncio.get_running_loop()
        hosts = self._hosts_of_loops.setdefault(loop, {})
        origin = url.origin()
        if origin not in hosts:
            assert self._hosts is not None
            tls = origin.scheme in ("https", "wss")
            if tls:
                certificates.authority()  # who lacks what it needs hears of it here; a server's errors would be lost
            server = _Server(self, loop)
            self._servers.append(server)
            host = NamedHost(self._hosts, origin.raw_host or "", server)
            port = origin.port or 80
            host.endpoints[port] = Endpoint(host, port, tls=tls)
            hosts[origin] = host
        return hosts[origin]

    def has_address(self, address: Any) -> bool:
        """Whether one of its servers listens there."""
        return any(address in _addresses(host) for hosts in self._hosts_of_loops.values() for host in hosts.values())

    def _signature_left(self, function: Callable[..., Any]) -> inspect.Signature:
        """Return what the callers of a decorated function still pass: pytest takes the rest for fixtures."""
        signature = inspect.signature(function)
        parameters = list(signature.parameters.values())
        if self._parameter:
            parameters = [one for one in parameters if one.name != self._parameter]
        else:
            parameters = [one for one in parameters if one not in _positional(function)[-1:]]
        return signature.replace(parameters=parameters)


class _CapturingHosts(Hosts):
    """Declares nothing: what leads to it says so by ``interception.captor``. Others may go where they like."""

    def is_allowed(self, name: str) -> bool:
        """Let the world be, unless the test has named hosts, which close it."""
        return interception.all_active_are(_CapturingHosts)


class _Server:
    """Sends what was left for the connection by which a request comes."""

    def __init__(self, mock: aioresponses, loop: asyncio.AbstractEventLoop) -> None:
        self._mock = mock
        self._loop = loop
        self._web = web.Server(self._answer, access_log=None)
        self._listening: list[asyncio.Server] = []

    async def listen(self, listener: socket.socket, tls: ssl.SSLContext | None) -> None:
        self._listening.append(await self._loop.create_server(self._web, sock=listener, ssl=tls))

    async def close(self) -> None:
        self.end()

    def end(self) -> None:
        """Listen no longer, and let connections end when what is sent is sent; unlike ``close``, at once."""
        if self._loop.is_closed():
            return
        for server in self._listening:
            server.close()
        for connection in self._web.connections:
            connection.close()

    async def _answer(self, request: web.BaseRequest) -> web.StreamResponse:
        async for _ in request.content.iter_any():  # read() allows for a megabyte
            pass
        answer = self._mock.answers.pop(_ends(request.transport, "peername", "sockname"), None)
        if answer is None:  # older responses are false where they hold no items
            answer = web.Response(status=501, text="this request was answered before")
        return answer


#: Those that have started, the innermost last.
_active: list[aioresponses] = []
_exchange: contextvars.ContextVar[_Exchange | None] = contextvars.ContextVar("exchange", default=None)
_original_request = ClientSession._request
_original_connect = BaseConnector.connect


async def _request(session: ClientSession, method: str, url: Any, *args: Any, **kwargs: Any) -> Any:
    return await _ask(list(_active), session, method, url, *args, **kwargs)


async def _ask(mocks: list[aioresponses], session: ClientSession, method: str, url: Any, *args: Any, **kw: Any) -> Any:
    if not mocks:
        return await _original_request(session, method, url, *args, **kw)
    following = functools.partial(_ask, mocks[:-1])
    return await mocks[-1].request(following, session, method, url, args, kw)


async def _connect(connector: BaseConnector, req: Any, *args: Any, **kwargs: Any) -> Any:
    connect = functools.partial(_original_connect, connector, req, *args, **kwargs)
    exchange = _exchange.get()
    if exchange is not None:
        return await exchange.connect(connector, req, connect)
    connection = await connect()
    while any(mock.has_address(_peer(connection)) for mock in _active):  # from the pool; this one passes through
        connection.close()
        connection = await connect()
    return connection


def _positional(function: Callable[..., Any]) -> list[inspect.Parameter]:
    parameters = inspect.signature(function).parameters.values()
    return [one for one in parameters if one.kind in (one.POSITIONAL_ONLY, one.POSITIONAL_OR_KEYWORD)]


def _addresses(host: NamedHost) -> list[Any]:
    """Return where the host's servers listen, as far as they have started."""
    return [endpoint.address for endpoint in host.endpoints.values() if endpoint.loop is not None]


def _peer(connection: Any) -> Any:
    return None if connection.transport is None else _end(connection.transport, "peername")


def _ends(transport: Any, *names: str) -> Ends:
    first, second = (_end(transport, name) for name in names)
    return first, second


def _end(transport: Any, name: str) -> Any:
    """Return address and port of an end of a connection: a client in IPv6 sees those of IPv4 in its own way."""
    end = transport.get_extra_info(name)
    return (end[0].removeprefix("::ffff:"), end[1]) if isinstance(end, tuple) else end


def _note(method: str, args: tuple[Any, ...], kwargs: dict[str, Any]) -> RequestCall:
    noted = {"allow_redirects": True, **kwargs}
    if method == "POST":
        noted.setdefault("data", None)
    try:
        return RequestCall(args, copy.deepcopy(noted))
    except (TypeError, ValueError):
        return RequestCall(args, noted)  # an open file, say


def merge_params(url: URL | str, params: Any = None) -> URL:
    """Return the URL with these in its query, too."""
    url = URL(url)
    if not params:
        return url
    query = MultiDict(url.query)
    query.extend(url.with_query(params).query)
    return url.with_query(query)


def normalize_url(url: URL | str) -> URL:
    """Return the URL with its query in order."""
    url = URL(url)
    return url.with_query(sorted(url.query.items()))
