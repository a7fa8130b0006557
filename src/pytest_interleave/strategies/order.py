"""Random orders that asyncio never makes: first steps of siblings swapped, steps kept back for some turns."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from itertools import chain, repeat, starmap
from math import log
from random import Random

from pytest_interleave.schedule import Event

_CHANCES = (0.05, 0.15, 0.3)
#: Numbers that a run is given beforehand: a generator of its own costs more than all the choices of a small run.
_FEW = 16


class RandomOrder:
    """What comes from outside stays in asyncio's order; the steps do not.

    Takes the same count of numbers from ``random`` however many it needs: the runs of a search do not depend on how
    long those before them were.
    """

    holds_steps = True
    splits = False

    def __init__(self, random: Random, *, holds: bool = True, turns: int = 4) -> None:
        draw = random.random
        few = list(starmap(draw, repeat((), _FEW)))
        self._draw: Callable[[], float] = chain(few, _more(draw())).__next__
        self.turns = turns
        self.holds_steps = holds
        self._log = log(1 - _CHANCES[int(self._draw() * len(_CHANCES))])
        #: So many steps stay in their places before the next is kept back.
        self._before = self._gap()

    def _gap(self) -> int:
        """Draw how many steps in a row are not kept back, each with the same chance: one number instead of as many."""
        return int(log(1 - self._draw()) / self._log)

    def deliver(self, options: Sequence[Event | None]) -> int:
        return 0

    def order(self, origins: Sequence[int]) -> int:
        return int(self._draw() * len(origins))

    def hold(self, origins: Sequence[int], turns: int) -> Sequence[int]:
        place, count = self._before, len(origins)
        if place >= count:
            self._before = place - count
            return ()
        choices = [0] * count
        while place < count:
            choices[place] = 1 + int(self._draw() * min(turns, self.turns))
            place += 1 + self._gap()
        self._before = place - count
        return choices

    def data(self, alternatives: int, *, is_fault: bool = False) -> int:
        return 0

    def cancel(self, kind: str, origin: int, ordinal: int, alternatives: int) -> int:
        return 0

    def split(self, origin: int, ordinal: int) -> int:
        return 0


def _more(seed: float) -> Iterator[float]:
    """Yield numbers without end: a linear congruential generator (Knuth, MMIX), which is seeded for nothing."""
    state = int(seed * 2**53)
    while True:
        state = (state * 6364136223846793005 + 1442695040888963407) % 2**64
        yield (state >> 11) / 2**53
