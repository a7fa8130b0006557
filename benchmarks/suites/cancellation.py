"""What it costs that something may be cancelled at any await: the same test with and without."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Callable
from functools import partial
from pathlib import Path

from benchmarks import children
from benchmarks.environments import ROOT, Environment, python_of
from benchmarks.errors import UnmeasuredError
from benchmarks.interpreters import Interpreter
from benchmarks.registry import Benchmark, Effort
from benchmarks.rounds import Series, measure
from benchmarks.tables import Table, at_least

WITHOUT = "without"
OURS = "cancelled"
MANY, FEW = 80, 8
TEST = """\
import asyncio

import pytest
from benchmarks.programs.cost_of_cancelling import Pool


@pytest.mark.asyncio
@pytest.mark.parametrize("number", range({tests}))
async def test_pool(number):
    pool = Pool()
    await asyncio.gather(*(pool.get(key) for key in range(4)))
"""
Key = tuple[str, str]


def run(interpreter: Interpreter, effort: Effort) -> Table:
    """Measure `interrupt` in a program, and `--interleave-cancel` through pytest."""
    python = python_of(Environment("pytest-interleave", is_ours=True), interpreter)
    tests = 5 if effort.is_quick else 20
    with tempfile.TemporaryDirectory(prefix="benchmark-cancellation-") as folder:
        test = Path(folder, "test_pool.py")
        test.write_text(TEST.format(tests=tests))
        Path(folder, "pytest.ini").write_text(f"[pytest]\npythonpath = {ROOT}\n")
        subjects: dict[Key, Callable[[], float]] = {
            (WITHOUT, "interrupt"): partial(_cost_of_a_run, python, "plain"),
            (OURS, "interrupt"): partial(_cost_of_a_run, python, "interrupt"),
            (WITHOUT, "flag"): partial(_cost_through_pytest, python, test, "--interleave", tests),
            (OURS, "flag"): partial(_cost_through_pytest, python, test, "--interleave-cancel", tests),
        }
        readings = measure(subjects, rounds=effort.rounds, name=f"cancellation on {interpreter.version}")
    table = Table("cancellation: what a run costs in which something may be cancelled", [WITHOUT, OURS], OURS)

    def rate(column: str, what: str) -> Series:
        return readings[column, what].inverse()

    def share(what: str) -> Series:
        return rate(OURS, what) / rate(WITHOUT, what)

    for label, what in (("interrupt() around one of 4 operations", "interrupt"), ("--interleave-cancel", "flag")):
        table.add(label, "runs/s", {column: partial(rate, column, what) for column in (WITHOUT, OURS)}, decimals=0)
        table.add("share of the speed kept", "x", {OURS: partial(share, what)}, target=at_least(0.9))
    return table


def _cost_of_a_run(python: Path, program: str) -> float:
    finished = children.run([python, "-m", "benchmarks.programs.cost_of_cancelling", program], cwd=ROOT)
    return float(json.loads(finished.output.splitlines()[-1])["cpu_seconds"])


def _cost_through_pytest(python: Path, test: Path, flag: str, tests: int) -> float:
    """Return the CPU seconds of one more run: a session with many, less one with a tenth of them."""
    many, few = (_session(python, test, flag, runs, tests) for runs in (MANY, FEW))
    return (many - few) / ((MANY - FEW) * tests)


def _session(python: Path, test: Path, flag: str, runs: int, tests: int) -> float:
    options = [flag, f"--interleave-runs={runs}", "--interleave-time=600", "--interleave-seed=1"]
    finished = children.run([python, "-m", "pytest", "-q", "-p", "no:cacheprovider", *options], cwd=test.parent)
    if f"{tests} explored in {runs * tests} runs".replace(",", "") not in finished.output.replace(",", ""):
        raise UnmeasuredError(f"expected {runs * tests} runs, got: {finished.output.rstrip().splitlines()[-2]}")
    return finished.cpu_seconds


BENCHMARK = Benchmark("cancellation", "what it costs that something may be cancelled anywhere", run)
