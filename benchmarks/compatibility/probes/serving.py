"""Servers that the probes share. Not a probe."""

import asyncio
import contextlib
import socket

import hypercorn.asyncio
import hypercorn.config
import uvicorn


@contextlib.asynccontextmanager
async def serve_uvicorn(app):
    """Serve an ASGI application with uvicorn, as it is; yield the port."""
    server = uvicorn.Server(uvicorn.Config(app, port=0, log_level="error"))
    task = asyncio.create_task(server.serve())
    while not server.started:
        await asyncio.sleep(0.01)
    try:
        yield server.servers[0].sockets[0].getsockname()[1]
    finally:
        server.should_exit = True
        await task


@contextlib.asynccontextmanager
async def serve_hypercorn(app, **settings):
    """Serve an ASGI application with hypercorn, as it is; yield the port."""
    listener = socket.create_server(("127.0.0.1", 0))
    port = listener.getsockname()[1]
    config = hypercorn.config.Config()
    config.bind = [f"fd://{listener.detach()}"]
    config.errorlog = None
    for name, value in settings.items():
        setattr(config, name, value)
    is_over = asyncio.Event()
    task = asyncio.create_task(hypercorn.asyncio.serve(app, config, shutdown_trigger=is_over.wait))
    try:
        yield port
    finally:
        is_over.set()
        await task
