"""Which HTTP request a frame is at work on, whoever serves it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any


def request_of(variables: Mapping[str, Any]) -> str:
    """Return ``POST /orders`` if the variables of a frame name a request of aiohttp or ASGI; else nothing."""
    request = variables.get("request")
    method, path = getattr(request, "method", None), getattr(request, "path", None)
    if isinstance(method, str) and isinstance(path, str):
        return f"{method} {path}"
    for scope in (variables.get("scope"), getattr(variables.get("self"), "scope", None)):
        if isinstance(scope, dict) and "method" in scope and "path" in scope:
            return f"{scope['method']} {scope['path']}"
    return ""
