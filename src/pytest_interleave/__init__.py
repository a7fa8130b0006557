"""Run async tests under pytest, catch those that lie, and explore their interleavings in virtual time."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from pytest_interleave.loop.data import choose
    from pytest_interleave.loop.interruption import Outcome, interrupt
    from pytest_interleave.net.hosts import Hosts
    from pytest_interleave.plugin.decorator import fixture
    from pytest_interleave.plugin.items import is_async_test
    from pytest_interleave.report.script import explore

__all__ = ["Hosts", "Outcome", "choose", "explore", "fixture", "interrupt", "is_async_test"]
__version__ = "0.1.0"

# Imported when they are asked for: the engine works without pytest, and these do not.
_LAZY = {
    "Hosts": "pytest_interleave.net.hosts",
    "Outcome": "pytest_interleave.loop.interruption",
    "choose": "pytest_interleave.loop.data",
    "explore": "pytest_interleave.report.script",
    "fixture": "pytest_interleave.plugin.decorator",
    "interrupt": "pytest_interleave.loop.interruption",
    "is_async_test": "pytest_interleave.plugin.items",
}


def __getattr__(name: str) -> Any:
    if name not in _LAZY:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from importlib import import_module

    return getattr(import_module(_LAZY[name]), name)
