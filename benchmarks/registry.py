"""Know the benchmarks: each module of ``benchmarks.suites`` is one, and defines ``BENCHMARK``.

To add one, add a file there. Its name on the command line is that of ``BENCHMARK``.
"""

from __future__ import annotations

import importlib
import pkgutil
from collections.abc import Callable
from dataclasses import dataclass

from benchmarks import suites
from benchmarks.errors import BenchmarkError
from benchmarks.interpreters import Interpreter
from benchmarks.tables import Table


@dataclass(frozen=True)
class Effort:
    """How hard to try."""

    rounds: int
    is_quick: bool


@dataclass(frozen=True)
class Benchmark:
    """Something that `make bench` can measure."""

    name: str
    summary: str
    run: Callable[[Interpreter, Effort], Table]
    pythons: tuple[str, ...] = ("3.11",)
    """The versions measured when the user asks for none."""


def load_benchmarks() -> dict[str, Benchmark]:
    """Import every suite and return its benchmark, by name."""
    found: dict[str, Benchmark] = {}
    for module in pkgutil.iter_modules(suites.__path__):
        benchmark = importlib.import_module(f"{suites.__name__}.{module.name}").BENCHMARK
        if not isinstance(benchmark, Benchmark):
            raise BenchmarkError(f"benchmarks/suites/{module.name}.py must set BENCHMARK to a Benchmark")
        found[benchmark.name] = benchmark
    return found
