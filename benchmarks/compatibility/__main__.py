"""Write the tables of docs/compatibility.md: ``python -m benchmarks.compatibility``."""

from __future__ import annotations

import argparse
import json
import os
import re
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from benchmarks.compatibility.probes import ALL, OF_AIOHTTP, Probe
from benchmarks.environments import ROOT, Environment, python_of
from benchmarks.errors import BenchmarkError
from benchmarks.interpreters import find_interpreter

PAGE = ROOT / "docs" / "compatibility.md"
PROBES = Path(__file__).parent / "probes"
PYTHONS = ("3.11", "3.12", "3.13")
# The newest is that of requirements-aiohttp.txt.
AIOHTTP = ("3.9.5", "3.11.18", "3.13.5")
RUNS = 12
LEAST_RUNS = 3
PATIENCE_SECONDS = 120
_BEGIN = "<!-- written by python -m benchmarks.compatibility -->\n"
_INI = "[pytest]\nasyncio_mode = auto\npython_files = *.py\naddopts = --import-mode=importlib\n"


@dataclass(frozen=True)
class Cell:
    """What came of one probe in one environment; a reason where there is more to say."""

    word: str
    reason: str = ""


def main() -> int:
    """Run all probes everywhere and rewrite the page."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.compatibility", description=__doc__)
    parser.add_argument("--python", action="append", help="only this one, and leave the page as it is")
    wanted = parser.parse_args().python
    # Old releases of aiohttp have no wheels for new Pythons; without its compiled parts it works as well.
    os.environ["AIOHTTP_NO_EXTENSIONS"] = "1"
    libraries: dict[str, dict[str, Cell]] = {}
    releases: dict[str, dict[str, Cell]] = {}
    try:
        for version in wanted or PYTHONS:
            everything = Environment("compatibility", is_ours=True)
            libraries[version] = _judge_all(everything, version, ALL)
            for release in AIOHTTP:
                older = Environment(
                    f"compatibility-aiohttp-{release}",
                    is_ours=True,
                    file="compatibility",
                    replaced=(f"aiohttp=={release}",),
                )
                releases[f"{release} on {version}"] = _judge_all(older, version, OF_AIOHTTP)
    except BenchmarkError as error:
        print(error, file=sys.stderr)
        return 2
    if wanted:
        print(render(libraries, releases))
    else:
        head, _, _ = PAGE.read_text().partition(_BEGIN)
        PAGE.write_text(head + _BEGIN + render(libraries, releases))
    return 0


def _judge_all(environment: Environment, version: str, probes: tuple[Probe, ...]) -> dict[str, Cell]:
    python = python_of(environment, find_interpreter(version))
    found = {}
    for probe in probes:
        found[probe.title] = judge(python, probe)
        print(f"{environment.name} on {version}: {probe.title}: {found[probe.title]}", file=sys.stderr, flush=True)
    return found


def judge(python: Path | str, probe: Probe) -> Cell:
    """Run a probe plainly, then explored; both must pass, and the second in several runs."""
    with tempfile.TemporaryDirectory() as folder:
        ini, report = Path(folder, "pytest.ini"), Path(folder, "report.json")
        ini.write_text(f"{_INI}pythonpath = {PROBES}\n")
        command = [str(python), "-m", "pytest", "-q", "-p", "no:cacheprovider", "-c", str(ini), f"--rootdir={folder}"]
        file = str(PROBES / f"{probe.name}.py")
        exploring = ["--interleave", f"--interleave-runs={RUNS}", "--interleave-seed=1", f"--interleave-json={report}"]
        try:
            plain = subprocess.run([*command, file], capture_output=True, text=True, timeout=PATIENCE_SECONDS)
            if plain.returncode:
                return Cell("fails plainly", _last_error(plain.stdout))
            explored = subprocess.run(
                [*command, *exploring, file], capture_output=True, text=True, timeout=PATIENCE_SECONDS
            )
        except subprocess.TimeoutExpired:
            return Cell("hangs", f"not over after {PATIENCE_SECONDS} s")
        if not report.exists():
            return Cell("fails", _last_error(explored.stdout + explored.stderr))
        test = json.loads(report.read_text())["tests"][0]
    runs = test["runs"]
    if explored.returncode:
        return Cell(f"finds a `{test['label']}` failure" if test["sentence"] else "fails", test["sentence"] or "")
    if test["verdict"] == "inconclusive":
        return Cell("inconclusive", "two runs in asyncio's own order differ")
    return Cell("ok") if runs >= LEAST_RUNS else Cell("not explored", f"{runs} runs")


def _last_error(output: str) -> str:
    errors = re.findall(r"^E +(\S.*)$", output, re.MULTILINE)
    return errors[-1] if errors else output.strip().rpartition("\n")[2]


def render(libraries: Mapping[str, Mapping[str, Cell]], releases: Mapping[str, Mapping[str, Cell]]) -> str:
    """Return the tables, and below each what its cells have to add."""
    tables = [_table("library", ALL, {f"Python {version}": cells for version, cells in libraries.items()})]
    if releases:
        tables.append(_table("aiohttp", OF_AIOHTTP, releases))
    return "\n".join(tables)


def _table(head: str, probes: tuple[Probe, ...], columns: Mapping[str, Mapping[str, Cell]]) -> str:
    lines = [f"| {head} | {' | '.join(columns)} |", "| --- |" + " --- |" * len(columns)]
    notes = []
    for probe in probes:
        cells = {column: found[probe.title] for column, found in columns.items()}
        lines.append(f"| {probe.title} | {' | '.join(cell.word for cell in cells.values())} |")
        notes += [f"- {probe.title}, {column}: {cell.reason}." for column, cell in cells.items() if cell.reason]
    return "\n".join([*lines, *([""] if notes else []), *notes]) + "\n"


if __name__ == "__main__":
    sys.exit(main())
