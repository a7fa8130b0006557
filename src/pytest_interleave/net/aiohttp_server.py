"""An aiohttp application at a named host, by aiohttp's own server."""

from __future__ import annotations

import asyncio
import socket
import ssl
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from aiohttp import web

#: How long a handler that is still at work when the test ends may clean up after its cancellation, in seconds.
_GRACE_SECONDS = 0.05
#: Turns in which what was cancelled ends.
_LAST_TURNS = 5


def serve_all(handler: Callable[[web.Request], Awaitable[web.StreamResponse]]) -> ServedApplication:
    """Return what lets one handler answer every request, however long its body is."""
    from aiohttp import web

    application = web.Application(client_max_size=0)
    application.router.add_route("*", "/{path:.*}", handler)
    return ServedApplication(application)


class ServedApplication:
    """Runs the application as ``web.run_app`` would: a handler goes on when its client goes away."""

    def __init__(self, application: web.Application) -> None:
        self._application = application
        self._runner: web.AppRunner | None = None
        self._at_work: set[asyncio.Task[Any]] = set()

    async def listen(self, listener: socket.socket, tls: ssl.SSLContext | None) -> None:
        """Answer on that socket, after the application's start-up."""
        from aiohttp import web

        if self._runner is None:
            runner = web.AppRunner(self._application, access_log=None, shutdown_timeout=_GRACE_SECONDS)
            await runner.setup()
            self._runner = runner
            self._note_who_is_at_work(runner)
        await web.SockSite(self._runner, listener, ssl_context=tls).start()

    def _note_who_is_at_work(self, runner: web.AppRunner) -> None:
        """Keep the tasks of handlers: aiohttp forgets those whose client has gone away."""
        server: Any = runner.server
        handle = server.request_handler

        async def handle_and_note(request: Any) -> Any:
            task: Any = asyncio.current_task()
            self._at_work.add(task)
            try:
                return await handle(request)
            finally:
                self._at_work.discard(task)

        server.request_handler = handle_and_note

    async def close(self) -> None:
        """Shut the application down."""
        if self._runner is None:
            return
        tasks = list(self._at_work)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        for _ in range(_LAST_TURNS if tasks else 0):
            await asyncio.sleep(0)
        await self._runner.cleanup()
