"""Orders that asyncio never makes. What fails in one of them alone is a note."""

from __future__ import annotations

from collections.abc import Iterator
from random import Random

from pytest_interleave.exploration.result import RunResult
from pytest_interleave.schedule import Decider
from pytest_interleave.strategies.one_held import OneHeld
from pytest_interleave.strategies.order import RandomOrder

_MOST_SIBLING_ORDERS = 20


def odd_orders(first: RunResult, random: Random, turns: int) -> Iterator[Decider]:
    """Yield orders of siblings, then one step kept back at a time, up to so many turns, in turn with random orders.

    Each is to be run before the next is asked for: the first run in which steps may be kept back counts where.
    """
    for _ in range(min(first.starts * 3, _MOST_SIBLING_ORDERS)):
        yield RandomOrder(Random(random.random()), holds=False)
    census = OneHeld(-1, 0)
    yield census
    if not census.asked:
        return
    for distance in range(1, turns + 1):
        points = list(range(census.asked))
        random.shuffle(points)
        for index in points:
            yield OneHeld(index, distance)
            yield RandomOrder(Random(random.random()), turns=turns)
    while True:
        yield RandomOrder(Random(random.random()), turns=turns)


def has_several_tasks(result: RunResult) -> bool:
    """Whether two tasks and more ran beside the test, so that there is an order to change."""
    return len({entry for entry in result.trace.entries if entry.__class__ is int and entry > 0}) > 2
