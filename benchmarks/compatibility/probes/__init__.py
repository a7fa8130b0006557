"""The list of probes. Each is a test file of its own here, as a user would write it."""

from __future__ import annotations

from typing import NamedTuple


class Probe(NamedTuple):
    """A row of the table."""

    name: str
    title: str


OF_AIOHTTP = (
    Probe("aiohttp_client_and_site", "aiohttp: client, `TCPSite`, WebSocket"),
    Probe("aiohttp_test_client", "aiohttp: `TestServer` and `TestClient`"),
    Probe("aiohttp_file_response", "aiohttp: `FileResponse`"),
    Probe("aiohttp_tls", "aiohttp: TLS"),
    Probe("aiohttp_unix", "aiohttp: `UnixSite` and `UnixConnector`"),
    Probe("aiohttp_mock_routes", "aiohttp: mock routes and `mock_session`"),
    Probe("aioresponses_shim", "aiohttp: the shim for aioresponses"),
)
ALL = (
    *OF_AIOHTTP,
    Probe("httpx_uvicorn", "httpx, Starlette and uvicorn"),
    Probe("hypercorn_server", "httpx and hypercorn"),
    Probe("http2", "HTTP/2: httpx, hypercorn and h2, over TLS"),
    Probe("fastapi_threads", "FastAPI: sync routes and dependencies"),
    Probe("websockets_both", "websockets: server and client"),
    Probe("redis_client", "redis-py"),
    Probe("asyncpg_client", "asyncpg"),
    Probe("unix_sockets", "Unix sockets"),
    Probe("udp", "UDP"),
    Probe("anyio_listener", "anyio: listener and client"),
    Probe("thread_in_wait_for", "a thread in `wait_for`"),
    Probe("subprocesses", "subprocesses"),
)
