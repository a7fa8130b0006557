"""An ASGI application at a named host, by uvicorn."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import ssl
from typing import Any

#: Turns that connections get to say goodbye.
_LAST_TURNS = 5


class ServedAsgi:
    """Runs the application and its lifespan.

    This is ``uvicorn.Server`` without its main loop, whose tick every 0.1 s would never let the event loop rest, and
    without its signal handlers.
    """

    def __init__(self, application: Any) -> None:
        self._application = application
        self._server: Any = None
        self._listening: list[asyncio.Server] = []

    async def listen(self, listener: socket.socket, tls: ssl.SSLContext | None) -> None:
        """Answer on that socket, after the application's start-up."""
        if self._server is None:
            self._server = await self._start()
        server = self._server
        loop = asyncio.get_running_loop()

        def make_protocol() -> Any:
            return server.config.http_protocol_class(
                config=server.config, server_state=server.server_state, app_state=server.lifespan.state, _loop=loop
            )

        self._listening.append(await loop.create_server(make_protocol, sock=listener, ssl=tls))

    async def _start(self) -> Any:
        try:
            import uvicorn
        except ImportError:
            raise ModuleNotFoundError("to serve an ASGI application: pip install uvicorn") from None
        config = uvicorn.Config(self._application, log_config=None, access_log=False, lifespan="auto")
        config.load()
        server = uvicorn.Server(config)
        server.lifespan = config.lifespan_class(config)
        await server.lifespan.startup()
        if server.lifespan.should_exit:
            raise RuntimeError("the ASGI application failed in its start-up; its log says why")
        await server.on_tick(0)  # makes the headers that every answer has
        return server

    async def close(self) -> None:
        """Cancel what is being answered, and shut the application down."""
        if self._server is None:
            return
        for server in self._listening:
            server.close()
        state = self._server.server_state
        for connection in list(state.connections):
            try:
                connection.shutdown()
            except Exception:  # a WebSocket that was about to say goodbye itself cannot be told to
                connection.transport.close()
        for _ in range(_LAST_TURNS):
            if not state.connections and not state.tasks:
                break
            await asyncio.sleep(0)
        for connection in list(state.connections):
            connection.transport.abort()
        tasks = list(state.tasks)
        for task in tasks:
            task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await asyncio.gather(*tasks, return_exceptions=True)
        await self._server.lifespan.shutdown()
