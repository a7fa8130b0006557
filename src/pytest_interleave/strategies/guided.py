"""A schedule as a set of ordering constraints: "X waits until Y ran", and asyncio's order everywhere else.

A constraint survives edits elsewhere in the code, and is its own explanation, which a list of choices is not.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Protocol

from pytest_interleave.schedule import CUTS, DRAW, MEET, SPLIT, START, Decider, Event, EventId, Vector, are_held
from pytest_interleave.trace import Draws, Reader, Trace

#: A condition that does not come true: the event waits until nothing else is left.
NEVER: EventId = ((), "never", 0)


def answer(choice: int) -> EventId:
    """Return what stands as the condition of a ``cancel``, a ``draw`` or a ``split``: how it is answered."""
    return (), "way", choice


def how(condition: EventId) -> int:
    """Return the choice from such a condition; 0 if it is none."""
    return condition[2] if condition and condition[1] == "way" and isinstance(condition[2], int) else 0


class Guided:
    """Lets each named event happen as soon as its condition has happened, and not before.

    An outside event that is named comes in at the first chance after its condition; a step is kept back until then; a
    first step (``start``) goes behind that of its sibling; a ``cancel`` strikes in the way, a ``draw`` gives the value,
    and a ``split`` happens where its condition says. If nothing else can run, an event whose condition did not happen
    comes in all the same.
    """

    passes = 0

    def __init__(self, constraints: Mapping[EventId, EventId], *, is_cut: bool = False) -> None:
        self.constraints = dict(constraints)
        #: Whether any task may be cancelled in this run (``--interleave-cancel``).
        self.is_cut = is_cut or any(event[1] in CUTS for event in constraints)
        self.holds_steps = are_held(constraints)
        self.splits = any(event[1] == SPLIT for event in constraints)
        self._delivers = any(how(condition) == 0 for condition in constraints.values())
        self._has_draws = any(event[1] == DRAW for event in constraints)
        self._reader: Reader | None = None
        self._draws: Draws | None = None
        self._happened: set[EventId] = {()}

    def attach(self, trace: Trace) -> None:
        """Take the trace of the run that begins."""
        self._reader = Reader(trace)
        self._draws = Draws(trace) if self._has_draws else None
        self._happened = {()}

    def _look(self) -> Reader:
        assert self._reader is not None
        self._happened.update(self._reader.read())
        return self._reader

    def before(self, event: EventId) -> list[EventId]:
        """Return all that came before the event in the run that was made; all there was, if it did not come."""
        events = [] if self._reader is None else self._reader.trace.events()
        return events[: events.index(event)] if event in events else events

    def alike(self, event: EventId, before: Sequence[EventId], others: Iterable[EventId]) -> set[EventId]:
        """Return for which others the event could have waited in the run that was made: that would be the same run.

        ``before`` is what came before it. It came in at the first chance after its condition, so also after whatever
        ran in between. If the condition had not happened, it came in when nothing else was left, and would have for all
        that had not happened.
        """
        if self._reader is None:
            return set()
        condition = self.constraints[event]
        if condition == ():
            return set(before)
        if condition in before:
            return set(before[before.index(condition) :])
        return set(others).difference(before)

    def deliver(self, options: Sequence[Event | None]) -> int:
        if not self._delivers:
            return 0  # it only cancels and draws
        path = self._look().trace.path
        held: list[int] = []
        for index, event in enumerate(options):
            if event is None:
                continue
            condition = self.constraints.get((path(event.origin), event.kind, event.ordinal))
            if condition is None and self.holds_steps and event.kind == "timer":
                condition = self.constraints.get((path(event.origin), MEET, event.ordinal))
            if condition is not None:
                if condition in self._happened:
                    return index
                held.append(index)
        if 0 not in held:
            return 0
        # asyncio's choice has to wait: another arrival, else what is queued, else whatever can come.
        free = [index for index in range(len(options)) if index not in held]
        if not free:
            return 0
        queue = options.index(None) if None in options else -1
        for index in free:
            event = options[index]
            if event is not None and (queue < 0 or event.kind in ("read", "write")):
                return index
        return queue if queue >= 0 else free[0]

    def order(self, origins: Sequence[int]) -> int:
        path = self._look().trace.path
        waiting = {path(origin) for origin in origins}
        for index, origin in enumerate(origins):
            condition = self.constraints.get((path(origin), START, 1))
            if condition is None or condition[0] not in waiting or condition[0] == path(origin):
                return index
        return 0

    def hold(self, origins: Sequence[int], turns: int) -> Sequence[int]:
        next_step = self._look().next_step
        conditions = [self.constraints.get(next_step(origin)) for origin in origins]
        return [int(condition is not None and condition not in self._happened) for condition in conditions]

    def data(self, alternatives: int, *, is_fault: bool = False) -> int:
        condition = None if self._draws is None else self.constraints.get(self._draws.next())
        return 0 if condition is None else how(condition)

    def cancel(self, kind: str, origin: int, ordinal: int, alternatives: int) -> int:
        return self._way(kind, origin, ordinal)

    def split(self, origin: int, ordinal: int) -> int:
        return self._way(SPLIT, origin, ordinal)

    def _way(self, kind: str, origin: int, ordinal: int) -> int:
        assert self._reader is not None
        condition = self.constraints.get((self._reader.trace.path(origin), kind, ordinal))
        return 0 if condition is None else how(condition)


class Recorded(Protocol):
    """A schedule in both of its forms: what a failure keeps, and what a token says."""

    #: None: it cannot be said that way.
    constraints: dict[EventId, EventId] | None
    vector: list[int]
    holds_steps: bool


def repeat(schedule: Recorded) -> Decider:
    """Return a decider that plays the schedule: its constraints if there are any, its exact choices otherwise."""
    if schedule.constraints is not None:
        return Guided(schedule.constraints)
    return Vector(schedule.vector, holds_steps=schedule.holds_steps)
