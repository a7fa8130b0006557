"""Keep the garbage collector off what collection makes: it lives as long as the session.

Python's cyclic collector takes half of the time in which pytest collects 10,000 tests, looking again and again at items
that cannot be garbage, and goes on with it while they run. So it works rarely while pytest collects, and
``gc.freeze`` takes what there is by then out of its sight. What tests make is collected as ever. When Python exits it
looks three more times at all that is left, and finds nothing to look at.
``-p no:interleave-garbage`` leaves the collector alone.
"""

from __future__ import annotations

import atexit
import gc
import sys
from collections.abc import Generator

import pytest

NAME = "interleave-garbage"
#: How many more containers there are before the collector works while pytest collects; CPython's own value is 700.
_CONTAINERS = 1_000_000
#: The name of Hypothesis's plugin.
_HYPOTHESIS = "hypothesispytest"
#: Python 3.12 starts with some frozen objects of its own.
_FROZEN_BY_PYTHON = gc.get_freeze_count()
#: The sessions of this process that have frozen what there is: one of them, while others may run inside of it.
_freezing: set[CollectorRest] = set()


def is_frozen() -> bool:
    """Whether somebody has called ``gc.freeze``; to ask Python takes long, since it counts all that is frozen."""
    return bool(_freezing) or gc.get_freeze_count() > _FROZEN_BY_PYTHON


class CollectorRest:
    """Spares the garbage collector work for one session, unless the user or an outer session has tuned it."""

    @pytest.hookimpl(wrapper=True, tryfirst=True)
    def pytest_collection(self) -> Generator[None, object, object]:
        """Let the collector work rarely while pytest collects."""
        thresholds = gc.get_threshold()
        if not gc.isenabled() or not 0 < thresholds[0] < _CONTAINERS:
            return (yield)
        gc.set_threshold(_CONTAINERS)
        try:
            return (yield)
        finally:
            if gc.get_threshold()[0] == _CONTAINERS:  # else a test module has chosen its own
                gc.set_threshold(*thresholds)

    @pytest.hookimpl(trylast=True)
    def pytest_collection_finish(self) -> None:
        """Hide from the collector what there is."""
        if gc.isenabled() and not is_frozen():
            _freezing.add(self)
            gc.freeze()

    @pytest.hookimpl(wrapper=True, tryfirst=True)
    def pytest_terminal_summary(self, config: pytest.Config) -> Generator[None, object, object]:
        """Show it to Hypothesis, whose plugin imports it now, if no test has.

        It asks the collector who refers to a generator of random numbers (trio's), and warns if it hears of nobody.
        """
        if "hypothesis" not in sys.modules and config.pluginmanager.has_plugin(_HYPOTHESIS):
            self._show()
        return (yield)

    @pytest.hookimpl(trylast=True)
    def pytest_unconfigure(self) -> None:
        """Show it again: the process may live on."""
        self._show()

    def _show(self) -> None:
        if self in _freezing:
            _freezing.remove(self)
            gc.unfreeze()
            atexit.unregister(gc.freeze)  # once a process is enough
            atexit.register(gc.freeze)
