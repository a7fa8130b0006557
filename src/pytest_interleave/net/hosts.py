"""Named hosts: what a test says is at ``api.example.com``, and unmodified clients find there.

A name gets an address in 127.0.0.0/8 that nobody listens at. When a client connects to it, the connection goes to a
socket of ours on the loopback interface, with a port that the system chose; so port 443 needs no rights, and two
processes never meet. The server starts when the first client connects, in that client's loop.
"""

from __future__ import annotations

import asyncio
import contextvars
import errno
import os
import socket
import sys
import threading
from collections.abc import Callable, Coroutine, Iterable, Iterator
from fnmatch import fnmatchcase
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self
from urllib.parse import urlsplit

from pytest_interleave.errors import UndeclaredHost
from pytest_interleave.net import interception
from pytest_interleave.net.draw import Draw, check_kinds
from pytest_interleave.net.faults import HEALTHY, Faults, Schedule
from pytest_interleave.net.refusal import Past, Refusal
from pytest_interleave.net.served import Served, as_served

if TYPE_CHECKING:
    from pytest_interleave.net.recording import Recording
    from pytest_interleave.net.relay import Relay
    from pytest_interleave.net.routes import Routes, Unmatched

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
_HTTP_PORTS = ((80, False), (443, True))
_opening = threading.RLock()


class Endpoint:
    """One port of a host: its listening socket, from the first connection on."""

    def __init__(self, host: NamedHost, port: int, *, tls: bool) -> None:
        self.host = host
        self.port = port
        self.tls = tls
        self.loop: asyncio.AbstractEventLoop | None = None
        self.relay: Relay | None = None
        #: Why the server could not start.
        self.start_error: Exception | None = None
        self._listeners: list[socket.socket] = []
        self._impostor: socket.socket | None = None
        self._impostor_server: asyncio.Server | None = None
        self._starts: list[asyncio.Task[None]] = []

    @property
    def address(self) -> tuple[str, int]:
        """Where the server itself listens."""
        return _name_of_socket(self._listeners[0])

    def open(self, fate: Faults | None = None) -> tuple[str, int]:
        """Return where a connection with that fate goes (None: it is drawn); begin to listen if this is the first."""
        with _opening:  # clients in threads may come at the same moment
            return self._open(fate)

    def _open(self, fate: Faults | None) -> tuple[str, int]:
        if self.loop is None:
            self.loop = self.host.hosts.find_loop()
            self._start(self._listen)
        self._check_loop()
        if self.start_error is not None:
            raise ConnectionRefusedError(
                errno.ECONNREFUSED,
                f"nobody listens at {self.host.name}:{self.port}: its server could not start "
                f"({type(self.start_error).__name__}: {self.start_error})",
            ) from self.start_error
        self.host.connections += 1
        if not self.host.is_moody:
            return self.address
        if fate is None:
            fate = self.host.draw(self.port)
        faults = self.host.faults_of(fate)
        if faults.refuse:
            self.host.hosts.note_fault(f"a connection to {self.host.name} was refused")
            raise ConnectionRefusedError(errno.ECONNREFUSED, f"{self.host.name}:{self.port} refuses connections")
        if faults.tls_failure and self.tls:
            self.host.hosts.note_fault(f"a connection to {self.host.name} was shown a certificate that nobody trusts")
            if self._impostor is None:
                self._impostor = self._start(self._listen_as_impostor)
            return _name_of_socket(self._impostor)
        if self.relay is None:
            from pytest_interleave.net.relay import Relay

            self.relay = Relay(self)
            self._relay_listener = self._start(self.relay.listen)
        self.relay.fates.append(fate)
        return _name_of_socket(self._relay_listener)

    def _start(self, listen: Callable[[socket.socket], Coroutine[Any, Any, None]]) -> socket.socket:
        """Let a new socket be listened to."""
        listener = interception.make_listener()
        self._listeners.append(listener)
        loop = self.loop
        assert loop is not None

        def begin() -> None:
            self._starts.append(loop.create_task(listen(listener), name=f"start {self.host.name}:{self.port}"))

        begin_apart = _in_context(begin, self.host.hosts.context)
        if loop is interception.running_loop():
            begin_apart()
        else:
            loop.call_soon_threadsafe(begin_apart)
        return listener

    def _check_loop(self) -> None:
        loop = self.loop
        if loop is not None and loop is not interception.running_loop() and not loop.is_running():
            raise RuntimeError(
                f"{self.host.name} is served in another event loop than this one, which does not run now: declare it "
                "in a fixture of the test's own loop scope"
            )

    async def _listen(self, listener: socket.socket) -> None:
        try:
            tls = None
            if self.tls:
                from pytest_interleave.net import certificates

                tls = certificates.server_context(self.host.name)
            async with self.host.starting:
                await self.host.served.listen(listener, tls)
        except Exception as error:
            self.start_error = error
            self.host.hosts.errors.append(error)
            listener.close()  # who has connected is thrown out
        except BaseException:
            listener.close()
            raise

    async def _listen_as_impostor(self, listener: socket.socket) -> None:
        from pytest_interleave.net import certificates

        tls = certificates.untrusted_context(self.host.name)
        self._impostor_server = await asyncio.get_running_loop().create_server(asyncio.Protocol, sock=listener, ssl=tls)

    async def close(self) -> None:
        """Wait until its servers have started, and end those that are not the host's."""
        await asyncio.gather(*self._starts, return_exceptions=True)
        if self._impostor_server is not None:
            self._impostor_server.close()
        if self.relay is not None:
            await self.relay.close()

    def drop(self) -> None:
        """Close the sockets, which servers that were started have done before."""
        for listener in self._listeners:
            listener.close()


class NamedHost:
    """A host that a test declared."""

    def __init__(self, hosts: Hosts, name: str, served: Served) -> None:
        self.hosts = hosts
        self.name = name
        self.served = served
        self.endpoints: dict[int, Endpoint] = {}
        self.starting = asyncio.Lock()
        #: How many connections were made to it so far.
        self.connections = 0

        self._schedule = Schedule(hosts.now)
        self._healed = False
        self._may_fail: tuple[str, ...] = ()

    # -- faults --------------------------------------------------------------------------------------------------

    def faults(self, *, after: float = 0.0, lasting: float = float("inf"), **faults: Any) -> None:
        """Let the way to the host have these faults (``Faults`` names them), from ``after`` seconds on, so long.

        What is declared last holds where several would. The first call must come before the first connection; without
        faults it leaves the host healthy, and lets later calls reach the connections that are made then.
        """
        chosen = Faults(**faults)
        if chosen.is_of_tls and not any(endpoint.tls for endpoint in self.endpoints.values()):
            raise ValueError(f"{self.name} has no TLS that could fail or be slow")
        if self.connections and not self.is_moody and chosen.is_of_connections:
            raise RuntimeError(
                f"{self.name} was connected to before its first faults(), which would spare that connection: call "
                "faults() once before, without arguments if all is to be well at first"
            )
        self._schedule.add(chosen, after, lasting)
        self._tell_relays()

    def may_fail(self, *kinds: str) -> None:
        """Let a search choose, for each connection, whether one of these strikes: see ``Hosts.may_fail``."""
        self._may_fail = check_kinds(kinds)

    def heal(self) -> None:
        """End all faults, those to come included."""
        self._healed = True
        self._schedule.clear()
        self._tell_relays()

    @property
    def is_moody(self) -> bool:
        """Whether connections must go where faults can reach them."""
        return bool(self._schedule or self._healed or self._kinds)

    @property
    def _kinds(self) -> tuple[str, ...]:
        return self._may_fail or self.hosts.kinds

    def faults_now(self) -> Faults:
        """Return what holds for all connections now."""
        return self._schedule.faults_now()

    def faults_of(self, fate: Faults) -> Faults:
        """Return what holds now for a connection with that fate: its own faults, or else those that all have."""
        if fate is not HEALTHY:
            return fate
        now = self.faults_now()
        return now if now.chance == 1 else HEALTHY  # those with a chance were drawn when it was made

    def next_change(self) -> float | None:
        """Return when a period begins or ends next; None if nobody knows."""
        return self._schedule.next_change()

    def draw(self, port: int) -> Faults:
        """Return what a new connection has for itself: healthy if it only shares what all have."""
        draw, now, subject = self.hosts.draw, self.faults_now(), f"a connection to {self.name}"
        endpoint = self.endpoints.get(port)
        tls = endpoint is not None and endpoint.tls
        if now.chance < 1:
            drawn = now if draw.is_struck(now, subject) else HEALTHY
        else:
            drawn = draw.fault(self._kinds, subject, tls=tls) if now is HEALTHY else HEALTHY
        if delays := drawn.delays(tls=tls):
            self.hosts.note_fault(f"{subject} had {delays}")
        return drawn

    async def look_up(self) -> None:
        """Take as long as a look-up of the name does; raise if it fails."""
        if not self.is_moody:
            return
        draw, subject = self.hosts.draw, f"the look-up of {self.name}"
        seconds = draw.seconds(self.faults_now().dns_latency, subject, "takes {}")
        if seconds:
            await asyncio.sleep(seconds)
        if "dns" in self._kinds and draw.choose(2, subject, lambda lost: "fails" if lost else "is healthy"):
            self.hosts.note_fault(f"{self.name} could not be looked up")
            raise interception.no_answer()

    async def set_out(self, port: int) -> Faults | None:
        """Take as long as it takes to reach the host; return the fate of the connection."""
        if not self.is_moody:
            return None
        fate = self.draw(port)
        faults = self.faults_of(fate)
        draw, subject = self.hosts.draw, f"a connection to {self.name}"
        seconds = 2 * draw.seconds(faults.latency, subject)
        seconds += draw.seconds(faults.connect_latency, subject, "takes {} longer to be made")
        if seconds:
            await asyncio.sleep(seconds)
        while self.faults_now().partition:
            await self._schedule.wait_for_change()
        return fate

    def _tell_relays(self) -> None:
        for endpoint in self.endpoints.values():
            if endpoint.relay is not None and interception.running_loop() is endpoint.loop:
                endpoint.relay.changed()

    # -- being served --------------------------------------------------------------------------------------------

    @property
    def is_started(self) -> bool:
        """Whether any client has connected."""
        return any(endpoint.loop is not None for endpoint in self.endpoints.values())

    @property
    def loop(self) -> asyncio.AbstractEventLoop | None:
        """The loop that it is served in, once it is."""
        return next((endpoint.loop for endpoint in self.endpoints.values() if endpoint.loop is not None), None)

    def __repr__(self) -> str:
        ports = ", ".join(f"{port} (TLS)" if e.tls else str(port) for port, e in self.endpoints.items())
        return f"<host {self.name}, {'port' if len(self.endpoints) == 1 else 'ports'} {ports}>"

    async def close(self) -> None:
        """End its server."""
        if not self.is_started:
            return
        for endpoint in self.endpoints.values():
            await endpoint.close()
        await self.served.close()
        for endpoint in self.endpoints.values():
            endpoint.drop()


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
        for number, is_tls in ports:
            host.endpoints[number] = Endpoint(host, number, tls=is_tls)
        self._hosts.append(host)
        return host

    def routes(self, name: str, *, port: int | None = None, tls: bool | None = None) -> Routes:
        """Return routes, still to be declared, that are served at ``name``; see ``serve``. Needs aiohttp."""
        _import_aiohttp("routes")
        from pytest_interleave.net.routes import Routes

        routes = Routes(name, self)
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
            return text.strip("[]").lower(), None, None
        name, _, number = text.partition(":")
        if not name or "/" in text or (number and not number.isdigit()):
            raise ValueError(f"{text!r} is no name of a host: say 'api.example.com' or 'https://api.example.com'")
        return name.lower(), int(number) if number else None, None
    parts = urlsplit(text)
    if parts.path.strip("/") or parts.query or not parts.hostname:
        raise ValueError(f"{text!r} is more or less than a host: say '{parts.scheme}://{parts.hostname or 'name'}'")
    known = _SCHEMES.get(parts.scheme.partition("+")[0])
    if known is None and parts.port is None:
        raise ValueError(f"the port of {parts.scheme}:// is not known: say {text!r} with a port")
    default, tls = known or (None, False)
    return parts.hostname, parts.port or default, tls


def _name_of_socket(sock: socket.socket) -> tuple[str, int]:
    name: tuple[str, int] = sock.getsockname()[:2]
    return name


def _in_context(function: Callable[[], None], context: contextvars.Context) -> Callable[[], None]:
    return lambda: context.copy().run(function)


def iterate_names(active: list[Hosts]) -> Iterator[str]:
    """Yield the names that are declared by any of them, once each."""
    seen: set[str] = set()
    for hosts in active:
        for name in hosts.names():
            if name not in seen:
                seen.add(name)
                yield name
