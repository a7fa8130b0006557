"""A coroutine that talks to a client by a reader and a writer, at a named host."""

from __future__ import annotations

import asyncio
import socket
import ssl

from pytest_interleave.net.served import StreamHandler


class ServedStreams:
    """Calls the handler for each connection, and closes the connection when it returns."""

    def __init__(self, handler: StreamHandler) -> None:
        self._handler = handler
        self._servers: list[asyncio.Server] = []
        self._tasks: set[asyncio.Task[object]] = set()

    async def listen(self, listener: socket.socket, tls: ssl.SSLContext | None) -> None:
        """Answer on that socket."""
        self._servers.append(await asyncio.start_server(self._handle, sock=listener, ssl=tls))

    async def _handle(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        try:
            await self._handler(reader, writer)
        except (OSError, EOFError):
            pass  # the client went away, as clients do
        except asyncio.CancelledError:
            if not self._servers:  # the end of the test; asyncio would report a cancelled handler as an error
                return
            raise
        finally:
            self._tasks.discard(task)
            writer.close()

    async def close(self) -> None:
        """Cancel the handlers that are at work."""
        servers, self._servers = self._servers, []
        for server in servers:
            server.close()
        tasks = list(self._tasks)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
