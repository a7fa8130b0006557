"""The page on probes says what they come to today, and nothing in our column misleads."""

from __future__ import annotations

import importlib.util
import os
import re
from pathlib import Path
from typing import Any

import pytest
from sessions import run_pytest

ROOT = Path(__file__).resolve().parents[2]
PAGE = (ROOT / "docs" / "probes.md").read_text()


def load_probes() -> Any:
    spec = importlib.util.spec_from_file_location("probes", ROOT / "benchmarks" / "programs" / "probes.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


PROBES = load_probes()


def judge(probe: Any, folder: Path, *options: str) -> Any:
    arguments = [*PROBES.write(probe, folder), *options]
    return PROBES.read_verdict(*run_pytest(arguments, folder, dict(os.environ), timeout=120))


@pytest.mark.parametrize("probe", PROBES.PROBES, ids=lambda probe: probe.title)
def test_our_column_is_current_and_misleads_nobody(probe: Any, tmp_path: Path) -> None:
    verdict = judge(probe, tmp_path)
    strict = verdict if verdict == "fails" else judge(probe, tmp_path, "--interleave-strict")

    assert PROBES.is_good(probe, verdict)
    assert strict == ("fails" if probe.is_wrong else "passes")
    assert re.search(rf"^\| {re.escape(probe.title)} \| {verdict} \|", PAGE, re.MULTILINE)


def test_the_page_has_each_probe_once_and_counts_them() -> None:
    wrong = sum(probe.is_wrong for probe in PROBES.PROBES)

    assert f"| judged well, of {wrong} | {wrong} |" in PAGE
    assert f"| judged well, of {len(PROBES.PROBES) - wrong} | {len(PROBES.PROBES) - wrong} |" in PAGE
    for probe in PROBES.PROBES:
        assert PAGE.count(f"\n| {probe.title} |") == 1
