"""Random orders that asyncio never makes: first steps of siblings swapped, steps kept back for some turns."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from itertools import chain
from math import log
from random import Random

from pytest_interleave.schedule import Event

_CHANCES = (0.05, 0.15, 0.3)
#: Bytes that a run is given beforehand: a generator of its own costs more than all the choices of a small run.
_FEW = 16
#: By a random byte, for each of the chances: so many steps in a row are not kept back. One number in place of as many.
_GAPS = [[int(log(1 - (byte + 0.5) / 256) / log(1 - chance)) for byte in range(256)] for chance in _CHANCES]


class RandomOrder:
    """What comes from outside stays in asyncio's order; the steps do not.

    Takes the same count of numbers from ``random`` however many it needs: the runs of a search do not depend on how
    long those before them were.
    """

    holds_steps = True
    splits = False

    def __init__(self, random: Random, *, holds: bool = True, turns: int = 4) -> None:
        few = random.getrandbits(8 * _FEW).to_bytes(_FEW, "little")
        self._draw: Callable[[], int] = chain(few, _more(few)).__next__
        self.turns = turns
        self.holds_steps = holds
        self._gaps = gaps = _GAPS[self._draw() % len(_GAPS)]
        #: So many steps stay in their places before the next is kept back.
        self.passes = gaps[self._draw()]

    def deliver(self, options: Sequence[Event | None]) -> int:
        return 0

    def order(self, origins: Sequence[int]) -> int:
        return (self._draw() << 8 | self._draw()) * len(origins) >> 16

    def hold(self, origins: Sequence[int], turns: int) -> Sequence[int]:
        place, count = self.passes, len(origins)
        if place >= count:
            self.passes = place - count
            return ()
        draw, gaps, turns = self._draw, self._gaps, min(turns, self.turns)
        choices = [0] * count
        while place < count:
            choices[place] = 1 + draw() % turns
            place += 1 + gaps[draw()]
        self.passes = place - count
        return choices

    def data(self, alternatives: int, *, is_fault: bool = False) -> int:
        return 0

    def cancel(self, kind: str, origin: int, ordinal: int, alternatives: int) -> int:
        return 0

    def split(self, origin: int, ordinal: int) -> int:
        return 0


def _more(seed: bytes) -> Iterator[int]:
    """Yield bytes without end: a linear congruential generator (Knuth, MMIX), which is seeded for nothing."""
    state = int.from_bytes(seed, "little")
    while True:
        state = (state * 6364136223846793005 + 1442695040888963407) % 2**64
        yield state >> 56
