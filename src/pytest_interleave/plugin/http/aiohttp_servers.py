"""aiohttp's test servers, which cancel a handler as production does: only if they are told to."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

from aiohttp.test_utils import BaseTestServer, RawTestServer, TestClient, TestServer
from aiohttp.web import Application

__all__ = ["AppServer", "HandlerServer", "TestClient", "server_of"]


class _AsInProduction:
    """Takes ``handler_cancellation`` from the test; aiohttp passes True, whatever the test wants."""

    #: Told of a client that went away while its request was handled.
    tell: Callable[[str], None] = staticmethod(lambda text: None)
    runner: Any

    def __init__(self, *args: Any, handler_cancellation: bool = False, **kwargs: Any) -> None:
        self._is_cancelled = handler_cancellation
        super().__init__(*args, **kwargs)

    async def start_server(self, *args: Any, handler_cancellation: bool = False, **kwargs: Any) -> None:
        """Start, once."""
        self._is_cancelled |= handler_cancellation
        await super().start_server(*args, **kwargs)  # type: ignore[misc]
        if not self._is_cancelled:
            server = self.runner.server
            server.connection_lost = partial(self._lose_connection, server.connection_lost)

    def _lose_connection(self, go_on: Callable[..., None], handler: Any, error: BaseException | None = None) -> None:
        request = getattr(handler, "_current_request", None)  # private; without it, nothing is told
        if request is not None:
            self.tell(
                f"{request.method} {request.path}: the client went away, and the handler went on, as it does in "
                "production. handler_cancellation=True cancels it, here and in web.run_app."
            )
        go_on(handler, error)

    async def _make_runner(self, **kwargs: Any) -> Any:
        if "handler_cancellation" in kwargs:
            kwargs["handler_cancellation"] = self._is_cancelled
        return await super()._make_runner(**kwargs)  # type: ignore[misc]


class AppServer(_AsInProduction, TestServer):
    """Serves an application."""


class HandlerServer(_AsInProduction, RawTestServer):  # type: ignore[misc]
    """Serves a handler."""


def server_of(app_or_server: Any, arguments: Mapping[str, Any], tell: Callable[[str], None]) -> BaseTestServer:
    """Return the server that a client is to speak to."""
    if isinstance(app_or_server, Application):
        server = AppServer(app_or_server, **arguments)
        server.tell = tell
        return server
    if isinstance(app_or_server, BaseTestServer):
        return app_or_server
    raise ValueError(f"Unknown argument type: {type(app_or_server)!r}")
