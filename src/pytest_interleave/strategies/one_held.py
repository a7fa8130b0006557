"""One step kept back, the rest as asyncio would."""

from __future__ import annotations

import sys
from collections.abc import Sequence

from pytest_interleave.schedule import Fifo


class NoneHeld(Fifo):
    """Counts the steps that it could have kept back."""

    holds_steps = True
    passes = sys.maxsize

    @property
    def points(self) -> int:
        """How many there were."""
        return sys.maxsize - self.passes


class OneHeld(Fifo):
    """Keeps the step at one choice point back for some turns."""

    holds_steps = True

    def __init__(self, index: int, turns: int) -> None:
        self.index = self.passes = index
        self.turns = turns

    def hold(self, origins: Sequence[int], turns: int) -> Sequence[int]:
        place, count = self.passes, len(origins)
        if place >= count:
            self.passes = place - count
            return ()
        choices = [0] * count
        choices[place] = min(self.turns, turns)
        self.passes = sys.maxsize
        return choices
