"""Libraries that need a word of their own while hosts are declared: those that go past Python's sockets."""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import Any, TypeAlias

from pytest_interleave.net import interception

Patch: TypeAlias = Callable[[Any, str, Callable[..., Any]], None]


def install(patch: Patch) -> None:
    """Patch what is imported already."""
    _let_aiohttp_ask_the_loop(patch)
    _lead_uvloop(patch)


def _let_aiohttp_ask_the_loop(patch: Patch) -> None:
    """Where aiodns is installed, aiohttp asks c-ares for names, which has threads and sockets of its own."""
    resolver = sys.modules.get("aiohttp.resolver")
    if resolver is None or getattr(resolver, "aiodns", None) is None:
        return

    async def resolve(self: Any, host: str, port: int = 0, family: Any = 0) -> Any:
        return await resolver.ThreadedResolver().resolve(host, port, family)

    patch(resolver.AsyncResolver, "resolve", resolve)


def _lead_uvloop(patch: Patch) -> None:
    """Uvloop resolves and connects in C; it is told where to instead."""
    module = sys.modules.get("uvloop")
    if module is None:
        return
    create_connection = module.Loop.create_connection

    async def getaddrinfo(loop: Any, host: Any, port: Any, **options: Any) -> Any:
        return interception.getaddrinfo(host, port, **options)

    async def connect(loop: Any, factory: Any, host: Any = None, port: Any = None, **options: Any) -> Any:
        if host is not None:
            if options.get("ssl") and options.get("server_hostname") is None:
                options["server_hostname"] = host
            host, port, *_ = interception.redirect((host, port))
        return await create_connection(loop, factory, host, port, **options)

    patch(module.Loop, "getaddrinfo", getaddrinfo)
    patch(module.Loop, "create_connection", connect)
