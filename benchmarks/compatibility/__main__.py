"""Write docs/compatibility.md: ``python -m benchmarks.compatibility``."""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

from benchmarks.compatibility.judging import Cell, judge
from benchmarks.compatibility.page import Column, Table, render
from benchmarks.compatibility.probes import ALL, OF_AIOHTTP, Probe
from benchmarks.environments import ROOT, Environment, python_of
from benchmarks.errors import BenchmarkError
from benchmarks.interpreters import find_interpreter

PAGE = ROOT / "docs" / "compatibility.md"
PYTHONS = ("3.11", "3.12", "3.13")
# The newest is that of requirements-aiohttp.txt.
AIOHTTP = ("3.9.5", "3.11.18", "3.13.5")
_HAS_COMPILED_PARTS = "import aiohttp._http_parser"


def main() -> int:
    """Run all probes everywhere and write the page."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.compatibility", description=__doc__)
    parser.add_argument("--python", action="append", help="only this one, and leave the page as it is")
    parser.add_argument("--probe", action="append", help="only this one, and leave the page as it is")
    options = parser.parse_args()
    # Releases without a wheel for a newer Python are built from their source, which must not need a compiler.
    os.environ["AIOHTTP_NO_EXTENSIONS"] = "1"
    pythons = options.python or PYTHONS
    try:
        tables = [
            _table("library", _chosen(ALL, options.probe), ((f"Python {version}", version, "") for version in pythons)),
            _table(
                "aiohttp",
                _chosen(OF_AIOHTTP, options.probe),
                ((f"{release} on {version}", version, release) for release in AIOHTTP for version in pythons),
            ),
        ]
    except BenchmarkError as error:
        print(error, file=sys.stderr)
        return 2
    page = render([table for table in tables if table.probes])
    if options.python or options.probe:
        print(page)
    else:
        PAGE.write_text(page)
    return 0


def _chosen(probes: tuple[Probe, ...], names: list[str] | None) -> tuple[Probe, ...]:
    return tuple(probe for probe in probes if not names or probe.name in names)


def _table(head: str, probes: tuple[Probe, ...], columns: Iterator[tuple[str, str, str]]) -> Table:
    return Table(head, probes, [_column(probes, *column) for column in columns] if probes else [])


def _column(probes: tuple[Probe, ...], title: str, version: str, release: str) -> Column:
    """Run the probes on a Python, with that release of aiohttp if one is named."""
    interpreter = find_interpreter(version)
    environment = Environment("compatibility", is_ours=True)
    if release:
        name, pin = f"compatibility-aiohttp-{release}", (f"aiohttp=={release}",)
        environment = Environment(name, is_ours=True, file="compatibility", replaced=pin)
    try:
        python = python_of(environment, interpreter)
    except BenchmarkError as error:
        if not release:
            raise
        print(error, file=sys.stderr)
        return Column(title, {probe: Cell("left out") for probe in probes}, "this release cannot be installed there")
    cells = judge(python, probes)
    for probe, cell in cells.items():
        print(f"{title}: {probe.title}: {cell.word} {cell.reason}".rstrip(), file=sys.stderr, flush=True)
    return Column(title, cells, "" if _has_compiled_parts(python) else "no wheel: built without its compiled parts")


def _has_compiled_parts(python: Path) -> bool:
    return not subprocess.run([python, "-c", _HAS_COMPILED_PARTS], stderr=subprocess.DEVNULL).returncode


if __name__ == "__main__":
    sys.exit(main())
