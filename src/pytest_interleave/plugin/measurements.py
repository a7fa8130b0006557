"""What a test measured (a load, a knee), as sections of its report if it fails, or if ``-rP`` asks for all."""

from __future__ import annotations

import sys
from typing import Any

import pytest

#: Imported once a test has measured anything.
MEASURING = "pytest_interleave.traffic.made"


def show_measurements(report: pytest.TestReport, config: pytest.Config) -> None:
    """Add what was measured in this phase to the report, where it will be read, and forget it."""
    module: Any = sys.modules.get(MEASURING)
    if module is None:
        return
    if report.failed or (report.passed and _are_passes_shown(config)):
        for measurement in module.recent:
            report.sections.append((measurement.title, measurement.describe()))
    module.recent.clear()


def _are_passes_shown(config: pytest.Config) -> bool:
    return not {"P", "A"}.isdisjoint(config.option.reportchars)
