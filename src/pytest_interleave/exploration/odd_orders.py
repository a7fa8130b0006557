"""Orders that asyncio never makes. What fails in one of them alone is a note."""

from __future__ import annotations

from collections.abc import Iterator
from random import Random

from pytest_interleave.exploration.result import RunResult
from pytest_interleave.schedule import MEET, OUTSIDE, Decider, EventId
from pytest_interleave.strategies.guided import Guided
from pytest_interleave.strategies.one_held import NoneHeld, OneHeld
from pytest_interleave.strategies.order import RandomOrder

_MOST_SIBLING_ORDERS = 20
#: So many outside events before it a sleep may meet, and so many events behind each.
_MOST_DISTANCE = 3
_MOST_HOPS = 5


def odd_orders(first: RunResult, random: Random, turns: int) -> Iterator[Decider]:
    """Yield orders of siblings; then, in turn, sleeps that meet, one step kept back up to so many turns, random orders.

    Each is to be run before the next is asked for: the first run in which steps may be kept back counts where.
    """
    for _ in range(min(first.starts * 3, _MOST_SIBLING_ORDERS)):
        yield RandomOrder(random, holds=False)
    census = NoneHeld()
    yield census
    meetings = _meetings(first)
    if census.points:
        for held in _one_held(census.points, random, turns):
            meeting = next(meetings, None)
            if meeting is not None:
                yield meeting
            yield held
            yield RandomOrder(random, turns=turns)
    yield from meetings
    while census.points:
        yield RandomOrder(random, turns=turns)


def _one_held(points: int, random: Random, turns: int) -> Iterator[Decider]:
    """Keep one step back at a time, each by one turn before any by two."""
    for distance in range(1, turns + 1):
        indices = list(range(points))
        random.shuffle(indices)
        for index in indices:
            yield OneHeld(index, distance)


def _meetings(first: RunResult) -> Iterator[Decider]:
    """Let a sleep of the test's own end right after an event before it, or some steps later: the loop was held up.

    That two come in one after the other does not say that all which the first leads to is done by then.
    """
    events = first.trace.events()
    outside = [index for index, event in enumerate(events) if event[1] in OUTSIDE]
    moves: list[tuple[int, EventId, EventId]] = []
    for order, index in enumerate(outside):
        path, kind, ordinal = events[index]
        if kind != "timer":
            continue
        for distance, before in enumerate(reversed(outside[max(order - _MOST_DISTANCE, 0) : order])):
            for hop, other in enumerate(range(before, min(before + _MOST_HOPS, index - 1))):
                moves.append((distance + hop, (path, MEET, ordinal), events[other]))
    moves.sort(key=lambda move: move[0])
    for _, event, condition in moves:
        yield Guided({event: condition})


def has_several_tasks(result: RunResult) -> bool:
    """Whether two tasks and more ran beside the test, so that there is an order to change."""
    return len({entry for entry in result.trace.entries if type(entry) is int and entry > 0}) > 2
