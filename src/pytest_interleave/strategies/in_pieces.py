"""All that comes over connections is read in pieces, the rest as asyncio would."""

from __future__ import annotations

from pytest_interleave.schedule import Fifo


class InPieces(Fifo):
    """Splits everything in the same way, and counts."""

    splits = True

    def __init__(self, way: int) -> None:
        self.way = way
        self.asked = 0

    def split(self, origin: int, ordinal: int) -> int:
        self.asked += 1
        return self.way
