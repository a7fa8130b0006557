"""Watches a decider: its answers as a vector, and which events it moved, by name."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from itertools import compress
from typing import Any

from pytest_interleave.exploration.result import RunResult
from pytest_interleave.loop.controlled import ControlledLoop
from pytest_interleave.schedule import MEET, NESTED_SLEEP, SCRIPT_SLEEP, SPLIT, START, Decider, Event, EventId
from pytest_interleave.strategies.guided import NEVER, answer
from pytest_interleave.trace import Draws, Reader, Trace

#: What a choice has moved: an event came in, a task started, a step was kept back, a task was cancelled, sleeps met.
_CAME_IN, _STARTED, _HELD, _CANCELLED, _MET = range(5)


class Recorder:
    """Passes questions on to another decider and bounds its answers to what was offered."""

    def __init__(self, decider: Decider) -> None:
        self.decider = decider
        self.holds_steps = decider.holds_steps
        self.splits = decider.splits
        #: As of the decider, which hears with the next question what passed unasked.
        self.passes = decider.passes
        self.vector: list[int] = []
        self.widths: list[int] = []
        self.points = 0
        self.starts = 0
        self._suspensions: list[tuple[str, int, int, int]] = []
        self._moved: list[tuple[int, Any]] = []
        #: What asyncio would have let in, and how often something else came first.
        self._passed: dict[Any, int] = {}
        #: Values that were drawn and are not the first.
        self._drawn: dict[EventId, EventId] = {}
        #: All that was drawn, and how many values each could have.
        self._asked: list[tuple[EventId, int]] = []
        self._trace: Trace | None = None
        self._draws: Draws | None = None

    def attach(self, trace: Trace) -> None:
        """Take the trace of the run that begins."""
        self._trace = trace
        attach = getattr(self.decider, "attach", None)
        if attach is not None:
            attach(trace)

    def _note_passed(self) -> None:
        """Write down what passed unasked, as answers with no alternative, before anything else is written."""
        count = self.decider.passes - self.passes
        self.vector += [0] * count
        self.widths += [1] * count
        self.decider.passes = self.passes

    def _note(self, choice: int, width: int) -> int:
        if self.passes != self.decider.passes:
            self._note_passed()
        choice = choice if 0 <= choice < width else 0
        self.vector.append(choice)
        self.widths.append(width)
        return choice

    def deliver(self, options: Sequence[Event | None]) -> int:
        self.points += 1
        choice = self._note(self.decider.deliver(options), len(options))
        if choice:
            event = options[choice] if options[choice] is not None else options[0]
            assert event is not None
            natural = options[0]
            if event is not natural and natural is not None:
                passed = natural.kind, natural.origin, natural.ordinal
                self._passed[passed] = self._passed.get(passed, 0) + 1
            is_met = self.holds_steps and getattr(event, "stands_for", None) in (NESTED_SLEEP, SCRIPT_SLEEP)
            self._moved.append((_MET if is_met else _CAME_IN, (event.kind, event.origin, event.ordinal)))
        return choice

    def order(self, origins: Sequence[int]) -> int:
        self.starts += 1
        choice, count = self.decider.order(origins), len(origins)
        choice = self._note(choice, count)
        for origin in origins[:choice]:
            self._moved.append((_STARTED, (origin, origins[choice])))
        return choice

    def hold(self, origins: Sequence[int], turns: int) -> Sequence[int]:
        if self.passes != self.decider.passes:
            self._note_passed()
        choices = self.decider.hold(origins, turns)
        self.passes = self.decider.passes
        count = len(origins)
        self.widths += [turns + 1] * count
        if not choices or not any(choices):
            self.vector += [0] * count
            return ()
        if min(choices) < 0 or max(choices) > turns:
            choices = [choice if 0 <= choice <= turns else 0 for choice in choices]
        self.vector += choices
        assert self._trace is not None
        self._moved.append((_HELD, (origins, choices, len(self._trace.entries))))
        return choices

    def data(self, alternatives: int, *, is_fault: bool = False) -> int:
        self.points += 1
        choice = self._note(self.decider.data(alternatives, is_fault=is_fault), alternatives)
        if self._draws is None:
            assert self._trace is not None
            self._draws = Draws(self._trace)
        name = self._draws.next()
        self._asked.append((name, alternatives))
        if choice:
            self._drawn[name] = answer(choice)
        return choice

    def cancel(self, kind: str, origin: int, ordinal: int, alternatives: int) -> int:
        self._suspensions.append((kind, origin, ordinal, alternatives))
        choice = self._note(self.decider.cancel(kind, origin, ordinal, alternatives), alternatives)
        if choice:
            self._moved.append((_CANCELLED, (kind, origin, ordinal, choice)))
        return choice

    def split(self, origin: int, ordinal: int) -> int:
        choice = self.decider.split(origin, ordinal)
        if choice:
            self._moved.append((_CANCELLED, (SPLIT, origin, ordinal, choice)))
        return choice

    def suspensions(self) -> list[tuple[EventId, int]]:
        """Return where an operation could have been cancelled, and in how many ways, in order."""
        assert self._trace is not None
        path = self._trace.path
        return [((path(origin), kind, ordinal), ways - 1) for kind, origin, ordinal, ways in self._suspensions]

    def result(
        self,
        error: BaseException | None,
        loop: ControlledLoop,
        *,
        steps: int,
    ) -> RunResult:
        """Return what the run on that loop came to."""
        trace = self._trace
        assert trace is not None
        if self.passes != self.decider.passes:
            self._note_passed()
        unfired = loop.unfired  # the loop gets another list for its next run
        result = RunResult(loop.spun or error, trace, self.vector, self.widths)
        # One by one: a call of a class with as many names takes a hundredth of a small run.
        result.constraints = self.constraints
        result.late = self.late
        result.suspensions = self.suspensions
        result.points = self.points
        result.starts = self.starts
        result.steps = steps
        result.forced_deadlines = loop.forced_deadlines
        result.has_hung = loop.has_hung
        result.seconds = loop.lasted
        if unfired:
            users_first = sorted(unfired, key=lambda deadline: -deadline[-1])
            result.unfired = lambda: [((trace.path(of), "timer", nth), a, b) for of, nth, a, b, _ in users_first]
        result.draws = self._asked
        result.has_drawn = bool(self._drawn)
        result.heeds_real_time = loop.heeds_real_time
        return result

    def constraints(self) -> dict[EventId, EventId]:
        """Return the run as constraints: a moved event waits for what came just before it, a draw gives its value."""
        trace = self._trace
        if trace is None:
            return {}
        names = Reader(trace).read()
        entries = trace.entries
        first = _first_places(trace)
        found = dict(self._drawn)
        for kind, what in self._moved:
            indices: Iterable[int] = ()
            if kind in (_CAME_IN, _MET):
                indices = (first.get(what, -1),)
            elif kind == _STARTED:
                found[trace.path(what[0]), START, 1] = (trace.path(what[1]), START, 1)
            elif kind == _CANCELLED:
                found[trace.path(what[1]), what[0], what[2]] = answer(what[3])
            else:
                origins, choices, position = what
                indices = [
                    next((i for i in range(position, len(entries)) if entries[i] == origin), -1)
                    for origin in compress(origins, choices)
                ]
            for index in indices:
                if index >= 0:
                    path, name, ordinal = names[index]
                    found[path, MEET if kind == _MET else name, ordinal] = names[index - 1] if index else ()
        return found

    def late(self) -> dict[EventId, EventId]:
        """Return what others overtook as constraints, the most overtaken first: it waits for what came just before it.

        That says in one what ``constraints`` says of each that came before it.
        """
        trace = self._trace
        if trace is None:
            return {}
        names = Reader(trace).read()
        first = _first_places(trace)
        found: dict[EventId, EventId] = {}
        for kind, origin, ordinal in sorted(self._passed, key=self._passed.__getitem__, reverse=True):
            index = first.get((kind, origin, ordinal), 0)
            found[trace.path(origin), kind, ordinal] = names[index - 1] if index else NEVER
        return found


def _first_places(trace: Trace) -> dict[Any, int]:
    first: dict[Any, int] = {}
    for index, entry in enumerate(trace.entries):
        if type(entry) is tuple:
            first.setdefault(entry, index)
    return first
