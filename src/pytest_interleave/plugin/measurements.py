"""What a test measured (a load, a knee), as sections of its report if it fails."""

from __future__ import annotations

import sys
from typing import Any

#: Imported once a test has measured anything.
MEASURING = "pytest_interleave.traffic.made"


def show_measurements(report: Any) -> None:
    """Add what was measured in this phase to the report of a failure, and forget it."""
    module = sys.modules.get(MEASURING)
    if module is None:
        return
    if report.failed:
        for measurement in module.recent:
            report.sections.append((measurement.title, measurement.describe()))
    module.recent.clear()
