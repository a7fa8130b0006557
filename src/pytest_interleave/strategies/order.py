"""Random orders that asyncio never makes: first steps of siblings swapped, steps kept back for some turns."""

from __future__ import annotations

from collections.abc import Sequence
from random import Random

from pytest_interleave.schedule import Event


class RandomOrder:
    """What comes from outside stays in asyncio's order; the steps do not."""

    holds_steps = True
    splits = False

    def __init__(self, random: Random, *, holds: bool = True, turns: int = 4) -> None:
        self.random = random
        self.holds_steps = holds
        self.chance = random.choice((0.05, 0.15, 0.3))
        self.turns = turns

    def deliver(self, options: Sequence[Event | None]) -> int:
        return 0

    def order(self, origins: Sequence[int]) -> int:
        return self.random.randrange(len(origins))

    def hold(self, origins: Sequence[int], turns: int) -> Sequence[int]:
        draw, chance = self.random.random, self.chance
        choices = []
        for _ in origins:
            choices.append(0 if draw() >= chance else self.random.randint(1, min(turns, self.turns)))
        return choices

    def data(self, alternatives: int, *, is_fault: bool = False) -> int:
        return 0

    def cancel(self, kind: str, origin: int, ordinal: int, alternatives: int) -> int:
        return 0

    def split(self, origin: int, ordinal: int) -> int:
        return 0
