"""What the detectors cost a suite in which they find nothing.

Both of our sessions are of the same files: of two like projects in two folders one was 8 % dearer.
"""

from __future__ import annotations

import re
import tempfile
from functools import partial
from pathlib import Path

from benchmarks import children
from benchmarks.environments import Environment, python_of
from benchmarks.interpreters import Interpreter
from benchmarks.projects import Project
from benchmarks.registry import Benchmark, Effort
from benchmarks.rounds import Series, measure
from benchmarks.tables import Table, at_most

PEER = "pytest-asyncio 1.5.0"
OFF = "ours, all off"
OURS = "ours"
_OURS = Environment("pytest-interleave", is_ours=True)
_LOOPS = ("function", "session")


def run(interpreter: Interpreter, effort: Effort) -> Table:
    """Measure sessions of empty async tests: at the defaults, with all detectors off, and with pytest-asyncio."""
    tests = 1_000 if effort.is_quick else 2_000
    off = ("-o", "interleave_detect=" + "\n".join(f"{name} = off" for name in _detectors()))
    with tempfile.TemporaryDirectory(prefix="benchmark-detectors-") as folder:
        subjects = {}
        for column, environment in ((PEER, Environment("pytest-asyncio")), (OFF, _OURS), (OURS, _OURS)):
            python = python_of(environment, interpreter)
            for scope in _LOOPS:
                ini = {
                    "asyncio_mode": "auto",
                    "asyncio_default_fixture_loop_scope": scope,
                    "asyncio_default_test_loop_scope": scope,
                }
                place = Path(folder) / ("theirs" if column == PEER else "ours") / scope
                project = Project(tests, is_async=True, ini=ini)
                if not place.exists():
                    project.write_to(place)
                subjects[column, scope] = partial(_run, python, place, project, off if column == OFF else ())
        readings = measure(
            dict(sorted(subjects.items(), key=lambda each: each[0][1])), rounds=effort.rounds, name="detectors"
        )

    def ratio(column: str, scope: str) -> Series:
        return readings[column, scope].least() / readings[OFF, scope].least()

    table = Table(f"detectors: an empty async test of {tests:,}", [PEER, OFF, OURS], OURS)
    for scope in _LOOPS:
        figures = {column: partial(ratio, column, scope) for column in (PEER, OFF, OURS)}
        table.add(f"{scope} loop", "x all off", figures, target=at_most(1.05), decimals=3)
    return table


def _detectors() -> list[str]:
    source = (Path(__file__).parents[2] / "src" / "pytest_interleave" / "detectors" / "findings.py").read_text()
    return re.findall(r'^    "([a-z-]+)": \(', source, re.MULTILINE)


def _run(python: Path, folder: Path, project: Project, options: tuple[str, ...]) -> float:
    finished = children.run([python, "-m", "pytest", "-p", "no:cacheprovider", "-q", *options], cwd=folder)
    return project.cost_of_a_test(finished)


BENCHMARK = Benchmark("detectors", "what the detectors cost a suite in which they find nothing", run)
