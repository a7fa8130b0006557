"""Virtual clocks in a session of pytest: on while a test or a fixture runs, off while pytest and other plugins do."""

from __future__ import annotations

from collections.abc import Iterator
from collections.abc import Set as AbstractSet
from contextlib import contextmanager, nullcontext
from typing import Any

import pytest

from pytest_interleave.clock.virtual import Clocks

_NAME = "interleave-clocks"


class VirtualClocks:
    """The clocks of the current test, if they are virtual."""

    def __init__(self) -> None:
        self._current: Clocks | None = None
        self._by_start: dict[int, Clocks] = {}

    @contextmanager
    def following(self, start: int | None, resting_threads: AbstractSet[int]) -> Iterator[Clocks | None]:
        """Have clocks that follow what begins inside; None: leave them alone. Raises ``ClocksUnavailable``.

        They are installed for all of a test's protocol, since a fixture may install others on top (time-machine's or
        freezegun's), which go away with its tear-down.
        """
        if start is None:
            yield None
            return
        clocks = self._by_start.setdefault(start, Clocks(start, resting_threads))
        with clocks.installed():
            before, self._current = self._current, clocks
            try:
                yield clocks
            finally:
                self._current = before

    def _going(self) -> Any:
        return nullcontext() if self._current is None else self._current.going()

    @pytest.hookimpl(wrapper=True, tryfirst=True)
    def pytest_runtest_setup(self) -> Iterator[None]:
        """Let the clocks go while fixtures are set up."""
        __tracebackhide__ = True
        with self._going():
            return (yield)

    @pytest.hookimpl(wrapper=True, tryfirst=True)
    def pytest_runtest_call(self) -> Iterator[None]:
        """Let the clocks go while the test runs."""
        __tracebackhide__ = True
        with self._going():
            return (yield)

    @pytest.hookimpl(wrapper=True, tryfirst=True)
    def pytest_runtest_teardown(self) -> Iterator[None]:
        """Let the clocks go while fixtures are torn down."""
        __tracebackhide__ = True
        with self._going():
            return (yield)


def virtual_clocks_of(config: pytest.Config) -> VirtualClocks:
    """Return the session's; register it if need be."""
    manager = config.pluginmanager
    if not manager.has_plugin(_NAME):
        manager.register(VirtualClocks(), _NAME)
    plugin: Any = manager.get_plugin(_NAME)
    return plugin  # type: ignore[no-any-return]
