"""Hooks for a conftest.py: say what the tests of the cheapest file took.

The time of a file is from the start of its first test to the start of the next file's, so that a loop which is opened
and closed for the module is in it. All plugins have these hooks alike.
"""

from __future__ import annotations

from typing import Any

from benchmarks.programs.stamps import Stamps

_stamps = Stamps()
_file = ""


def pytest_runtest_logstart(location: tuple[str, int | None, str]) -> None:
    """Note when a file begins."""
    global _file
    if location[0] != _file:
        _file = location[0]
        _stamps.mark()


def pytest_terminal_summary(terminalreporter: Any) -> None:
    """Print the figure, in CPU seconds."""
    if _file:
        terminalreporter.write_line(f"least file: {_stamps.least():.6f} s")
