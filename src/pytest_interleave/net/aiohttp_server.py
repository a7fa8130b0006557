"""An aiohttp application at a named host, by aiohttp's own server."""

from __future__ import annotations

import socket
import ssl
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from aiohttp import web

#: How long a handler that is still at work when the test ends may clean up after its cancellation, in seconds.
_GRACE_SECONDS = 0.05


class ServedApplication:
    """Runs the application as ``web.run_app`` would: a handler goes on when its client goes away."""

    def __init__(self, application: web.Application) -> None:
        self._application = application
        self._runner: web.AppRunner | None = None

    async def listen(self, listener: socket.socket, tls: ssl.SSLContext | None) -> None:
        """Answer on that socket, after the application's start-up."""
        from aiohttp import web

        if self._runner is None:
            runner = web.AppRunner(self._application, access_log=None, shutdown_timeout=_GRACE_SECONDS)
            await runner.setup()
            self._runner = runner
        await web.SockSite(self._runner, listener, ssl_context=tls).start()

    async def close(self) -> None:
        """Shut the application down."""
        if self._runner is not None:
            await self._runner.cleanup()
