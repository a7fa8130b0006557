"""What one run came to, as values."""

from __future__ import annotations

import asyncio
import linecache
import re
import traceback
from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import PurePath
from typing import Any, TypeAlias

from pytest_interleave.errors import RunEnded, StepCut, StepLimit, TimeLimit
from pytest_interleave.origins import PACKAGE
from pytest_interleave.schedule import OUTSIDE, Decider, EventId
from pytest_interleave.trace import Trace

_ASYNCIO = str(PurePath(asyncio.__file__).parent)

#: Where and how a run failed: two failures with the same signature count as one.
Signature: TypeAlias = tuple[str, str]


@dataclass(slots=True)
class RunResult:
    """One run under one schedule."""

    error: BaseException | None
    trace: Trace
    vector: list[int]
    widths: list[int]
    #: Says the run as ordering constraints.
    constraints: Callable[[], dict[EventId, EventId]] = dict
    #: Says what others overtook as ordering constraints.
    late: Callable[[], dict[EventId, EventId]] = dict
    #: Says where an operation under ``interrupt`` could have been cancelled, and in how many ways.
    suspensions: Callable[[], list[tuple[EventId, int]]] = list
    #: Choice points, those of ``suspensions`` not counted.
    points: int = 0
    starts: int = 0
    steps: int = 0
    #: A timeout fired although what it was to guard was only late: then a TimeoutError says nothing.
    forced_deadlines: int = 0
    #: The last one ended what would have waited for ever: then a TimeoutError says as much as a deadlock.
    has_hung: bool = False
    #: Says which deadlines of the user's were not reached, and between which events each was set.
    unfired: Callable[[], list[tuple[EventId, int, int]]] = list
    #: All that was drawn, and how many values each could have had.
    draws: list[tuple[EventId, int]] = field(default_factory=list)
    #: Values were drawn that are not the first.
    has_drawn: bool = False
    #: Threads or other processes may have had a say in its order, by how fast they were.
    heeds_real_time: bool = False
    #: Of the loop's time, without the cleaning up.
    seconds: float = 0.0

    @property
    def is_honest_timeout(self) -> bool:
        """Whether all that happened is that a timeout did its job."""
        return self.error is not None and self.forced_deadlines > 0 and not self.has_hung and is_timeout(self.error)

    @property
    def failed(self) -> bool:
        """Whether this run shows a failure."""
        return self.error is not None and not self.is_honest_timeout and not self.gave_up

    @property
    def gave_up(self) -> bool:
        """Whether the run took too long in real time or was only long, which says nothing about the test."""
        error = self.error
        if isinstance(error, StepCut):  # what was to end a step came just after its end
            return True
        return (isinstance(error, TimeLimit) and error.is_real) or (isinstance(error, StepLimit) and not error.repeats)

    @property
    def signature(self) -> Signature | None:
        """Return type and place of the failure."""
        return None if self.error is None else signature_of(self.error)


def signature_of(error: BaseException) -> Signature:
    """Return type and place of an error."""
    if isinstance(error, RunEnded):
        return type(error).__name__, " ".join(error.places)
    return type(error).__name__, place_of(error)


def differ_in_timing(first: RunResult, second: RunResult) -> bool:
    """Whether two runs part where something comes in from outside, and what is outside this process may be why."""
    if not (first.heeds_real_time and second.heeds_real_time):
        return False
    pairs = zip(first.trace.events(), second.trace.events(), strict=False)
    return next((one[1] in OUTSIDE or other[1] in OUTSIDE for one, other in pairs if one != other), False)


#: Makes one run under the given decider.
Execute: TypeAlias = Callable[[Decider], RunResult]


def is_timeout(error: BaseException) -> bool:
    """Whether the error says that something took too long, and nothing else."""
    if isinstance(error, BaseExceptionGroup):
        return all(is_timeout(inner) for inner in error.exceptions)
    if isinstance(error, AssertionError):
        return _is_about_timeout(error)
    if isinstance(error, RunEnded):
        return False
    return any(map(_says_timeout, _chain(error)))


def _says_timeout(error: BaseException) -> bool:
    """Whether that error is a timeout, if only by its name: pools, psycopg's for one, have classes of their own."""
    return any(re.search("timeout|timedout", kind.__name__, re.IGNORECASE) for kind in type(error).__mro__)


def _is_about_timeout(error: AssertionError) -> bool:
    """Whether the assertion looks at a timeout that was caught, where the test expected another error or none."""
    frames = list(traceback.walk_tb(error.__traceback__))
    if not frames:
        return False
    frame, line = frames[-1]
    code = frame.f_code
    if code.co_name == "__exit__" and PurePath(code.co_filename).parts[-2:] == ("_pytest", "raises.py"):
        caught = [[error.__context__] if error.__context__ is not None else []]  # raises(…, match=…)
    else:
        names = set(re.findall(r"[^\W\d]\w*", linecache.getline(code.co_filename, line)))
        caught = [_caught_in(value) for name, value in frame.f_locals.items() if name in names]
    return any(errors and all(map(is_timeout, errors)) for errors in caught)


def _caught_in(value: Any) -> list[BaseException]:
    """Return the error, or those in a collection: what ``gather`` returned, what a callback for errors was told."""
    if type(value).__name__ == "ExceptionInfo":  # of pytest, which the engine does not know
        value = (getattr(value, "_excinfo", None) or (None, None))[1]
    if type(value) is dict:
        value = list(value.values())
    found = value if type(value) in (list, tuple, set, deque) else [value]
    return [each for each in found if isinstance(each, BaseException)]


def _chain(error: BaseException) -> Iterator[BaseException]:
    seen: set[int] = set()
    link: BaseException | None = error
    while link is not None and id(link) not in seen:
        seen.add(id(link))
        yield link
        link = link.__cause__ or link.__context__


def place_of(error: BaseException) -> str:
    """Return the ``file:line`` where the error was raised, in the deepest frame that is not asyncio's or ours."""
    place = ""
    for frame, line in traceback.walk_tb(error.__traceback__):
        name = frame.f_code.co_filename
        if not name.startswith((PACKAGE, _ASYNCIO)):
            place = f"{name}:{line}"
    return place
