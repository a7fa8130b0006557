"""Progress of long explorations, on a terminal only: which test, how many runs so far, how many a second."""

from __future__ import annotations

import os
from typing import Any

import pytest

from pytest_interleave.clock.real import perf_counter
from pytest_interleave.plugin.exploring.silence import Silence

_FIRST_SECONDS = 2.0
_SECONDS = 0.5


def _is_dumb() -> bool:
    return os.environ.get("TERM", "dumb") == "dumb"  # it cannot take a line back


class Progress:
    """Counts the runs of one test."""

    def __init__(self, item: pytest.Item, silence: Silence) -> None:
        reporter: Any = item.config.pluginmanager.get_plugin("terminalreporter")
        is_shown = reporter is not None and reporter.isatty and reporter.verbosity >= 0 and not _is_dumb()
        self._reporter: Any = reporter if is_shown else None
        self._silence = silence
        self._name = item.name
        self._runs = 0
        self._start = perf_counter()
        self._next = self._start + _FIRST_SECONDS
        self._is_shown = False

    def count(self) -> None:
        """Count a run, and show where we are now and then."""
        self._runs += 1
        if self._reporter is None or (now := perf_counter()) < self._next:
            return
        self._next = now + _SECONDS
        with self._silence.lifted():
            if not self._is_shown:
                self._is_shown = True
                self._reporter.ensure_newline()
            rate = self._runs / (now - self._start)
            self._reporter.rewrite(f"{self._name}: {self._runs} runs, {rate:.0f}/s", erase=True)
            self._reporter.flush()

    def clear(self) -> None:
        """Take the line away. The terminal reporter begins a line of its own then, from the one above."""
        if self._is_shown and self._reporter is not None:
            self._reporter.write("\r\x1b[2K\x1b[1A")
            self._reporter.flush()
