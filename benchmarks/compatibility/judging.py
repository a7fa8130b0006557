"""Run the probes, and say what came of each."""

from __future__ import annotations

import json
import re
import subprocess
import tempfile
import xml.etree.ElementTree as ElementTree
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks.compatibility.probes import Probe

PROBES = Path(__file__).parent / "probes"
RUNS = 12
LEAST_RUNS = 3
#: Of one probe; machines may be busy.
PATIENCE_SECONDS = 120
_INI = "[pytest]\nasyncio_mode = auto\npython_files = *.py\naddopts = --import-mode=importlib\n"


@dataclass(frozen=True)
class Cell:
    """What came of one probe in one environment; a reason where there is more to say."""

    word: str
    reason: str = ""


def judge(python: Path | str, probes: Sequence[Probe]) -> dict[Probe, Cell]:
    """Run the probes plainly, then explored; each must pass both ways, and the second in several runs.

    They share a session, since importing the libraries takes longer than all else; if one ends it, each has its own.
    """
    found = _judge_in_a_session(python, probes)
    if found is not None:
        return found
    if len(probes) == 1:
        return {probes[0]: Cell("hangs", f"not over after {PATIENCE_SECONDS} s, or it ended the session")}
    return {probe: judge(python, [probe])[probe] for probe in probes}


def _judge_in_a_session(python: Path | str, probes: Sequence[Probe]) -> dict[Probe, Cell] | None:
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        (folder / "pytest.ini").write_text(f"{_INI}pythonpath = {PROBES}\n")
        exploring = ["--interleave", f"--interleave-runs={RUNS}", "--interleave-time=60", "--interleave-seed=1"]
        plain = _session(python, probes, folder, "plain")
        explored = _session(python, probes, folder, "explored", *exploring)
        if plain is None or explored is None:
            return None
        records = {Path(each["nodeid"].partition("::")[0]).stem: each for each in explored}
        failures = _failures(folder / "plain.xml")
        return {probe: _cell(records.get(probe.name), failures.get(probe.name)) for probe in probes}


def _session(
    python: Path | str, probes: Sequence[Probe], folder: Path, kind: str, *options: str
) -> list[dict[str, Any]] | None:
    """Return what was written of each test; None if the session did not end by itself."""
    report = folder / f"{kind}.json"
    command = [str(python), "-m", "pytest", "-q", "-p", "no:cacheprovider", "-c", str(folder / "pytest.ini")]
    command += [f"--rootdir={PROBES}", f"--junitxml={folder / kind}.xml", f"--interleave-json={report}", *options]
    files = [str(PROBES / f"{probe.name}.py") for probe in probes]
    try:
        status = subprocess.run(
            [*command, *files], stdout=subprocess.DEVNULL, timeout=PATIENCE_SECONDS * len(probes)
        ).returncode
    except subprocess.TimeoutExpired:
        return None
    if status not in (0, 1) or not report.exists():
        return None
    found: list[dict[str, Any]] = json.loads(report.read_text())["tests"]
    return found


def _failures(xml: Path) -> dict[str, str]:
    """Return the last error of each file that failed."""
    found = {}
    for case in ElementTree.parse(xml).iter("testcase"):
        for failure in [*case.iter("failure"), *case.iter("error")]:
            errors = re.findall(r"^E +(\S.*)$", failure.text or "", re.MULTILINE)
            found[str(case.get("classname")).rpartition(".")[2]] = errors[-1] if errors else "no error was shown"
    return found


def _cell(record: Mapping[str, Any] | None, failure: str | None) -> Cell:
    if failure is not None:
        return Cell("fails plainly", failure)
    if record is None:
        return Cell("fails", "nothing was told of it")
    if record["outcome"] != "passed":
        sentence = record["sentence"] or ""
        return Cell(f"finds a `{record['label']}` failure" if sentence else "fails", sentence)
    if record["verdict"] == "inconclusive":
        return Cell("inconclusive", "two runs in asyncio's own order differ")
    return Cell("ok") if record["runs"] >= LEAST_RUNS else Cell("not explored", f"{record['runs']} runs")
