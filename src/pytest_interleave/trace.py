"""What happened in a run, as values.

The loop writes one entry an event, as small as it can: a positive number is a step of the task with that number, a
negative one a plain callback scheduled in the name of task ``-entry - 1``, and a tuple ``(kind, origin, ordinal)`` an
outside event that came in. Task numbers depend on the order of creation, so they name nothing across runs; ``EventId``
does: it is made of the *path* of a task (its child numbers from the root) and of ordinals.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from pytest_interleave.schedule import DRAW, STEP, TICK, EventId

Path = tuple[int, ...]


#: The name of a task of asyncio's that stands for a connection which a server has accepted.
ACCEPTED = "accepted connection"


@dataclass(slots=True)
class Trace:
    """The entries of one run, and who the tasks in it are. Grows while the run goes on."""

    entries: list[Any]
    parents: list[int]
    ordinals: list[int]
    names: list[str]
    codes: list[Any]
    _paths: list[Path] = field(default_factory=lambda: [()])

    def path(self, number: int) -> Path:
        """Return the child numbers that lead from the root to that task."""
        paths = self._paths
        while len(paths) <= number:
            index = len(paths)
            paths.append((*paths[self.parents[index]], self.ordinals[index]))
        return paths[number]

    def fingerprint(self) -> int:
        """Return a number that two runs share if their events came in the same order."""
        return hash(tuple(self.entries))

    def events(self) -> list[EventId]:
        """Return the name of every event, in order."""
        return Reader(self).read()

    def name_of(self, path: Sequence[int]) -> str:
        """Return the task's own name where it was given one, else the name of its coroutine."""
        number = self.number_of(path)
        if number is None or number == 0:
            return "test"
        name = self.names[number]
        code = self.codes[number]
        if name.startswith("Task-") and code is not None:
            return str(code.co_name)
        return name

    def number_of(self, path: Sequence[int]) -> int | None:
        """Return the number of the task with that path in this run."""
        for number in range(len(self.parents)):
            if self.path(number) == tuple(path):
                return number
        return None


def repeating(entries: Sequence[Any]) -> list[int]:
    """Return the numbers of the tasks that take turns in the second half of a run, in which nothing gets on.

    None if something may: a task is new there, or something came in from outside but the end of a wait.
    """
    half = len(entries) // 2
    outside = {entry[0] for entry in entries[half:] if isinstance(entry, tuple)}
    later = {entry for entry in entries[half:] if isinstance(entry, int)}
    if outside - {"timer", TICK} or not later <= set(entries[:half]):
        return []
    return sorted(entry for entry in later if entry > 0)


class Reader:
    """Names events as they come, without looking at any twice."""

    def __init__(self, trace: Trace) -> None:
        self.trace = trace
        self._position = 0
        self._counts: dict[int, int] = {}

    def read(self) -> list[EventId]:
        """Return the names of the events since the last call."""
        entries = self.trace.entries
        found: list[EventId] = []
        path = self.trace.path
        counts = self._counts
        for index in range(self._position, len(entries)):
            entry = entries[index]
            if type(entry) is tuple:
                found.append((path(entry[1]), entry[0], entry[2]))
            else:
                count = counts[entry] = counts.get(entry, 0) + 1
                found.append((path(entry), STEP, count) if entry > 0 else (path(-entry - 1), "call", count))
        self._position = len(entries)
        return found

    def next_step(self, number: int) -> EventId:
        """Return the name that the next step of that task will have."""
        return self.trace.path(number), STEP, self._counts.get(number, 0) + 1


class Draws:
    """Names what is drawn in a run, as it is drawn: by the task that draws, and its ordinal there."""

    def __init__(self, trace: Trace) -> None:
        self.trace = trace
        self._counts: dict[int, int] = {}

    def next(self) -> EventId:
        """Return the name of what is drawn now."""
        last = self.trace.entries[-1] if self.trace.entries else -1
        origin: int = last[1] if type(last) is tuple else last if last > 0 else -last - 1
        count = self._counts[origin] = self._counts.get(origin, 0) + 1
        return self.trace.path(origin), DRAW, count


# What an observed replay adds: read by detectors and reports, never by the search.


@dataclass(frozen=True, slots=True)
class Place:
    """A line of source, and what it does with names that others may see."""

    file: str
    line: int
    function: str
    text: str = ""
    #: The expression that is awaited there, where the source tells; for a suspended task.
    awaited: str = ""
    reads: frozenset[str] = frozenset()
    writes: frozenset[str] = frozenset()
    #: 2: the user's own file; 1: an installed package; 0: the standard library.
    rank: int = 2


@dataclass(frozen=True, slots=True)
class ObservedStep:
    """One step of a task, or one plain callback."""

    index: int  #: into ``Trace.entries``
    event: EventId
    task: int | None  #: None: a plain callback
    time: float
    turn: int
    went_on: Place | None
    stopped: Place | None
    lines: tuple[Place, ...]
    #: ``suspended``, ``returned``, ``raised`` or ``cancelled``; ``ran`` for a callback.
    ended: str
    is_first: bool = False
    error: str = ""
    #: The entry (a step, or an outside event) that put it into the queue.
    cause: int | None = None


@dataclass(frozen=True, slots=True)
class Pieces:
    """How data was read in two pieces, the first so many bytes of ``size``, or in many. ``event`` is the choice."""

    event: EventId
    first: int
    size: int
    are_many: bool = False


@dataclass(frozen=True, slots=True)
class OutsideEvent:
    """An outside event that came in."""

    index: int
    event: EventId
    #: ``sleep``, ``outside`` (the time that a network or a mock takes), ``timeout``, ``timer``, ``data``,
    #: ``connection``, ``writable``, ``thread`` or ``cancellation``.
    what: str
    time: float
    turn: int
    seconds: float | None = None
    place: Place | None = None
    #: Which library takes data. Of a cancellation: what was cancelled, and whether what it waited for had come already.
    subject: str = ""
    is_late: bool = False
    pieces: Pieces | None = None


@dataclass(frozen=True, slots=True)
class Drawn:
    """A value that was drawn, and by which expression."""

    #: Of the step in which it was drawn.
    index: int
    event: EventId
    what: str
    value: str
    place: Place | None = None
    #: What it means, where "gives" and the value do not say it.
    verb: str = ""


@dataclass(frozen=True, slots=True)
class Holder:
    """Who has a lock, and where it was taken."""

    task: int
    place: Place | None = None
    has_ended: bool = False
    was_cancelled: bool = False


@dataclass(frozen=True, slots=True)
class Wait:
    """What a task waits for. ``name`` is the user's own name of it, if one was found."""

    what: str
    name: str = ""
    holders: tuple[Holder, ...] = ()
    #: The tasks whose end it waits for.
    tasks: tuple[int, ...] = ()
    #: Where it was signalled while nobody waited.
    signalled: Place | None = None


@dataclass(frozen=True, slots=True)
class BlockedTask:
    """A task that is suspended, where, and what it waits for."""

    number: int
    place: Place | None
    wait: Wait
    #: Nothing that is alive leads to what it waits for.
    is_unreachable: bool = False
    #: It was cancelled, and has not ended.
    was_cancelled: bool = False


@dataclass(frozen=True, slots=True)
class Snapshot:
    """All tasks that have not ended, at one moment."""

    when: float
    steps: int
    blocked: tuple[BlockedTask, ...] = ()


@dataclass(frozen=True, slots=True)
class Observation:
    """One run, looked at closely."""

    events: tuple[EventId, ...] = ()
    steps: tuple[ObservedStep, ...] = ()
    outside: tuple[OutsideEvent, ...] = ()
    #: The name of each task, by number; unlike ``Trace.names`` no two are equal.
    names: tuple[str, ...] = ()
    paths: tuple[Path, ...] = ()
    #: When the run ended.
    end: Snapshot | None = None
    #: When the loop was idle and tasks waited for each other, the first time.
    idle: Snapshot | None = None
    error: str = ""
    #: The user's lines of the traceback, outermost first.
    error_places: tuple[Place, ...] = ()
    #: The number of the task that runs the test.
    test: int = 1
    draws: tuple[Drawn, ...] = ()
