"""Observations made by hand, for tests without a loop."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from pytest_interleave.loop.accesses import accesses
from pytest_interleave.trace import Observation, ObservedStep, OutsideEvent, Place

PATHS = ((), (1,), (1, 1), (1, 2), (1, 3), (1, 4), (1, 1, 1))
NAMES = ("test", "test_it", "ann", "bob", "cleo", "dan", "connect")


def line(number: int, text: str, *, awaited: str = "", file: str = "/src/shop.py") -> Place:
    reads, writes = accesses(text, lambda name: True)
    return Place(file, number, "f", text, awaited, reads, writes, rank=1 if "site-packages" in file else 2)


def step(
    task: int,
    *lines: Place,
    cause: int | None = None,
    turn: int = 0,
    ended: str = "suspended",
    went_on: Place | None = None,
    is_first: bool = False,
) -> ObservedStep:
    """Return a step whose place in the run is still to be given."""
    stopped = lines[-1] if lines else None
    return ObservedStep(-1, (), task, 0.0, turn, went_on, stopped, lines, ended, is_first=is_first, cause=cause)


def arrival(
    task: int, what: str, seconds: float | None = None, place: Place | None = None, *, turn: int = 0, ordinal: int = 1
) -> OutsideEvent:
    """Return an outside event whose place in the run is still to be given."""
    kind = {"sleep": "timer", "timeout": "timer", "data": "read", "connection": "read", "thread": "thread"}[what]
    return OutsideEvent(-1, (PATHS[task], kind, ordinal), what, 0.0, turn, seconds, place)


def observation(*entries: ObservedStep | OutsideEvent, error_places: Sequence[Place] = ()) -> Observation:
    """Return a run made of those entries, in that order."""
    counts: dict[int, int] = {}
    steps: list[ObservedStep] = []
    outside: list[OutsideEvent] = []
    events = []
    for index, entry in enumerate(entries):
        if isinstance(entry, OutsideEvent):
            events.append(entry.event)
            outside.append(replace(entry, index=index))
        else:
            assert entry.task is not None
            counts[entry.task] = counts.get(entry.task, 0) + 1
            events.append((PATHS[entry.task], "step", counts[entry.task]))
            steps.append(replace(entry, index=index, event=events[-1]))
    return Observation(tuple(events), tuple(steps), tuple(outside), NAMES, PATHS, error_places=tuple(error_places))
