"""What a run of an exploration costs, beside `asyncio.run` of the same coroutine."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from benchmarks import children
from benchmarks.environments import ROOT, Environment, python_of
from benchmarks.errors import UnmeasuredError
from benchmarks.interpreters import Interpreter
from benchmarks.registry import Benchmark, Effort
from benchmarks.rounds import Readings, Series, measure
from benchmarks.tables import Table, at_least, at_most

BASE = "asyncio.run"
OURS = "ours"
BALLAST = 600_000


@dataclass(frozen=True)
class ThroughPytest:
    """How the tool explores the small workload as a test. ``{runs}`` stands in the options."""

    imports: str
    decorator: str
    options: tuple[str, ...]
    most_runs: int
    """Enough for a second of CPU time or so."""


@dataclass(frozen=True)
class Explorer:
    """A column of the table."""

    column: str
    tool: str
    environment: Environment
    site: str = "loopback"
    """Which form of the aiohttp workload its network understands."""
    pytest: ThroughPytest | None = None


EXPLORERS = (
    Explorer(BASE, "asyncio", Environment("asyncio")),
    Explorer(
        "detangle 0.1.0",
        "detangle",
        Environment("detangle"),
        site="simulated_loopback",
        pytest=ThroughPytest(
            "import pytest", "@pytest.mark.detangle", ("--detangle-runs={runs}", "--detangle-no-db"), most_runs=4_000
        ),
    ),
    Explorer(
        "simloop 0.2.2",
        "simloop",
        Environment("simloop", needs_python="3.12"),
        site="simloop_hosts",
        pytest=ThroughPytest("import simloop", "@simloop.sim_test", ("--simloop-seeds={runs}",), most_runs=200),
    ),
    Explorer(
        "simloom 0.5.0",
        "simloom",
        Environment("simloom", needs_python="3.12"),
        site="simulated_loopback",
        pytest=ThroughPytest("import simloom", "@simloom.test(world=False)", ("--simloom-runs={runs}",), most_runs=200),
    ),
    Explorer(
        OURS,
        "interleave",
        Environment("pytest-interleave-aiohttp", is_ours=True),
        pytest=ThroughPytest(
            "import pytest",
            "@pytest.mark.asyncio",
            (
                "--interleave",
                "--interleave-runs={runs}",
                "--interleave-time=600",
                "--interleave-seed=1",
            ),
            most_runs=4_000,
        ),
    ),
)

SMALL_TEST = """\
{imports}

from benchmarks.programs.workloads import stamped_small


{decorator}
async def test_small():
    await stamped_small()
"""
CONFTEST = """\
from benchmarks.programs.workloads import stamps

def pytest_terminal_summary(terminalreporter):
    terminalreporter.write_line(f"a run: {stamps.cost_of_a_run(windows=20):.9f} s")
"""

Key = tuple[str, str]
"""Column and workload."""


def run(interpreter: Interpreter, effort: Effort) -> Table:
    """Measure every explorer on every workload, and turn the readings into the table of the explorer's issue."""
    subjects: dict[Key, Callable[[], float]] = {}
    with tempfile.TemporaryDirectory(prefix="benchmark-explore-") as folder:
        for explorer in EXPLORERS:
            subjects |= _subjects(explorer, interpreter, effort, Path(folder))
        # By workload, so that the columns of a row are measured next to each other.
        order = list(dict.fromkeys(workload for _, workload in subjects))
        turns = dict(sorted(subjects.items(), key=lambda subject: order.index(subject[0][1])))
        readings = measure(turns, rounds=effort.rounds, name=f"explore on {interpreter.version}")
    return _table(readings)


def _subjects(
    explorer: Explorer, interpreter: Interpreter, effort: Effort, folder: Path
) -> dict[Key, Callable[[], float]]:
    seconds = 0.2 if effort.is_quick else 0.5
    # With ballast, what is asked is whether the collector's long walks cost each run more: no window has them.
    workloads = {
        "small": ("workloads:small",),
        "small, whole": ("workloads:small",),
        "small, whole, ballast": ("workloads:small", f"--ballast={BALLAST}"),
        "large": ("workloads:large",),
        "test client": ("web:test_client",),
        "site": (f"web:{explorer.site}",),
    }
    subjects: dict[Key, Callable[[], float]] = {}
    try:
        python = python_of(explorer.environment, interpreter)
    except UnmeasuredError as error:
        reason = str(error)
        return {(explorer.column, name): partial(_refuse, reason) for name in (*workloads, "pytest")}
    for name, arguments in workloads.items():
        figure = "whole_cpu_seconds" if "whole" in name else "cpu_seconds"
        subjects[explorer.column, name] = partial(_cost_of_a_run, python, explorer.tool, arguments, seconds, figure)
    if explorer.pytest is not None:
        test = folder / explorer.tool / "test_small.py"
        test.parent.mkdir()
        test.write_text(SMALL_TEST.format(imports=explorer.pytest.imports, decorator=explorer.pytest.decorator))
        test.with_name("conftest.py").write_text(CONFTEST)
        (test.parent / "pytest.ini").write_text(f"[pytest]\npythonpath = {ROOT}\n")
        most = explorer.pytest.most_runs // (5 if effort.is_quick else 1)
        subjects[explorer.column, "pytest"] = partial(_cost_through_pytest, python, test, explorer.pytest, most)
    return subjects


def _refuse(reason: str) -> float:
    raise UnmeasuredError(reason)


def _cost_of_a_run(python: Path, tool: str, arguments: tuple[str, ...], seconds: float, figure: str) -> float:
    command: list[str | Path] = [
        python,
        "-m",
        "benchmarks.programs.cost_of_a_run",
        tool,
        *arguments,
        f"--seconds={seconds}",
    ]
    finished = children.run(command, cwd=ROOT)
    return float(json.loads(finished.output.splitlines()[-1])[figure])


def _cost_through_pytest(python: Path, test: Path, pytest: ThroughPytest, most_runs: int) -> float:
    """Return the CPU seconds of a run within a session, in the window of runs that took the least."""
    options = [option.format(runs=most_runs) for option in pytest.options]
    finished = children.run([python, "-m", "pytest", "-q", "-p", "no:cacheprovider", *options], cwd=test.parent)
    finished.require("1 passed")
    return finished.said("a run")


def _table(readings: Readings[Key]) -> Table:
    def cost(column: str, workload: str) -> Series:
        return readings[column, workload].least()

    def rate(column: str, workload: str) -> Series:
        return cost(column, workload).inverse()

    def ratio(column: str, workload: str, base: str) -> Series:
        return cost(column, workload) / cost(BASE, base)

    def kept(column: str) -> Series:
        return rate(column, "small, whole, ballast") / rate(column, "small, whole")

    everybody = [explorer.column for explorer in EXPLORERS]
    explorers = everybody[1:]
    table = Table("explore: what a run costs", everybody, OURS)

    def add_rate(label: str, workload: str, least: float | None = None) -> None:
        figures = {column: partial(rate, column, workload) for column in everybody}
        table.add(label, "runs/s", figures, target=at_least(least) if least else None, decimals=0)

    def add_ratio(label: str, workload: str, base: str, most: float) -> None:
        figures = {column: partial(ratio, column, workload, base) for column in explorers}
        table.add(label, f"x {BASE}", figures, target=at_most(most))

    add_rate("3 tasks of 5 awaits", "small")
    add_ratio("3 tasks of 5 awaits", "small", "small", 0.8)
    add_ratio("the same through pytest, no fixture", "pytest", "small", 1.2)
    add_ratio("100 tasks of 50 awaits", "large", "large", 2)
    add_rate(f"3 tasks of 5 awaits, {BALLAST:,} more live objects", "small, whole, ballast")
    kept_figures = {column: partial(kept, column) for column in everybody}
    table.add("share of the speed kept with them", "x", kept_figures, target=at_least(0.95))
    add_rate("aiohttp TestServer and TestClient, 2 requests", "test client", 500)
    add_rate("aiohttp TCPSite and ClientSession, 2 requests", "site", 500)
    return table


BENCHMARK = Benchmark("explore", "what a run of an exploration costs", run, pythons=("3.11", "3.13"))
