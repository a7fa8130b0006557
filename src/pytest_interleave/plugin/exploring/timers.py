"""pytest-timeout: its clock is for one run of a test, so it begins anew while a test is run hundreds of times."""

from __future__ import annotations

from typing import Any

import pytest

from pytest_interleave.clock.real import perf_counter


class Timers:
    """Knows how pytest-timeout was set for the current item."""

    def __init__(self) -> None:
        self._settings: Any = None
        self._set_at = 0.0

    @pytest.hookimpl(tryfirst=True, optionalhook=True)
    def pytest_timeout_set_timer(self, settings: Any) -> None:
        """Remember what the timer was set to."""
        self._settings = settings
        self._set_at = perf_counter()

    @pytest.hookimpl(tryfirst=True, optionalhook=True)
    def pytest_timeout_cancel_timer(self) -> None:
        """Forget it."""
        self._settings = None

    def restart(self, item: pytest.Item) -> None:
        """Begin anew, unless that was done just now."""
        settings = self._settings
        if settings is not None and perf_counter() - self._set_at > settings.timeout / 20:
            item.ihook.pytest_timeout_cancel_timer(item=item)
            item.ihook.pytest_timeout_set_timer(item=item, settings=settings)
