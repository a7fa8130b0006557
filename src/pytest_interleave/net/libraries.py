"""Libraries that need a word of their own while hosts are declared: those that go past Python's sockets.

Some can be led all the same, by their own functions in Python. Others have all that matters in C: of them, whoever
would reach a host is refused at once (``refuse_past``), which is better than a connection that finds nobody.
"""

from __future__ import annotations

import os
import re
import socket
import sys
from collections.abc import Callable, Iterator
from functools import partial
from importlib.machinery import ModuleSpec
from typing import Any, TypeAlias
from urllib.parse import urlsplit

from pytest_interleave.net import interception
from pytest_interleave.net.refusal import Past

Patch: TypeAlias = Callable[[Any, str, Any], None]

_LIBPQ_3 = Past("libpq (psycopg)", "asyncpg or pg8000")
_LIBPQ_2 = Past("libpq (psycopg2)", "asyncpg or pg8000")
_C_ARES = Past("c-ares (aiodns, pycares)", "loop.getaddrinfo")
_GRPC = Past("gRPC's core (grpcio)", "grpclib")
_CURL = Past("libcurl (pycurl)", "aiohttp or httpx")
_CURL_CFFI = Past("libcurl (curl_cffi)", "aiohttp or httpx")


def install(patch: Patch) -> None:
    """Patch what is imported already, and what will be while hosts are declared."""
    for name, adapt in _ADAPTERS.items():
        module = sys.modules.get(name)
        if module is not None:
            adapt(module, patch)
    _late_imports.patch = patch
    sys.meta_path.insert(0, _late_imports)


def uninstall() -> None:
    """Look at no further imports."""
    sys.meta_path.remove(_late_imports)


class _LateImports:
    """Patches libraries that are imported while hosts are declared, as soon as they are there."""

    patch: Patch

    def find_spec(self, name: str, path: Any, target: Any = None) -> ModuleSpec | None:
        """Find what the others find; look at it once it has run."""
        adapt = _ADAPTERS.get(name)
        if adapt is None:
            return None
        for finder in sys.meta_path:
            spec = None if finder is self else finder.find_spec(name, path, target)
            if spec is not None:
                if spec.loader is not None:
                    self._look_when_run(spec.loader, adapt)
                return spec
        return None

    def _look_when_run(self, loader: Any, adapt: Callable[[Any, Patch], None]) -> None:
        def exec_module(module: Any) -> None:
            del loader.exec_module
            loader.exec_module(module)
            if self in sys.meta_path:
                adapt(module, self.patch)

        loader.exec_module = exec_module  # the loader itself stays what it is: it also knows of sources and resources


_late_imports = _LateImports()


# -- those that can be led ---------------------------------------------------------------------------------------


def _let_aiohttp_ask_the_loop(resolver: Any, patch: Patch) -> None:
    """Where aiodns is installed, aiohttp asks c-ares for names, which has threads and sockets of its own."""
    if getattr(resolver, "aiodns", None) is None:
        return

    async def resolve(self: Any, host: str, port: int = 0, family: Any = 0) -> Any:
        return await resolver.ThreadedResolver().resolve(host, port, family)

    patch(resolver.AsyncResolver, "resolve", resolve)


def _lead_uvloop(module: Any, patch: Patch) -> None:
    """Uvloop resolves and connects in C; it is told where to instead."""
    create_connection = module.Loop.create_connection
    create_datagram_endpoint = module.Loop.create_datagram_endpoint
    sock_connect = module.Loop.sock_connect

    async def getaddrinfo(loop: Any, host: Any, port: Any, **options: Any) -> Any:
        await interception.look_up(host, port)
        return interception.getaddrinfo(host, port, **options)

    async def connect(loop: Any, factory: Any, host: Any = None, port: Any = None, **options: Any) -> Any:
        if host is not None:
            if options.get("ssl") and options.get("server_hostname") is None:
                options["server_hostname"] = host
            port = _as_number(port)
            fate = await interception.set_out(host, port)
            host, port, *_ = interception.redirect((host, port), fate=fate)
        return await create_connection(loop, factory, host, port, **options)

    async def connect_socket(loop: Any, sock: socket.socket, address: Any) -> None:
        await interception.set_out_with(sock, address)
        await sock_connect(loop, sock, address)

    async def open_datagrams(
        loop: Any, factory: Any, local_addr: Any = None, remote_addr: Any = None, **options: Any
    ) -> Any:
        if isinstance(remote_addr, tuple):
            remote_addr = interception.redirect((remote_addr[0], _as_number(remote_addr[1])), is_stream=False)
        return await create_datagram_endpoint(loop, factory, local_addr, remote_addr, **options)

    patch(module.Loop, "getaddrinfo", getaddrinfo)
    patch(module.Loop, "create_connection", connect)
    patch(module.Loop, "sock_connect", connect_socket)
    patch(module.Loop, "create_datagram_endpoint", open_datagrams)


def _as_number(port: Any) -> Any:
    """Return the port that a text names: ``"80"``, ``"http"``."""
    if isinstance(port, (bytes, bytearray)):
        port = bytes(port).decode("ascii", "replace")
    if not isinstance(port, str):
        return port
    return int(port) if port.isdigit() else socket.getservbyname(port)


# -- those that cannot -------------------------------------------------------------------------------------------


def _refuse_psycopg(module: Any, patch: Patch) -> None:
    def read(text: str, options: dict[str, Any]) -> dict[str, Any]:
        return {**module.conninfo.conninfo_to_dict(text), **options}

    def wrap(original: Any) -> Any:
        def connect(kind: Any, /, conninfo: str = "", **options: Any) -> Any:
            _check_libpq(_LIBPQ_3, partial(read, conninfo, options))
            return original(kind, conninfo, **options)

        return classmethod(connect)

    for kind in (module.Connection, module.AsyncConnection):
        patch(kind, "connect", wrap(vars(kind)["connect"].__func__))
    patch(module, "connect", module.Connection.connect)


def _refuse_psycopg2(module: Any, patch: Patch) -> None:
    original = module._connect

    def connect(dsn: str, *rest: Any, **options: Any) -> Any:
        _check_libpq(_LIBPQ_2, lambda: module.extensions.parse_dsn(dsn))
        return original(dsn, *rest, **options)

    patch(module, "_connect", connect)


def _check_libpq(past: Past, read: Callable[[], dict[str, Any]]) -> None:
    """Refuse hosts of a connection, which may come from the environment as libpq's always may."""
    try:
        values = read()
    except Exception:
        return  # no connection comes of it: the library itself says why
    found = [values.get("hostaddr") or os.environ.get("PGHOSTADDR"), values.get("host") or os.environ.get("PGHOST")]
    names = next((str(one) for one in found if one), "")
    ports = str(values.get("port") or os.environ.get("PGPORT") or 5432).split(",")
    for number, name in enumerate(names.split(",")):
        if not name.startswith(("/", "@")):  # a socket in the file system
            interception.refuse_past(past, name, ports[number if len(ports) > 1 else 0])


def _refuse_pycares(module: Any, patch: Patch) -> None:
    for method in ("query", "search", "gethostbyname", "gethostbyaddr", "getaddrinfo", "getnameinfo"):
        original = vars(module.Channel).get(method)
        if original is not None:
            patch(module.Channel, method, _wrap_query(original))


def _wrap_query(original: Any) -> Any:
    def ask(channel: Any, name: Any, *rest: Any, **options: Any) -> Any:
        target = name[0] if isinstance(name, tuple) else name
        interception.refuse_past(_C_ARES, target, None)
        return original(channel, name, *rest, **options)

    return ask


def _refuse_grpc(module: Any, patch: Patch) -> None:
    original = module.Channel.__init__

    def begin(channel: Any, target: str, *rest: Any, **options: Any) -> None:
        for name, port in _addresses_of_grpc(target):
            interception.refuse_past(_GRPC, name, port)
        original(channel, target, *rest, **options)

    patch(module.Channel, "__init__", begin)


def _addresses_of_grpc(target: str) -> Iterator[tuple[str, str | None]]:
    """Yield hosts and ports: ``name:port``, ``dns://server/name:port``, ``ipv4:address:port,…``, but no Unix socket."""
    scheme, _, rest = target.partition(":")
    if scheme in ("unix", "unix-abstract", "vsock"):
        return
    if scheme in ("dns", "ipv4", "ipv6") and not rest.isdigit():
        target = rest.rpartition("/")[2]
    for one in target.split(","):
        address = re.fullmatch(r"\[?(.*?)\]?(?::(\w+))?", one)
        if address is not None:
            yield address[1], address[2]


def _refuse_pycurl(module: Any, patch: Patch) -> None:
    class Curl(module.Curl):  # type: ignore[misc]  # a type of C's: none of its methods can be patched
        def setopt(self, option: Any, value: Any) -> Any:
            if option == module.URL:
                _check_url(_CURL, value)
            return super().setopt(option, value)

    patch(module, "Curl", Curl)


def _refuse_curl_cffi(module: Any, patch: Patch) -> None:
    original = module.Curl.setopt

    def setopt(curl: Any, option: Any, value: Any) -> Any:
        if option == module.CurlOpt.URL:
            _check_url(_CURL_CFFI, value)
        return original(curl, option, value)

    patch(module.Curl, "setopt", setopt)


def _check_url(past: Past, url: Any) -> None:
    text = bytes(url).decode(errors="replace") if isinstance(url, (bytes, bytearray)) else str(url)
    try:
        parts = urlsplit(text if "://" in text else f"http://{text}")
        port = parts.port
    except ValueError:
        return  # libcurl will say so
    if parts.hostname and parts.scheme != "file":
        interception.refuse_past(past, parts.hostname, port or {"http": 80, "https": 443}.get(parts.scheme))


#: Modules by name, and what is to be done when they are there.
_ADAPTERS: dict[str, Callable[[Any, Patch], None]] = {
    "aiohttp.resolver": _let_aiohttp_ask_the_loop,
    "uvloop": _lead_uvloop,
    "psycopg": _refuse_psycopg,
    "psycopg2": _refuse_psycopg2,
    "pycares": _refuse_pycares,
    "grpc._channel": _refuse_grpc,
    "grpc.aio._channel": _refuse_grpc,
    "pycurl": _refuse_pycurl,
    "curl_cffi.curl": _refuse_curl_cffi,
}
