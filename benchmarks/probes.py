"""Write the table of docs/probes.md: ``python -m benchmarks.probes``."""

from __future__ import annotations

import sys
import tempfile
from collections.abc import Mapping
from pathlib import Path

from benchmarks.environments import ROOT, Environment, python_of
from benchmarks.errors import BenchmarkError
from benchmarks.interpreters import find_interpreter
from benchmarks.programs import probes
from benchmarks.programs.probes import PROBES, Probe, is_good, judge

PAGE = ROOT / "docs" / "probes.md"
#: One probe holds a scope of anyio's, with each plugin.
_ANYIO = ("anyio==4.16.0",)
COLUMNS = {
    probes.OURS: Environment(f"probes-{probes.OURS}", is_ours=True, replaced=_ANYIO, file=probes.OURS),
    "pytest-asyncio": Environment("probes-pytest-asyncio", replaced=_ANYIO, file="pytest-asyncio"),
    "anyio": Environment("anyio"),
}
_BEGIN = "<!-- written by python -m benchmarks.probes -->\n"
_HEADS = {True: "wrong", False: "right"}


def main() -> int:
    """Judge all probes with each plugin and rewrite the page."""
    try:
        interpreter = find_interpreter("3.11")
        pythons = {name: python_of(environment, interpreter) for name, environment in COLUMNS.items()}
    except BenchmarkError as error:
        print(error, file=sys.stderr)
        return 2
    verdicts = {
        probe.title: {name: _judge(python, probe, name) for name, python in pythons.items()} for probe in PROBES
    }
    head, _, _ = PAGE.read_text().partition(_BEGIN)
    PAGE.write_text(head + _BEGIN + render(verdicts))
    return 0


def _judge(python: Path, probe: Probe, name: str) -> str:
    with tempfile.TemporaryDirectory() as folder:
        verdict = judge(python, probe, Path(folder), plugin=name)
    print(f"{probe.title}: {name} {verdict}", file=sys.stderr, flush=True)
    return verdict


def render(verdicts: Mapping[str, Mapping[str, str]]) -> str:
    """Return the tables, those of wrong and of right programs; what misleads a person is bold."""
    names = list(COLUMNS)
    lines: list[str] = []
    for is_wrong, head in _HEADS.items():
        chosen = [probe for probe in PROBES if probe.is_wrong is is_wrong]
        lines += ["", f"| {head} | {' | '.join(names)} |", "| --- |" + " --- |" * len(names)]
        for probe in chosen:
            cells = [verdicts[probe.title][name] for name in names]
            marked = [cell if is_good(probe, cell) else f"**{cell}**" for cell in cells]
            lines.append(f"| {probe.title} | {' | '.join(marked)} |")
        good = [str(sum(is_good(probe, verdicts[probe.title][name]) for probe in chosen)) for name in names]
        lines.append(f"| judged well, of {len(chosen)} | {' | '.join(good)} |")
    return "\n".join(lines[1:]) + "\n"


if __name__ == "__main__":
    sys.exit(main())
