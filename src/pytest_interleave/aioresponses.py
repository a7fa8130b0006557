"""In place of ``aioresponses``: ``from pytest_interleave.aioresponses import aioresponses``."""

from __future__ import annotations

from pytest_interleave.net.aioresponses import CallbackResult, RequestCall, aioresponses

__all__ = ["CallbackResult", "RequestCall", "aioresponses"]
