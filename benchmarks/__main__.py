"""The command: ``python -m benchmarks [NAME …]``."""

from __future__ import annotations

import argparse
import json
import os
import platform
import sys
from pathlib import Path
from typing import Any

from benchmarks.errors import BenchmarkError
from benchmarks.interpreters import Interpreter, find_interpreter
from benchmarks.registry import Benchmark, Effort, load_benchmarks


def main() -> int:
    """Measure what was asked for and print one table for each benchmark and Python."""
    try:
        benchmarks = load_benchmarks()
        options = _parse(benchmarks)
        effort = Effort(rounds=options.rounds or (1 if options.quick else 5), is_quick=options.quick)
        results = [
            _measure(benchmarks[name], interpreter, effort)
            for name in options.names or benchmarks
            for interpreter in _interpreters(benchmarks[name], options.python)
        ]
    except BenchmarkError as error:
        print(error, file=sys.stderr)
        return 2
    if options.json:
        options.json.write_text(json.dumps({"machine": _machine(), "results": results}, indent=1) + "\n")
    return 0


def _parse(benchmarks: dict[str, Benchmark]) -> argparse.Namespace:
    known = "\n".join(f"  {name:10} {benchmark.summary}" for name, benchmark in benchmarks.items())
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks",
        description="Compare pytest-interleave with its neighbours.",
        epilog=f"benchmarks:\n{known}",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("names", nargs="*", metavar="NAME", help="which benchmarks to run (default: all)")
    parser.add_argument("--python", action="append", help="a version such as 3.13, or a path; may be given again")
    parser.add_argument("--rounds", type=int, help="how often to measure each subject (default: 5, or 1 with --quick)")
    parser.add_argument("--quick", action="store_true", help="smaller work, one round: does it run, roughly how fast")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write all figures, of every round, to FILE")
    options = parser.parse_args()
    for name in options.names:
        if name not in benchmarks:
            parser.error(f"no benchmark {name!r}; there are {', '.join(benchmarks)}")
    if options.rounds is not None and options.rounds < 1:
        parser.error("--rounds must be 1 or more")
    return options


def _interpreters(benchmark: Benchmark, wanted: list[str] | None) -> list[Interpreter]:
    if wanted:
        return [find_interpreter(name) for name in wanted]
    found = []
    for version in benchmark.pythons:
        try:
            found.append(find_interpreter(version))
        except BenchmarkError:
            print(f"{benchmark.name}: no Python {version} here, left out", file=sys.stderr)
    return found


def _measure(benchmark: Benchmark, interpreter: Interpreter, effort: Effort) -> dict[str, Any]:
    load_before = os.getloadavg()[0]
    table = benchmark.run(interpreter, effort)
    print(table.to_text())
    print(
        f"\nPython {interpreter.full_version}; {effort.rounds} round(s){', quick' if effort.is_quick else ''};"
        f" load {load_before:.1f} before, on {os.cpu_count()} cores.\n",
        flush=True,
    )
    return {
        "benchmark": benchmark.name,
        "python": interpreter.full_version,
        "rounds": effort.rounds,
        "quick": effort.is_quick,
        "load_before": load_before,
        **table.to_json(),
    }


def _machine() -> dict[str, Any]:
    return {"system": platform.platform(), "processor": platform.machine(), "cores": os.cpu_count()}


if __name__ == "__main__":
    sys.exit(main())
