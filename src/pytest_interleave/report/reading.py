"""One observed run, with the questions that a report asks of it. Values in, values out."""

from __future__ import annotations

import re
import sys
import textwrap
from collections import Counter
from collections.abc import Hashable, Iterable, Sequence
from pathlib import PurePath

from pytest_interleave.origins import INSTALLED
from pytest_interleave.schedule import EventId
from pytest_interleave.trace import Drawn, Observation, ObservedStep, OutsideEvent, Place

_STDLIB = re.compile(r"python3\.\d+t?$")
_COMMON_NAMES = frozenset({"__init__.py", "__main__.py", "conftest.py", "base.py", "main.py", "utils.py"})


def file_name(place: Place) -> str:
    """Return the file's name, with its folder if the name alone says little."""
    path = PurePath(place.file)
    return "/".join(path.parts[-2:]) if path.name in _COMMON_NAMES else path.name


def library_of(place: Place) -> str:
    """Return the name of the library whose line that is: ``uvicorn``, ``asyncio``."""
    path = PurePath(place.file)
    parts = path.with_suffix("").parts
    start = max((index + 1 for index, part in enumerate(parts) if part in INSTALLED or _STDLIB.match(part)), default=0)
    if not start:  # installed with ``pip install --target``
        start = max((len(folder.parts) for folder in path.parents if str(folder) in sys.path), default=-1)
    return parts[start] if start < len(parts) else parts[-1]


def location(place: Place) -> str:
    """Return ``file:line``."""
    return f"{file_name(place)}:{place.line}"


def cut(text: str, width: int) -> str:
    """Shorten the text to so many columns."""
    return text if len(text) <= width else text[: max(width - 1, 0)].rstrip() + "…"


def seconds(value: float) -> str:
    """Return a point in time as a person writes it."""
    return f"{value:.6g} s"


def duration(value: float) -> str:
    """Return how long something takes, as a person writes it: what is left of 2 s by some clock is 2 s."""
    return seconds(float(f"{value:.3g}"))


def wrap(text: str, width: int = 100, indent: str = "") -> str:
    """Break the text into lines, but not inside of `code`."""
    whole = re.sub(r"`[^`]*`", lambda code: code.group().replace(" ", "\0"), text)
    lines = textwrap.wrap(
        whole, width, break_long_words=False, break_on_hyphens=False, initial_indent=indent, subsequent_indent=indent
    )
    return "\n".join(lines).replace("\0", " ")


def meets(one: Place, other: Place) -> bool:
    """Whether both name the same thing that others may see, and one of them writes it."""
    return bool(one.writes & (other.reads | other.writes) or one.reads & other.writes)


class Reading:
    """Looks things up in an observation."""

    def __init__(self, seen: Observation) -> None:
        self.seen = seen
        self.positions: dict[EventId, int] = {}
        for index, event in enumerate(seen.events):
            self.positions.setdefault(event, index)
        self.steps: dict[int, ObservedStep] = {step.index: step for step in seen.steps}
        self.outside: dict[int, OutsideEvent] = {event.index: event for event in seen.outside}
        self.draws: dict[EventId, Drawn] = {drawn.event: drawn for drawn in seen.draws}
        self._awaits: Counter[tuple[str, int]] | None = None
        self._effects: dict[int, list[ObservedStep]] = {}
        for step in seen.steps:
            if step.cause is not None:
                self._effects.setdefault(step.cause, []).append(step)

    def name(self, number: int) -> str:
        """Return the name of a task."""
        return self.seen.names[number] if number < len(self.seen.names) else f"task {number}"

    def number(self, path: Hashable) -> int | None:
        """Return the number of the task with that path."""
        return next((number for number, own in enumerate(self.seen.paths) if own == path), None)

    def woken(self, index: int) -> list[ObservedStep]:
        """Return the steps of tasks that an entry led to, with nothing but plain callbacks between."""
        found: list[ObservedStep] = []
        todo = list(self._effects.get(index, ()))
        while todo:
            step = todo.pop(0)
            if step.task is None:
                todo += self._effects.get(step.index, ())
            else:
                found.append(step)
        return found

    def behind(self, task: int | None, index: int) -> tuple[int, Place] | None:
        """Return whom a library's task works for: its nearest maker with a line of the user's, and where that stood.

        Not the test itself, which makes whole servers: their tasks work for whoever comes. ``index``: at which entry.
        """
        path = () if task is None else self.seen.paths[task]
        while len(path) > 1:
            number = self.number(path)
            if number is None or number <= self.seen.test:
                return None
            stood = [step.stopped for step in self.seen.steps if step.task == number and step.index < index]
            own = [place for place in stood if place is not None and place.rank == 2]
            if own:
                return number, own[-1]
            path = path[:-1]
        return None

    def resumed(self, step: ObservedStep) -> Place | None:
        """Return where the task went on, as a person knows it: of the awaits that ended, that which is awaited least.

        The innermost is often a helper's that everything goes through.
        """
        if step.went_on is None or step.went_on.rank < 2:
            return step.went_on
        if self._awaits is None:
            self._awaits = Counter((line.file, line.line) for each in self.seen.steps for line in each.lines)
        ended = [line for line in step.lines if line.awaited and line.rank == 2]
        counts = self._awaits
        return min([step.went_on, *ended], key=lambda line: counts[line.file, line.line])

    def first_of_user(self, index: int) -> ObservedStep | None:
        """Return the first step with lines of the user's that an entry led to, through libraries alone."""
        todo = self.woken(index)
        seen = set()
        while todo:
            step = todo.pop(0)
            if any(line.rank == 2 for line in step.lines):
                return step
            if step.index not in seen:
                seen.add(step.index)
                todo += self.woken(step.index)
        return None

    def steps_of(self, tasks: Iterable[int], after: int = -1) -> list[ObservedStep]:
        """Return the steps of those tasks behind an entry, in order."""
        wanted = set(tasks)
        return [step for step in self.seen.steps if step.task in wanted and step.index > after]

    def failing_step(self) -> ObservedStep | None:
        """Return the step in which the failure came up, as far as its lines tell."""
        for place in reversed(self.seen.error_places):
            for step in reversed(self.seen.steps):
                if any((line.file, line.line) == (place.file, place.line) for line in step.lines):
                    return step
        return None


def lines_of(steps: Sequence[ObservedStep]) -> list[Place]:
    """Return the lines that ran in those steps."""
    return [line for step in steps for line in step.lines]
