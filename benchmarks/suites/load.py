"""What a minute of load in virtual time costs, and that it comes to the same numbers each time."""

from __future__ import annotations

import json
from collections.abc import Callable
from functools import partial

from benchmarks import children
from benchmarks.environments import ROOT, Environment, python_of
from benchmarks.errors import UnmeasuredError
from benchmarks.interpreters import Interpreter
from benchmarks.registry import Benchmark, Effort
from benchmarks.rounds import measure
from benchmarks.tables import Table, at_most

OURS = "ours"


def run(interpreter: Interpreter, effort: Effort) -> Table:
    """Measure the minute once a round."""
    python = python_of(Environment("pytest-interleave-aiohttp", is_ours=True), interpreter)
    numbers: set[tuple[float, ...]] = set()

    def once() -> float:
        finished = children.run([python, "-m", "benchmarks.programs.load_on_a_service"], cwd=ROOT)
        found = json.loads(finished.output.splitlines()[-1])
        if found["failed"]:
            raise UnmeasuredError(f"{found['failed']} requests failed")
        numbers.add((found["requests"], found["p50"], found["p95"], found["p99"]))
        if len(numbers) > 1:
            raise UnmeasuredError(f"the numbers differ from round to round: {sorted(numbers)}")
        return float(found["cpu_seconds"])

    subjects: dict[str, Callable[[], float]] = {OURS: once}
    readings = measure(subjects, rounds=effort.rounds, name=f"load on {interpreter.version}")
    table = Table("load: a minute in virtual time", [OURS], OURS)
    table.add(
        "95 requests/s for 60 s, aiohttp client and server, the same numbers each round",
        "CPU s",
        {OURS: partial(readings.__getitem__, OURS)},
        target=at_most(5),
    )
    return table


BENCHMARK = Benchmark("load", "what a minute of load in virtual time costs", run)
