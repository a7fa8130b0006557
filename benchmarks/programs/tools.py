"""How each explorer is asked for a number of runs: its documented call, its default strategy, nothing tuned.

The call's default matters where it is not what pytest gets (simloom patches the clock and `random` in tests only): that
is left as it is. Shrinking and saved failures never come into play, since all workloads pass.
"""

from __future__ import annotations

import asyncio
import importlib
from collections.abc import Callable, Coroutine
from typing import Any

Workload = Callable[[], Coroutine[Any, Any, None]]
Explore = Callable[[Workload, int, int], int]
"""Called with the workload, a number of runs and a seed; returns how many runs took place."""


def run_plainly(workload: Workload, runs: int, seed: int) -> int:
    """Call `asyncio.run` as often: the base of every ratio."""
    for _ in range(runs):
        asyncio.run(workload())
    return runs


def explore_with_detangle(workload: Workload, runs: int, seed: int) -> int:
    """Explore with detangle's "auto" portfolio."""
    stats = _module("detangle").explore(workload, runs=runs, seed=seed, database=False)
    return int(stats.runs)


def explore_with_simloop(workload: Workload, runs: int, seed: int) -> int:
    """Explore with simloop's random walk."""
    start = seed * 1_000_000
    report = _module("simloop").explore(workload, range(start, start + runs))
    if report is not None:
        raise report.exception
    return runs


def explore_with_simloom(workload: Workload, runs: int, seed: int) -> int:
    """Explore with simloom's random walk."""
    exploration = _module("simloom").explore(workload, runs=runs, start_seed=seed * 1_000_000)
    if exploration.failed:
        raise AssertionError(exploration.summary())
    return int(exploration.runs)


def explore_with_ours(workload: Workload, runs: int, seed: int) -> int:
    """Explore with pytest-interleave's default strategy and mode."""
    exploration = _module("pytest_interleave").explore(workload, runs=runs, seed=seed)
    if exploration.failures:
        raise AssertionError(f"false alarm: {exploration.failures[0]}")
    return int(exploration.runs)


TOOLS: dict[str, Explore] = {
    "asyncio": run_plainly,
    "detangle": explore_with_detangle,
    "simloop": explore_with_simloop,
    "simloom": explore_with_simloom,
    "interleave": explore_with_ours,
}


def _module(name: str) -> Any:
    return importlib.import_module(name)
