"""The fixtures of pytest-aiohttp, with the same names and calls; where it is installed, its own are left alone.

Two things differ. A fixture runs in the loop of the test that asks for it, whatever the scope of that loop. And a
handler is cancelled when its client goes away only where ``handler_cancellation=True`` is passed, as in production
(``web.run_app``); aiohttp's own test server always cancels, which hides what a handler does that nobody waits for.

PYTEST_DONT_REWRITE (it is imported by the time that a suite asks pytest to rewrite it under its other name)
"""

from __future__ import annotations

import importlib
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any, Protocol, TypeVar

import pytest

from pytest_interleave.plugin.decorator import fixture
from pytest_interleave.plugin.detecting.hooks import hooks_of
from pytest_interleave.plugin.options import LEGACY_MODE

if TYPE_CHECKING:
    from aiohttp.test_utils import BaseTestServer, RawTestServer, TestClient, TestServer
    from aiohttp.web import Application

__all__ = [
    "LEGACY_MODE",
    "AiohttpClient",
    "AiohttpRawServer",
    "AiohttpServer",
    "aiohttp_client",
    "aiohttp_client_cls",
    "aiohttp_raw_server",
    "aiohttp_server",
]

_Fixture = TypeVar("_Fixture", bound=Callable[..., Any])


class AiohttpClient(Protocol):
    """The type of ``aiohttp_client``."""

    async def __call__(
        self,
        app_or_server: Application | BaseTestServer,
        *,
        server_kwargs: Mapping[str, Any] | None = None,
        **kwargs: Any,
    ) -> TestClient[Any, Any]:
        """Start a server and return a client of it; ``kwargs`` are those of ``ClientSession``."""


class AiohttpServer(Protocol):
    """The type of ``aiohttp_server``."""

    def __call__(self, app: Application, *, port: int | None = None, **kwargs: Any) -> Awaitable[TestServer]:
        """Start a server; ``kwargs`` are those of ``AppRunner``, and ``host``."""


class AiohttpRawServer(Protocol):
    """The type of ``aiohttp_raw_server``."""

    def __call__(self, handler: Any, *, port: int | None = None, **kwargs: Any) -> Awaitable[RawTestServer]:
        """Start a server without an application; ``kwargs`` are those of ``web.Server``."""


def in_loop_of_test(function: _Fixture) -> _Fixture:
    """Make a fixture that runs in the loop of the test that asks for it."""
    function._uses_loop_of_test = True  # type: ignore[attr-defined]
    return fixture(function)  # type: ignore[return-value]


def _servers() -> Any:
    try:
        # Not "from … import", which would find the module of an earlier session in this process, with its own aiohttp.
        return importlib.import_module("pytest_interleave.plugin.http.aiohttp_servers")
    except ImportError as error:
        if (error.name or "").partition(".")[0] != "aiohttp":
            raise
        pytest.fail("this fixture needs aiohttp: pip install 'pytest-interleave[aiohttp]'", pytrace=False)


def _tell(request: pytest.FixtureRequest) -> Callable[[str], None]:
    hooks = hooks_of(request.config)
    return (lambda text: None) if hooks is None else hooks.handler_failures.note


@asynccontextmanager
async def _closing_all() -> AsyncIterator[list[Any]]:
    """Close what is put into the list, the last first."""
    opened: list[Any] = []
    yield opened
    while opened:
        await opened.pop().close()


async def _start(server: Any, request: pytest.FixtureRequest, arguments: Mapping[str, Any]) -> Any:
    server.tell = _tell(request)
    await server.start_server(**arguments)
    return server


@in_loop_of_test
async def aiohttp_server(request: pytest.FixtureRequest) -> AsyncIterator[AiohttpServer]:
    """Start servers for applications: the fixture is a function that takes one."""
    module = _servers()
    async with _closing_all() as servers:

        async def start(app: Application, *, host: str = "127.0.0.1", port: int | None = None, **kwargs: Any) -> Any:
            servers.append(await _start(module.AppServer(app, host=host, port=port), request, kwargs))
            return servers[-1]

        yield start


@in_loop_of_test
async def aiohttp_raw_server(request: pytest.FixtureRequest) -> AsyncIterator[AiohttpRawServer]:
    """Start servers for handlers: the fixture is a function that takes one."""
    module = _servers()
    async with _closing_all() as servers:

        async def start(handler: Any, *, port: int | None = None, **kwargs: Any) -> Any:
            servers.append(await _start(module.HandlerServer(handler, port=port), request, kwargs))
            return servers[-1]

        yield start


@pytest.fixture
def aiohttp_client_cls() -> type[TestClient[Any, Any]]:
    """Return the class that ``aiohttp_client`` makes; override it to give the client methods of your own."""
    client: type[TestClient[Any, Any]] = _servers().TestClient
    return client


@in_loop_of_test
async def aiohttp_client(
    request: pytest.FixtureRequest, aiohttp_client_cls: type[TestClient[Any, Any]]
) -> AsyncIterator[AiohttpClient]:
    """Start servers and clients of them: the fixture is a function that takes an application or a server."""
    module = _servers()
    async with _closing_all() as clients:

        async def start(
            app_or_server: Application | BaseTestServer,
            *,
            server_kwargs: Mapping[str, Any] | None = None,
            **kwargs: Any,
        ) -> TestClient[Any, Any]:
            server = module.server_of(app_or_server, server_kwargs or {}, _tell(request))
            client = aiohttp_client_cls(server, **kwargs)
            await client.start_server()
            clients.append(client)
            return client

        yield start
