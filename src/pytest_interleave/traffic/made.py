"""What was measured of late, so that a failing test's report can show it."""

from __future__ import annotations

from collections import deque
from typing import Protocol


class Measurement(Protocol):
    """Something that has more to say than fits a repr."""

    @property
    def title(self) -> str:
        """A few words for a heading."""

    def describe(self) -> str:
        """Return all of it, in lines."""


#: The last few, oldest first. Whoever shows them empties it.
recent: deque[Measurement] = deque(maxlen=5)
