"""Reduce a failing schedule to what it takes.

``ddmin`` over ordering constraints (Zeller and Hildebrandt, "Simplifying and isolating failure-inducing input", TSE
2002): a median of one constraint is left of seven choices. Where a failure cannot be said that way, over the vector.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import TypeVar

T = TypeVar("T")


class Spent(Exception):
    """No more may be tried."""


def ddmin(items: Sequence[T], still_fails: Callable[[list[T]], bool]) -> list[T]:
    """Return a part of ``items`` that still fails and from which nothing single can be taken.

    ``still_fails`` must hold for ``items`` itself, which is not tried again. Where it raises ``Spent``, what is left by
    then is returned.
    """
    rest = list(items)
    with suppress(Spent):
        if rest and still_fails([]):
            return []
        parts = 2
        while len(rest) > 1:
            size = max(1, len(rest) // parts)
            chunks = [rest[start : start + size] for start in range(0, len(rest), size)]
            for index, chunk in enumerate(chunks):
                if len(chunks) > 2 and still_fails(chunk):
                    rest, parts = chunk, 2
                    break
                others = [item for position, other in enumerate(chunks) if position != index for item in other]
                if still_fails(others):
                    rest, parts = others, max(parts - 1, 2)
                    break
            else:
                if size == 1:
                    break
                parts = min(parts * 2, len(rest))
    return rest


def shrink_vector(vector: Sequence[int], still_fails: Callable[[list[int]], bool]) -> list[int]:
    """Return a vector that still fails, with as few choices other than 0 as single deletions leave."""
    places = [index for index, choice in enumerate(vector) if choice]

    def with_only(kept: list[int]) -> list[int]:
        keep = set(kept)
        return [choice if index in keep else 0 for index, choice in enumerate(vector)][: max(keep, default=-1) + 1]

    kept = ddmin(places, lambda part: still_fails(with_only(part)))
    return with_only(kept)
