"""Named hosts: what a test says is at ``api.example.com``, and unmodified clients find there.

A name gets an address in 127.0.0.0/8 that nobody listens at. When a client connects to it, the connection goes to a
socket of ours on the loopback interface, with a port that the system chose; so port 443 needs no rights, and two
processes never meet. The server starts when the first client connects, in that client's loop.
"""

from __future__ import annotations

import asyncio
import contextvars
import os
import socket
import sys
from collections.abc import Callable, Iterable, Iterator
from fnmatch import fnmatchcase
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self
from urllib.parse import urlsplit

from pytest_interleave.errors import UndeclaredHost
from pytest_interleave.net import certificates, interception
from pytest_interleave.net.draw import Draw, check_kinds
from pytest_interleave.net.endpoint import Endpoint
from pytest_interleave.net.faults import HEALTHY, Faults
from pytest_interleave.net.named_host import NamedHost
from pytest_interleave.net.names import plain
from pytest_interleave.net.refusal import Past, Refusal
from pytest_interleave.net.served import as_served

if TYPE_CHECKING:
    from pytest_interleave.net.calls import Unmatched
    from pytest_interleave.net.recording import Recording
    from pytest_interleave.net.routes import Routes

#: Default port of a scheme, and whether it is under TLS.
_SCHEMES = {
    "http": (80, False),
    "https": (443, True),
    "ws": (80, False),
    "wss": (443, True),
    "redis": (6379, False),
    "rediss": (6379, True),
    "postgresql": (5432, False),
    "mysql": (3306, False),
    "amqp": (5672, False),
    "amqps": (5671, True),
    "nats": (4222, False),
    "smtp": (25, False),
}
_LAST_PORT = 65_535
_HTTP_PORTS = ((80, False), (443, True))


class Hosts:
    """The hosts that exist, as far as clients can tell, while this is active: between ``open`` and ``close``.

    Also ``async with Hosts() as hosts:``. If several are active, the last one that knows a name answers for it.
    """

    def __init__(
        self,
        *,
        loop: asyncio.AbstractEventLoop | None = None,
        on_refusal: Callable[[Refusal], None] | None = None,
        on_fault: Callable[[str], None] | None = None,
        on_unmatched: Callable[[Unmatched], None] | None = None,
        record: str | None = None,
    ) -> None:
        #: What recordings ask the real hosts for: ``none``, ``missing`` or ``all``; None: as the session does.
        self.record = record
        #: What was attempted and refused, in order.
        self.refusals: list[Refusal] = []
        #: Of servers that could not start.
        self.errors: list[Exception] = []
        #: Kinds of faults that a search may choose for each connection.
        self.kinds: tuple[str, ...] = ()
        #: What struck, in order.
        self.struck: list[str] = []
        self.draw = Draw()
        self.context = contextvars.copy_context()
        #: Mock routes and recordings that were declared, in order.
        self.mocked: list[Routes | Recording] = []
        self._hosts: list[NamedHost] = []
        self._allowed: list[str] = []
        self._loop = loop
        self._on_refusal = on_refusal
        self._on_fault = on_fault
        self._on_unmatched = on_unmatched

    # -- declaring -----------------------------------------------------------------------------------------------

    def serve(self, name: str, thing: Any, *, port: int | None = None, tls: bool | None = None) -> NamedHost:
        """Let ``thing`` answer at ``name``: an aiohttp or ASGI application, a stream handler, or routes.

        ``name`` may be a URL (``https://api.example.com``), which tells port and TLS, and may have a wildcard
        (``*.example.com``). A bare name of an application answers at ports 80 and, under TLS, 443; a stream handler has
        no port by nature. Declared again, a name is served by what was declared last.
        """
        name, scheme_port, scheme_tls = _split(name)
        served, default_port = as_served(thing)
        port = port if port is not None else scheme_port
        tls = tls if tls is not None else scheme_tls
        if port is None and tls is None and default_port is not None:
            port = default_port
        if port == 0:
            raise ValueError(f"at which port is {name}? Say serve({name!r}, …, port=6379), or redis://{name}")
        host = NamedHost(self, name, served)
        if port is not None:
            ports: tuple[tuple[int, bool], ...] = ((port, bool(tls) if tls is not None else port == 443),)
        elif tls is not None:
            ports = ((443 if tls else 80, tls),)
        else:
            ports = _HTTP_PORTS
        if all(is_tls for _, is_tls in ports):
            certificates.authority()  # who lacks what it needs hears of it here, and not of a refused connection
        for number, is_tls in ports:
            host.endpoints[number] = Endpoint(host, number, tls=is_tls)
        self._hosts.append(host)
        return host

    def routes(self, name: str, *, port: int | None = None, tls: bool | None = None) -> Routes:
        """Return routes, still to be declared, that are served at ``name``; see ``serve``. Needs aiohttp.

        Asked again, and served as before, they are the same: fixtures may each declare some.
        """
        _import_aiohttp("routes")
        from pytest_interleave.net.routes import Routes

        known = self.find(_split(name)[0], port if port is not None else _split(name)[1])
        if known is not None and isinstance(known.served, Routes) and known.served.asked_as == (name, port, tls):
            return known.served
        routes = Routes(name, self, asked_as=(name, port, tls))
        self.serve(name, routes, port=port, tls=tls)
        self.mocked.append(routes)
        return routes

    def recording(
        self,
        name: str,
        path: str | os.PathLike[str],
        *,
        match: Iterable[str] = ("method", "path", "query", "body"),
        secrets: Iterable[str] = (),
        repeat: bool = False,
        timings: bool | None = None,
        upstream: str | None = None,
        port: int | None = None,
        tls: bool | None = None,
    ) -> Recording:
        """Let what was recorded from the real host answer at ``name``; see ``serve``. Needs aiohttp.

        ``path`` is a HAR file, relative to the file of the caller. What ``match`` names must be as recorded; equal
        requests get the answers in the order of recording, and after the last an error, or with ``repeat`` the last.
        ``secrets`` are names of headers, parameters and JSON keys that are not written, beside the usual ones. Answers
        take as long as the real ones where time is virtual; with ``timings=True`` in real time too. ``upstream`` is the
        URL at which the real host is found while recording, if that is not ``name``.
        """
        _import_aiohttp("recordings")
        from pytest_interleave.net.recording import Recording

        frame = sys._getframe(1)
        recording = Recording(
            _split(name)[0],
            Path(frame.f_code.co_filename).parent / path,
            self,
            match=match,
            secrets=secrets,
            repeat=repeat,
            timings=timings,
            upstream=upstream,
            place=f"{frame.f_code.co_filename}:{frame.f_lineno}",
        )
        host = self.serve(name, recording, port=port, tls=tls)
        recording.open({endpoint.port: endpoint.tls for endpoint in host.endpoints.values()})
        self.mocked.append(recording)
        return recording

    def allow(self, *names: str) -> None:
        """Let these names and addresses be reached for real (a database in a container); wildcards are allowed."""
        self._allowed += [_split(name)[0] for name in names]

    def may_fail(self, *kinds: str) -> None:
        """Let a search choose, for each connection to any host, whether one of these strikes.

        Kinds are ``refused``, ``dns``, ``tls``, ``handshake``, ``reset``, ``closed``, ``silent``, ``slow`` and
        ``short``; none named: all. Plain runs stay healthy.
        """
        self.kinds = check_kinds(kinds)

    def note_fault(self, text: str) -> None:
        """Note what struck."""
        self.struck.append(text)
        if self._on_fault is not None:
            self._on_fault(text)

    def draw_own(self, now: Faults, kinds: tuple[str, ...], subject: str, *, tls: bool = False) -> Faults:
        """Return what one connection, or one request, has for itself where these hold now, and note its delays."""
        if now.chance < 1:
            own = now if self.draw.is_struck(now, subject) else HEALTHY
        else:
            own = self.draw.fault(kinds, subject, tls=tls) if now is HEALTHY else HEALTHY
        if delays := own.delays(tls=tls):
            self.note_fault(f"{subject} had {delays}")
        return own

    def note_unmatched(self, unmatched: Unmatched) -> None:
        """Note a request that none of what is mocked could answer."""
        if self._on_unmatched is not None:
            self._on_unmatched(unmatched)

    def now(self) -> float:
        """Return the time of the loop in which clients run; 0 if there is none yet."""
        loop = interception.running_loop() or self._loop
        return 0.0 if loop is None else loop.time()

    def allow_addresses(self, addresses: Iterable[str]) -> None:
        """Let these addresses be reached: those of a name that may be."""
        self._allowed += [address for address in addresses if address not in self._allowed]

    def __getitem__(self, name: str) -> NamedHost:
        found = self.find(_split(name)[0])
        if found is None:
            raise KeyError(f"{name} is not declared; declared: {', '.join(self.names()) or 'nothing'}")
        return found

    def names(self) -> list[str]:
        """Return the declared names."""
        return list(dict.fromkeys(host.name for host in self._hosts))

    # -- asked by the interception -------------------------------------------------------------------------------

    def find(self, name: str, port: int | None = None) -> NamedHost | None:
        """Return the host of that name, of those with that port if there are any; the last that was declared."""
        found = [host for host in self._hosts if host.name == name or fnmatchcase(name, host.name)]
        fitting = [host for host in found if port in host.endpoints]
        return (fitting or found or [None])[-1]  # type: ignore[list-item]

    def is_allowed(self, name: str) -> bool:
        """Whether that name or address may be reached for real."""
        return any(fnmatchcase(name, pattern) for pattern in self._allowed)

    def find_loop(self) -> asyncio.AbstractEventLoop:
        """Return the loop to serve in: the running one, or that of the test if a thread asks."""
        loop = interception.running_loop() or self._loop
        if loop is None:
            raise RuntimeError("a named host was asked for where no event loop runs that could serve it")
        self._loop = loop
        return loop

    def refuse(self, target: str, place: str, past: Past | None = None) -> UndeclaredHost:
        """Note the attempt; return the error for the client."""
        refusal = Refusal(target, place, tuple(interception.declared_names()), past)
        self.refusals.append(refusal)
        if self._on_refusal is not None:
            self._on_refusal(refusal)
        return UndeclaredHost(socket.EAI_NONAME, refusal.text)

    # -- being active --------------------------------------------------------------------------------------------

    def open(self) -> Self:
        """Begin to answer for the names."""
        interception.activate(self)
        return self

    def loops(self) -> list[asyncio.AbstractEventLoop]:
        """Return the loops in which hosts are served."""
        return list(dict.fromkeys(host.loop for host in self._hosts if host.loop is not None))

    async def close_served(self) -> None:
        """End the servers of the running loop."""
        loop = asyncio.get_running_loop()
        errors: list[Exception] = []
        for host in reversed(self._hosts):
            if host.loop is loop:
                try:
                    await host.close()
                except Exception as error:
                    errors.append(error)
        if errors:
            raise errors[0] if len(errors) == 1 else ExceptionGroup("named hosts could not be closed", errors)

    def close(self) -> None:
        """Forget the hosts; those that are still served lose their sockets."""
        interception.deactivate(self)
        for host in self._hosts:
            for endpoint in host.endpoints.values():
                endpoint.drop()

    async def __aenter__(self) -> Self:
        interception.prefer(self)
        return self.open()

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        try:
            await self.close_served()
        finally:
            self.close()
        if self.errors and error is None:
            raise self.errors[0]

    def __repr__(self) -> str:
        return f"<Hosts {', '.join(self.names()) or 'nothing declared'}>"


def _import_aiohttp(what: str) -> None:
    """Import what serves these, now, and not in the time that a client gives its first request."""
    try:
        import aiohttp.web  # noqa: F401
    except ImportError:
        raise RuntimeError(
            f"{what} are served by aiohttp, which is not installed: pip install 'pytest-interleave[aiohttp]'"
        ) from None


def _split(text: str) -> tuple[str, int | None, bool | None]:
    """Return name, port and TLS of a name or URL."""
    if "://" not in text:
        if text.count(":") > 1 and "/" not in text:  # IPv6
            return plain(text.strip("[]")), None, None
        name, _, number = text.partition(":")
        if not name or "/" in text or (number and not (number.isdecimal() and int(number) <= _LAST_PORT)):
            raise ValueError(f"{text!r} is no name of a host: say 'api.example.com' or 'https://api.example.com'")
        return plain(name), int(number) if number else None, None
    try:
        parts = urlsplit(text)
        parts.port  # noqa: B018 - it is looked at when it is asked for
    except ValueError as error:
        raise ValueError(f"{text!r} is no URL of a host: {error}") from None
    if parts.path.strip("/") or parts.query or not parts.hostname:
        raise ValueError(f"{text!r} is more or less than a host: say '{parts.scheme}://{parts.hostname or 'name'}'")
    known = _SCHEMES.get(parts.scheme.partition("+")[0])
    if known is None and parts.port is None:
        raise ValueError(f"the port of {parts.scheme}:// is not known: say {text!r} with a port")
    default, tls = known or (None, False)
    return plain(parts.hostname), parts.port or default, tls


def iterate_names(active: list[Hosts]) -> Iterator[str]:
    """Yield the names that are declared by any of them, once each."""
    seen: set[str] = set()
    for hosts in active:
        for name in hosts.names():
            if name not in seen:
                seen.add(name)
                yield name
