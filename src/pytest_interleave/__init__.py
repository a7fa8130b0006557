"""Run async tests under pytest, catch those that lie, and explore their interleavings in virtual time."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from pytest_interleave.detectors.findings import FindingError
    from pytest_interleave.errors import LoadError
    from pytest_interleave.loop.data import choose
    from pytest_interleave.loop.interruption import Outcome, interrupt
    from pytest_interleave.net.hosts import Hosts
    from pytest_interleave.plugin.decorator import fixture
    from pytest_interleave.plugin.detecting.tasks import print_tasks
    from pytest_interleave.plugin.items import is_async_test
    from pytest_interleave.report.script import explore
    from pytest_interleave.traffic.knee import Knee, find_knee
    from pytest_interleave.traffic.load import load
    from pytest_interleave.traffic.overlap import Concurrency, concurrently
    from pytest_interleave.traffic.result import LoadResult
    from pytest_interleave.traffic.running import Visit

__all__ = [
    "Concurrency",
    "FindingError",
    "Hosts",
    "Knee",
    "LoadError",
    "LoadResult",
    "Outcome",
    "Visit",
    "choose",
    "concurrently",
    "explore",
    "find_knee",
    "fixture",
    "interrupt",
    "is_async_test",
    "load",
    "print_tasks",
]
__version__ = "0.1.0"

# Imported when they are asked for: the engine works without pytest, and these do not.
_LAZY = {
    "Concurrency": "pytest_interleave.traffic.overlap",
    "FindingError": "pytest_interleave.detectors.findings",
    "Hosts": "pytest_interleave.net.hosts",
    "Knee": "pytest_interleave.traffic.knee",
    "LoadError": "pytest_interleave.errors",
    "LoadResult": "pytest_interleave.traffic.result",
    "Outcome": "pytest_interleave.loop.interruption",
    "Visit": "pytest_interleave.traffic.running",
    "choose": "pytest_interleave.loop.data",
    "concurrently": "pytest_interleave.traffic.overlap",
    "explore": "pytest_interleave.report.script",
    "find_knee": "pytest_interleave.traffic.knee",
    "fixture": "pytest_interleave.plugin.decorator",
    "interrupt": "pytest_interleave.loop.interruption",
    "is_async_test": "pytest_interleave.plugin.items",
    "load": "pytest_interleave.traffic.load",
    "print_tasks": "pytest_interleave.plugin.detecting.tasks",
}


def __getattr__(name: str) -> Any:
    if name not in _LAZY:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from importlib import import_module

    return getattr(import_module(_LAZY[name]), name)
