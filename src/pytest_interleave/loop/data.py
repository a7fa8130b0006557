"""Values that a test draws, as choices of the run."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Sequence
from typing import TypeVar

from pytest_interleave.loop.controlled import ControlledLoop

T = TypeVar("T")


def choose(values: Sequence[T]) -> T:
    """Return one of the values: the first in a plain run, each of them in some run of an exploration.

    Must be called in a running event loop's thread to be explored. Raises ``ValueError`` if there is nothing to choose.
    """
    if not values:
        raise ValueError("choose() needs at least one value")
    try:
        loop = asyncio.get_running_loop()
    except RuntimeError:
        return values[0]
    if isinstance(loop, ControlledLoop) and loop.decider is not None and len(values) > 1:
        value = values[loop.decider.data(len(values))]
        if loop.observer is not None:
            loop.observer.drew(sys._getframe(1), repr(value))
        return value
    return values[0]
