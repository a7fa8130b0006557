"""What a request to a named host costs, beside a server on the loopback interface and aioresponses."""

from __future__ import annotations

import json
from functools import partial
from pathlib import Path

from benchmarks import children
from benchmarks.environments import ROOT, Environment, python_of
from benchmarks.interpreters import Interpreter
from benchmarks.registry import Benchmark, Effort
from benchmarks.rounds import Series, measure
from benchmarks.tables import Table

COLUMNS = {
    "loopback": "loopback server",
    "aioresponses": "aioresponses 0.7.9",
    "routes": "our routes",
    "shim": "our shim",
}


def run(interpreter: Interpreter, effort: Effort) -> Table:
    """Measure the same requests by each, in processes of their own."""
    python = python_of(Environment("http", is_ours=True), interpreter)
    subjects = {name: partial(_cost_of_a_request, python, name) for name in COLUMNS}
    readings = measure(subjects, rounds=effort.rounds, name=f"http on {interpreter.version}")
    table = Table("http: GETs of one aiohttp session, ten at a time", list(COLUMNS.values()), COLUMNS["routes"])

    def rate(name: str) -> Series:
        return readings[name].inverse()

    def share(name: str) -> Series:
        return rate(name) / rate("loopback")

    table.add("GET", "requests/s", {COLUMNS[name]: partial(rate, name) for name in COLUMNS}, decimals=0)
    shares = {column: partial(share, name) for name, column in COLUMNS.items() if name != "loopback"}
    table.add("share of the loopback server's", "x", shares)
    return table


def _cost_of_a_request(python: Path, subject: str) -> float:
    finished = children.run([python, "-m", "benchmarks.programs.http_requests", subject], cwd=ROOT)
    return float(json.loads(finished.output.splitlines()[-1])["cpu_seconds"])


BENCHMARK = Benchmark("http", "what a request to a named host costs", run)
