"""Libraries that need a word of their own while hosts are declared: those that go past Python's sockets."""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import Any, TypeAlias

Patch: TypeAlias = Callable[[Any, str, Callable[..., Any]], None]


def install(patch: Patch) -> None:
    """Patch what is imported already."""
    _let_aiohttp_ask_the_loop(patch)


def _let_aiohttp_ask_the_loop(patch: Patch) -> None:
    """Where aiodns is installed, aiohttp asks c-ares for names, which has threads and sockets of its own."""
    resolver = sys.modules.get("aiohttp.resolver")
    if resolver is None or getattr(resolver, "aiodns", None) is None:
        return

    async def resolve(self: Any, host: str, port: int = 0, family: Any = 0) -> Any:
        return await resolver.ThreadedResolver().resolve(host, port, family)

    patch(resolver.AsyncResolver, "resolve", resolve)
