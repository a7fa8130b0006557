"""The page on compatibility has the rows of the probe list, and a reason for what is not ok."""

from __future__ import annotations

import importlib.util
import re
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
PROBES = ROOT / "benchmarks" / "compatibility" / "probes"
PAGE = (ROOT / "docs" / "compatibility.md").read_text()


def load_list() -> Any:
    spec = importlib.util.spec_from_file_location("compatibility_probes", PROBES / "__init__.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_the_page_has_the_rows_of_the_list() -> None:
    probes = load_list()
    rows = re.findall(r"^\| (.+?) \|.*(?:ok|finds|fails|inconclusive|not explored|hangs)", PAGE, re.MULTILINE)

    titles = [probe.title for probe in probes.ALL]
    assert rows[: len(titles)] == titles
    assert rows[len(titles) :] in ([], [probe.title for probe in probes.OF_AIOHTTP])


def test_every_probe_has_a_file_and_every_file_a_row() -> None:
    files = {path.stem for path in PROBES.glob("*.py")} - {"__init__", "serving"}

    assert files == {probe.name for probe in load_list().ALL}


def test_what_is_not_ok_has_its_reason_below_the_table() -> None:
    for row in re.findall(r"^\| .*(?:finds|fails|inconclusive|not explored|hangs).*$", PAGE, re.MULTILINE):
        title = row.split(" | ")[0].removeprefix("| ")
        assert f"\n- {title}, " in PAGE
