"""One step kept back, the rest as asyncio would."""

from __future__ import annotations

from pytest_interleave.schedule import Fifo


class OneHeld(Fifo):
    """Keeps the step at one choice point back for some turns, and counts the points at which it could have."""

    holds_steps = True

    def __init__(self, index: int, turns: int) -> None:
        self.index = index
        self.turns = turns
        self.asked = 0

    def hold(self, origin: int, turns: int) -> int:
        self.asked += 1
        return min(self.turns, turns) if self.asked - 1 == self.index else 0
