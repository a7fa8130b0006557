"""One step kept back, the rest as asyncio would."""

from __future__ import annotations

from collections.abc import Sequence

from pytest_interleave.schedule import Fifo


class OneHeld(Fifo):
    """Keeps the step at one choice point back for some turns, and counts the points at which it could have."""

    holds_steps = True

    def __init__(self, index: int, turns: int) -> None:
        self.index = index
        self.turns = turns
        self.asked = 0

    def hold(self, origins: Sequence[int], turns: int) -> Sequence[int]:
        place = self.index - self.asked
        self.asked += len(origins)
        if not 0 <= place < len(origins):
            return ()
        choices = [0] * len(origins)
        choices[place] = min(self.turns, turns)
        return choices
