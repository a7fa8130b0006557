"""Where clients ask for names and connect, while hosts are declared.

All of it is public: functions of ``socket``, methods of ``socket.socket`` and ``SSLContext``, some of asyncio's loop.
It is put there when the first ``Hosts`` opens and taken away when the last one closes, so what is not used is free.
Everything that goes by Python's sockets comes through here; what C code does with sockets of its own does not, and is
refused where that can be seen (``libraries.py``).
"""

from __future__ import annotations

import asyncio
import contextlib
import contextvars
import errno
import socket
import ssl
import sys
from collections.abc import Iterator
from functools import partial
from typing import TYPE_CHECKING, Any
from weakref import WeakKeyDictionary, WeakSet

from pytest_interleave.errors import UndeclaredHost
from pytest_interleave.net.names import address_of, as_address, is_local_address, is_local_name, name_of, plain
from pytest_interleave.net.refusal import Past
from pytest_interleave.origins import lines_from

if TYPE_CHECKING:
    from pytest_interleave.net.endpoint import Endpoint
    from pytest_interleave.net.hosts import Hosts
    from pytest_interleave.net.named_host import NamedHost
    from pytest_interleave.net.way import Fate

_active: list[Hosts] = []
#: Those that were entered in this context (``async with Hosts()``), the innermost first: they answer before others, so
#: that each of two tasks may have its own host of one name.
_preferred: contextvars.ContextVar[tuple[Hosts, ...]] = contextvars.ContextVar("preferred_hosts", default=())
#: The host to which all connections of this context go, whatever they ask for.
captor: contextvars.ContextVar[NamedHost | None] = contextvars.ContextVar("captor", default=None)
#: Whether this context reaches what is really there, whatever is declared.
_is_real: contextvars.ContextVar[bool] = contextvars.ContextVar("is_real", default=False)
_patches: list[tuple[Any, str, Any]] = []
#: What servers of ours listen at.
_listeners: WeakSet[socket.socket] = WeakSet()
#: What was drawn for connections that are about to be made.
_fates: WeakKeyDictionary[socket.socket, Fate] = WeakKeyDictionary()
_MISSING: Any = object()
_BACKLOG = 1024
_STREAM = socket.SOCK_STREAM

_connect = socket.socket.connect
_connect_ex = socket.socket.connect_ex
_sendto = socket.socket.sendto
_sendmsg = socket.socket.sendmsg
_getaddrinfo = socket.getaddrinfo
_gethostbyname = socket.gethostbyname
_gethostbyname_ex = socket.gethostbyname_ex
_gethostbyaddr = socket.gethostbyaddr


# -- who is active -----------------------------------------------------------------------------------------------


def activate(hosts: Hosts, *, before_others: bool = True) -> None:
    """Let these hosts answer, before those that are active already, or after them."""
    if not _active:
        _install()
    _active.insert(len(_active) if before_others else 0, hosts)


def prefer(hosts: Hosts) -> None:
    """Let these hosts answer before others, for what is asked in this context and in tasks that begin there."""
    _preferred.set((hosts, *_preferred.get()))


def deactivate(hosts: Hosts) -> None:
    """Take these hosts away."""
    if hosts in _active:
        _active.remove(hosts)
        if hosts in _preferred.get():
            _preferred.set(tuple(one for one in _preferred.get() if one is not hosts))
        if not _active:
            _uninstall()


@contextlib.contextmanager
def past_all_hosts() -> Iterator[None]:
    """Let what is asked and connected to in this block, and in tasks that begin in it, be what is really there."""
    token = _is_real.set(True)
    try:
        yield
    finally:
        _is_real.reset(token)


def declared_names() -> list[str]:
    """Return every name that is declared now."""
    from pytest_interleave.net.hosts import iterate_names

    return list(iterate_names(_active))


def all_active_are(kind: type[Hosts]) -> bool:
    """Whether nobody else declares hosts."""
    return all(isinstance(hosts, kind) for hosts in _active)


def running_loop() -> asyncio.AbstractEventLoop | None:
    """Return the loop that runs in this thread, if any."""
    try:
        return asyncio.get_running_loop()
    except RuntimeError:
        return None


def make_listener() -> socket.socket:
    """Return a socket that listens on the loopback interface."""
    listener = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
    _listeners.add(listener)
    listener.bind(("127.0.0.1", 0))
    listener.listen(_BACKLOG)
    listener.setblocking(False)
    return listener


def is_ours(address: object) -> bool:
    """Whether a server of ours listens at that address."""
    return any(listener.fileno() != -1 and listener.getsockname() == address for listener in _listeners)


def _find(name: str, port: int | None = None) -> NamedHost | None:
    if _is_real.get():
        return None
    captured = captor.get()
    if captured is not None:
        return captured
    preferred = [hosts for hosts in _preferred.get() if hosts in _active]
    for hosts in (*preferred, *reversed(_active)):
        found = hosts.find(name, port)
        if found is not None:
            return found
    return None


def _is_allowed(name: str) -> bool:
    return any(hosts.is_allowed(name) for hosts in _active)


# -- names -------------------------------------------------------------------------------------------------------


def _stand_in(name: Any, port: Any = None) -> str | None:
    """Return the address that answers for the name; None if the system may be asked. Raise if nobody may."""
    if name is None or _is_real.get():
        return None
    asked = plain(name)
    if not asked or as_address(asked) is not None:
        return None
    found = _find(asked, port if isinstance(port, int) else None)
    if found is not None:
        found.way.check_look_up(asked)
        return address_of(asked)
    if is_local_name(asked) or _is_allowed(asked):
        return None
    if asked == socket.gethostname().lower():
        return "127.0.0.1"
    raise _refuse(asked if not port else f"{asked}:{port}")


def no_answer() -> socket.gaierror:
    """Return the error of a look-up that fails."""
    return socket.gaierror(socket.EAI_AGAIN, "Temporary failure in name resolution")


def _refuse(target: str, past: Past | None = None) -> UndeclaredHost:
    place = next((line.where for line in lines_from(sys._getframe(1)) if line.rank == 2), "")
    return _active[-1].refuse(target, place, past)


def refuse_past(past: Past, name: Any, port: str | int | None) -> None:
    """Raise if that library, which goes past Python's sockets, must not reach the host."""
    asked = plain(name).strip("[]")
    address = as_address(asked)
    if _is_real.get() or not asked or _is_allowed(asked) or is_local_name(asked):
        return
    if address is not None and (_is_allowed(address) or (is_local_address(address) and name_of(address) is None)):
        return
    raise _refuse(asked if not port else f"{asked}:{port}", past)


def _allow_answers(name: Any, answers: list[Any]) -> None:
    """Let the addresses of a name that may be reached for real be reached, as long as the name may."""
    if name is None or as_address(asked := plain(name)) is not None:
        return
    for hosts in _active:
        if hosts.is_allowed(asked):
            hosts.allow_addresses(answer[4][0] for answer in answers)


def getaddrinfo(host: Any, port: Any, family: int = 0, type: int = 0, proto: int = 0, flags: int = 0) -> Any:  # noqa: A002
    """Stand in for ``socket.getaddrinfo``."""
    # A name that must be a number asks nobody.
    address = None if flags & socket.AI_NUMERICHOST else _stand_in(host, port)
    answers = _getaddrinfo(host if address is None else address, port, family, type, proto, flags)
    if address is None:
        _allow_answers(host, answers)
    return answers


def gethostbyname(name: str) -> str:
    """Stand in for ``socket.gethostbyname``."""
    return _stand_in(name) or _gethostbyname(name)


def gethostbyname_ex(name: str) -> Any:
    """Stand in for ``socket.gethostbyname_ex``."""
    address = _stand_in(name)
    return (name, [], [address]) if address is not None else _gethostbyname_ex(name)


def gethostbyaddr(address: str) -> Any:
    """Stand in for ``socket.gethostbyaddr``, which would ask the network for a name."""
    found = _stand_in(address) or address
    name = name_of(found)
    if name is None and not is_local_address(as_address(found) or found):
        raise socket.herror(1, "Unknown host")
    return (name or "localhost", [], [found])


# -- connections -------------------------------------------------------------------------------------------------


def _find_endpoint(address: str, port: int) -> Endpoint | None:
    """Return what listens there; None if it is not an address of ours. Raise if nothing of ours does."""
    name = address if captor.get() is not None else name_of(address)
    if name is None:
        host = _find(address, port)  # declared by its address
        return host.endpoints.get(port) if host is not None and host.name == address else None
    host = _find(name, port)
    if host is None:
        raise _refuse(f"{name}:{port}")
    endpoint = host.endpoints.get(port)
    if endpoint is None:
        ports = ", ".join(map(str, host.endpoints))
        raise ConnectionRefusedError(
            errno.ECONNREFUSED, f"nobody listens at {name}:{port}; the test declares {name} at {ports}"
        )
    return endpoint


def _redirect(sock: socket.socket, address: Any) -> Any:
    """Return where a socket really connects to that wants to connect there. Raise if it must not."""
    if sock.family not in (socket.AF_INET, socket.AF_INET6) or not isinstance(address, tuple):
        return address
    target = redirect(address, is_stream=sock.type == _STREAM, fate=_fates.pop(sock, None))
    if sock.family == socket.AF_INET6 and target is not address:
        return (f"::ffff:{target[0]}", *target[1:])  # a host that is declared by an address; ours listen in IPv4
    return target


def redirect(address: Any, *, is_stream: bool = True, fate: Fate | None = None) -> Any:
    """Return the address that is really connected to. Raise if none may be."""
    if _is_real.get():
        return address
    name, port, *_ = address
    asked = plain(name)
    target = as_address(asked)
    if target is None:
        target = _stand_in(name, port)
        if target is None:
            return address
    endpoint = _find_endpoint(target, port)
    if endpoint is not None:
        if not is_stream:
            raise ConnectionRefusedError(errno.ECONNREFUSED, f"{endpoint.host.name} has no UDP ports")
        return endpoint.open(fate)
    if not is_local_address(target) and not _is_allowed(target) and not _is_allowed(asked):
        raise _refuse(f"{name}:{port}")
    return address


def connect(sock: socket.socket, address: Any) -> None:
    """Stand in for ``socket.socket.connect``."""
    _connect(sock, _redirect(sock, address))


def connect_ex(sock: socket.socket, address: Any) -> int:
    """Stand in for ``socket.socket.connect_ex``."""
    return _connect_ex(sock, _redirect(sock, address))


def sendto(sock: socket.socket, data: Any, *rest: Any) -> int:
    """Stand in for ``socket.socket.sendto``."""
    if rest:  # the last of them is the address
        rest = (*rest[:-1], _redirect(sock, rest[-1]))
    sent: int = _sendto(sock, data, *rest)
    return sent


def sendmsg(sock: socket.socket, buffers: Any, ancdata: Any = (), flags: int = 0, address: Any = None) -> int:
    """Stand in for ``socket.socket.sendmsg``."""
    return _sendmsg(sock, buffers, ancdata, flags, None if address is None else _redirect(sock, address))


# -- asyncio's loop ----------------------------------------------------------------------------------------------


async def _getaddrinfo_of_loop(
    loop: Any,
    host: Any,
    port: Any,
    *,
    family: int = 0,
    type: int = 0,  # noqa: A002
    proto: int = 0,
    flags: int = 0,
) -> Any:
    """Stand in for ``loop.getaddrinfo``: a name of ours needs no thread."""
    if _is_real.get():  # which the thread of the original would not know
        ask = partial(_getaddrinfo, host, port, family, type, proto, flags)
        return await loop.run_in_executor(None, ask)
    if host is not None and as_address(asked := plain(host)) is None and not is_local_name(asked):
        await asyncio.sleep(0)  # as after a thread's answer, others have had their turn
        if await look_up(asked, port) is not None or not _is_allowed(asked):
            return getaddrinfo(host, port, family, type, proto, flags)
    original = _original(loop, "getaddrinfo")
    return await original(loop, host, port, family=family, type=type, proto=proto, flags=flags)


async def _sock_connect_of_loop(loop: Any, sock: socket.socket, address: Any) -> None:
    """Stand in for ``loop.sock_connect``, by which all connections of asyncio's are made."""
    await set_out_with(sock, address)
    await _original(loop, "sock_connect")(loop, sock, address)


async def set_out_with(sock: socket.socket, address: Any) -> None:
    """Take as long as a connection to that address takes to be made, and keep its fate for when it is."""
    if sock.type == _STREAM and isinstance(address, tuple) and len(address) == 2:
        host = _find_host(*address)
        fate = None if host is None else await host.way.set_out(tls=host.has_tls(address[1]))
        if fate is not None:
            _fates[sock] = fate


async def set_out(name: Any, port: Any) -> Fate | None:
    """Take as long as a connection to that name takes to be made; return its fate. For loops that do all else in C."""
    host = await look_up(name, port)
    if host is None and as_address(asked := plain(name)) is not None:
        host = _find_host(asked, port)
    return None if host is None else await host.way.set_out(tls=host.has_tls(port))


async def look_up(name: Any, port: Any) -> NamedHost | None:
    """Take as long as a look-up of that name takes, if it is one of ours; return its host."""
    if name is None or as_address(asked := plain(name)) is not None:
        return None
    host = _find(asked, port if isinstance(port, int) else None)
    if host is not None:
        await host.way.look_up(asked)
    return host


def _find_host(address: Any, port: Any) -> NamedHost | None:
    name = address if captor.get() is not None else name_of(address)
    return None if name is None else _find(name, port)


async def _getnameinfo_of_loop(loop: Any, sockaddr: Any, flags: int = 0) -> Any:
    """Stand in for ``loop.getnameinfo``, which would ask the network for a name."""
    await asyncio.sleep(0)
    if flags & socket.NI_NUMERICHOST:
        return socket.getnameinfo(sockaddr, flags)
    return gethostbyaddr(sockaddr[0])[0], str(sockaddr[1])


def _original(loop: Any, name: str) -> Any:
    """Return what the loop's class had by that name, where we are now; a subclass of the user's may call us."""
    for owner, patched, value in _patches:
        if patched == name and isinstance(owner, type) and isinstance(loop, owner):
            if value is not _MISSING:
                return value
            return next(vars(kind)[name] for kind in owner.__mro__[1:] if name in vars(kind))
    raise AttributeError(name)


# -- TLS ---------------------------------------------------------------------------------------------------------

_wrap_bio = ssl.SSLContext.wrap_bio
_wrap_socket = ssl.SSLContext.wrap_socket


def _trust(context: Any, is_server: Any, name: Any) -> None:
    if not is_server and name is not None and _find(plain(name)) is not None:
        from pytest_interleave.net import certificates

        certificates.trust(context)


def wrap_bio(
    context: Any,
    incoming: Any,
    outgoing: Any,
    server_side: bool = False,
    server_hostname: Any = None,
    session: Any = None,
) -> Any:
    """Stand in for ``SSLContext.wrap_bio``."""
    _trust(context, server_side, server_hostname)
    return _wrap_bio(context, incoming, outgoing, server_side, server_hostname, session)


def wrap_socket(
    context: Any,
    sock: Any,
    server_side: bool = False,
    do_handshake_on_connect: bool = True,
    suppress_ragged_eofs: bool = True,
    server_hostname: Any = None,
    session: Any = None,
) -> Any:
    """Stand in for ``SSLContext.wrap_socket``."""
    _trust(context, server_side, server_hostname)
    return _wrap_socket(
        context, sock, server_side, do_handshake_on_connect, suppress_ragged_eofs, server_hostname, session
    )


# -- putting it there --------------------------------------------------------------------------------------------


def _install() -> None:
    for function in (getaddrinfo, gethostbyname, gethostbyname_ex, gethostbyaddr):
        _patch(socket, function.__name__, function)
    for method in (connect, connect_ex, sendto, sendmsg):
        _patch(socket.socket, method.__name__, method)
    for wrap in (wrap_bio, wrap_socket):
        _patch(ssl.SSLContext, wrap.__name__, wrap)
    _patch(asyncio.SelectorEventLoop, "getaddrinfo", _getaddrinfo_of_loop)
    _patch(asyncio.SelectorEventLoop, "getnameinfo", _getnameinfo_of_loop)
    _patch(asyncio.SelectorEventLoop, "sock_connect", _sock_connect_of_loop)
    from pytest_interleave.net import libraries

    libraries.install(_patch)


def _patch(owner: Any, name: str, value: Any) -> None:
    _patches.append((owner, name, vars(owner).get(name, _MISSING)))
    setattr(owner, name, value)


def _uninstall() -> None:
    from pytest_interleave.net import libraries

    libraries.uninstall()
    while _patches:
        owner, name, value = _patches.pop()
        if value is _MISSING:
            delattr(owner, name)
        else:
            setattr(owner, name, value)
