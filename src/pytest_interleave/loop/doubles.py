"""``AsyncMock``s that take time: whether an answer is late is a choice of the run, and when it comes then another."""

from __future__ import annotations

import asyncio
import functools
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from pytest_interleave.loop.controlled import ControlledLoop

#: How long a late answer takes; as what stands for outside work, it may take longer.
_LATE_SECONDS = 0.01
#: What runs the side effect of an ``AsyncMock``, when it is awaited.
_ANSWERS = "_execute_mock_call"


class Doubles:
    """Counts what ``AsyncMock``s are asked in the runs of a test, and lets them answer late if that is wanted."""

    def __init__(self, *, may_be_late: bool) -> None:
        self.may_be_late = may_be_late
        self.asked = 0

    @contextmanager
    def watched(self) -> Iterator[None]:
        """Stand between the mocks and who awaits them. A late answer is there already: its side effect has happened."""
        mock: Any = sys.modules.get("unittest.mock")
        if mock is None:  # nobody has any
            yield
            return
        original = getattr(mock.AsyncMock, _ANSWERS)

        @functools.wraps(original)
        async def answer(self: Any, /, *args: Any, **kwargs: Any) -> Any:
            __tracebackhide__ = True
            try:
                result = await original(self, *args, **kwargs)
            except Exception:
                if is_late():
                    await asyncio.sleep(_LATE_SECONDS)
                raise
            if is_late():
                await asyncio.sleep(_LATE_SECONDS)
            return result

        is_late = self._is_late
        setattr(mock.AsyncMock, _ANSWERS, answer)
        try:
            yield
        finally:
            delattr(mock.AsyncMock, _ANSWERS)

    def _is_late(self) -> bool:
        self.asked += 1
        try:
            loop = asyncio.get_running_loop()
        except RuntimeError:  # awaited by hand, or by another library's loop
            return False
        if not (self.may_be_late and isinstance(loop, ControlledLoop) and loop.may_mocks_lag):
            return False
        if loop.decider is None:
            return False
        is_late = loop.decider.data(2) == 1
        if loop.observer is not None:
            loop.observer.drew_time(sys._getframe(2), is_late=is_late)
        return is_late
