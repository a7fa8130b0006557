"""What ``pytest_asyncio.plugin`` offers to those who import from it, and the fixtures for unused ports.

While we are active this module *is* ``pytest_asyncio.plugin``: suites replace ``_unused_port`` in it, so the port
fixtures must look it up here. It has no hooks, and loads those who have: ``-p pytest_asyncio.plugin`` and
``pytest_plugins = "pytest_asyncio.plugin"`` may register it once more, or be all that is registered.

PYTEST_DONT_REWRITE (it is imported by the time that a suite asks pytest to rewrite it under its other name)
"""

from __future__ import annotations

import contextlib
import socket
from collections.abc import Callable

import pytest

from pytest_interleave.plugin.decorator import fixture
from pytest_interleave.plugin.items import (
    AsyncGenerator,
    AsyncHypothesisTest,
    AsyncStaticMethod,
    Coroutine,
    PytestAsyncioFunction,
    is_async_test,
)
from pytest_interleave.plugin.options import Mode

__all__ = [
    "AsyncGenerator",
    "AsyncHypothesisTest",
    "AsyncStaticMethod",
    "Coroutine",
    "Mode",
    "PytestAsyncioError",
    "PytestAsyncioFunction",
    "fixture",
    "is_async_test",
]

pytest_plugins = ("pytest_interleave.plugin",)


class PytestAsyncioError(Exception):
    """Base class of pytest-asyncio's errors."""


def _unused_port(socket_type: int) -> int:
    with contextlib.closing(socket.socket(type=socket_type)) as sock:
        sock.bind(("127.0.0.1", 0))
        port: int = sock.getsockname()[1]
        return port


@pytest.fixture
def unused_tcp_port() -> int:
    """Return a TCP port of localhost that nobody uses."""
    return _unused_port(socket.SOCK_STREAM)


@pytest.fixture
def unused_udp_port() -> int:
    """Return a UDP port of localhost that nobody uses."""
    return _unused_port(socket.SOCK_DGRAM)


@pytest.fixture(scope="session")
def unused_tcp_port_factory() -> Callable[[], int]:
    """Return a function that gives another unused TCP port each time."""
    return _without_repetition(socket.SOCK_STREAM)


@pytest.fixture(scope="session")
def unused_udp_port_factory() -> Callable[[], int]:
    """Return a function that gives another unused UDP port each time."""
    return _without_repetition(socket.SOCK_DGRAM)


def _without_repetition(socket_type: int) -> Callable[[], int]:
    given: set[int] = set()

    def factory() -> int:
        port = _unused_port(socket_type)
        while port in given:
            port = _unused_port(socket_type)
        given.add(port)
        return port

    return factory
