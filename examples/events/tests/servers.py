"""Serve an application on a loopback port, for the length of a block."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from aiohttp import web
from aiohttp.test_utils import TestClient, TestServer
from yarl import URL

from events.service import Settings, make_app

Service = TestClient[web.Request, web.Application]


@asynccontextmanager
async def serving(app: web.Application) -> AsyncIterator[URL]:
    async with TestServer(app) as server:
        yield server.make_url("/")


@asynccontextmanager
async def serving_events(settings: Settings) -> AsyncIterator[Service]:
    """Serve our own service, and yield a client of it."""
    async with TestClient(TestServer(make_app(settings))) as client:
        yield client
