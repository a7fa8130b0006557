"""What may answer at a named host, and how it is asked to.

Anything with the two methods of ``Served`` may. An aiohttp application, an ASGI application and a raw stream handler
are wrapped into one by ``as_served``; their libraries are imported when the first client connects.
"""

from __future__ import annotations

import asyncio
import inspect
import socket
import ssl
import sys
from collections.abc import Awaitable, Callable
from typing import Any, Protocol, TypeAlias, runtime_checkable

StreamHandler: TypeAlias = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[object]]


@runtime_checkable
class Served(Protocol):
    """What answers at a host.

    Both methods run in the loop of the first client that connects, in a task of their own.
    """

    async def listen(self, listener: socket.socket, tls: ssl.SSLContext | None) -> None:
        """Accept connections from that socket, which is bound and listens already, under that TLS if any.

        Called once for each port of the host to which a client connects, when the first one does.
        """

    async def close(self) -> None:
        """Stop accepting, cancel what is being answered, close the connections, and leave no task behind.

        Called once, at the end of the test, if ``listen`` was.
        """


def as_served(thing: Any) -> tuple[Served, int | None]:
    """Wrap what a test wants served; return it with the port it has if the test names none (None: HTTP's two)."""
    if isinstance(thing, Served):
        return thing, getattr(thing, "port", None)
    web = sys.modules.get("aiohttp.web")
    if web is not None and isinstance(thing, web.Application):
        from pytest_interleave.net.aiohttp_server import ServedApplication

        return ServedApplication(thing), None
    if not callable(thing):
        raise TypeError(_describe(thing))
    arguments = _count_arguments(thing)
    if arguments == 3:
        from pytest_interleave.net.asgi_server import ServedAsgi

        return ServedAsgi(thing), None
    if arguments == 2 and (inspect.iscoroutinefunction(thing) or inspect.iscoroutinefunction(type(thing).__call__)):
        from pytest_interleave.net.stream_server import ServedStreams

        return ServedStreams(thing), 0
    raise TypeError(_describe(thing))


def _count_arguments(function: Callable[..., Any]) -> int:
    """Return how many positional arguments it must have."""
    try:
        parameters = inspect.signature(function).parameters.values()
    except (TypeError, ValueError):
        return -1
    kinds = (inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD)
    return sum(parameter.kind in kinds and parameter.default is parameter.empty for parameter in parameters)


def _describe(thing: object) -> str:
    return (
        f"cannot serve {thing!r}: it is neither an aiohttp web.Application, nor an ASGI application (scope, receive, "
        "send), nor a stream handler (async def handler(reader, writer)), nor has it the methods listen and close"
    )
