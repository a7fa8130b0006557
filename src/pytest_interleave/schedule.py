"""The choices of a run: who makes them, and how they are written down.

A run of the controlled loop asks its ``Decider`` at every *choice point*. Each answer is a small integer, and **0 is
always what asyncio itself would do**, so a run that answers nothing but zeros is asyncio's own.

It is asked six kinds of question:

``deliver``  between two turns of the loop: which outside event (I/O, a timer, a thread's result) comes in next, or
             ``None``: none, run what is queued. This is all that the world outside asyncio can choose.
``order``    which of the tasks that were started *together* takes its first step first.
``hold``     how many turns each queued step stays behind (asyncio never does this: used for order-only findings).
``data``     a value that the test draws through ``pytest_interleave.choose``.
``cancel``   whether an operation under ``pytest_interleave.interrupt`` is cancelled at this suspension.
``split``    whether what has come over a connection is read in pieces.
"""

from __future__ import annotations

from collections.abc import Hashable, Iterable, Sequence
from typing import Protocol, TypeAlias

#: Identifies an outside event or a step in a way that survives reordering of unrelated work: the path of the task it
#: belongs to (child numbers from the root), a kind, and its ordinal among its like.
EventId: TypeAlias = tuple[Hashable, ...]


#: What a timer stands for: a deadline (a timeout, ``call_later``), a sleep in code or in a double of outside work, a
#: sleep in the test's own frame, and one in the first frame of a task whose code stands in the test.
DEADLINE, CODE_SLEEP, SCRIPT_SLEEP, NESTED_SLEEP = range(4)

#: Kinds of events that come in from outside, and may come at another time.
OUTSIDE = ("timer", "read", "write", "thread")
#: The kind of a timer by which a library looks again and again whether there is anything to do, and finds nothing.
TICK = "tick"

#: Kinds of constraints that asyncio does not fulfil by itself: a step is kept back, a task starts behind its sibling,
#: or a sleep of the test's own ends before the work that one before it has led to.
STEP, START, MEET = "step", "start", "meet"
ODD = (STEP, START, MEET)
_HELD = (STEP, MEET)

#: How an operation may be cancelled at a suspension: while it waits, or when its wake-up is queued, and what it waited
#: for will be lost.
WAITING, WOKEN = 1, 2

#: Kinds of such moments: of an operation under ``interrupt``, and once more while it cleans up; of any task, and of a
#: handler, whose client goes away.
CANCEL, AGAIN, CUT, GONE = "cancel", "again", "cut", "gone"
CUTS = (CUT, GONE)
CANCELLATIONS = (CANCEL, AGAIN, *CUTS)

#: The kind of data that is read in pieces: a stream has no messages. In two, of which the first ends in the middle,
#: after one byte or one byte short, or in many small ones.
SPLIT = "split"
MIDDLE, FIRST_BYTE, LAST_BYTE, SMALL = SPLITS = (1, 2, 3, 4)

#: The kind of what is drawn: a value of ``choose``, a fault of the network.
DRAW = "draw"


def are_held(constraints: Iterable[EventId]) -> bool:
    """Whether a run under such constraints must be asked for steps to keep back (``Decider.holds_steps``)."""
    return any(event[1] in _HELD for event in constraints)


class Event(Protocol):
    """An outside event that could come in now."""

    kind: str
    origin: int

    @property
    def ordinal(self) -> int:
        """Its number among the events of its kind and origin, from 1."""


class Decider(Protocol):
    """Makes the choices of one run."""

    #: Ask ``hold`` for queued steps, and let the test's own sleeps meet? Only then is the loop's order more than
    #: asyncio's own.
    holds_steps: bool
    #: It lets so many queued steps pass: ``hold`` need not be asked for them, and who does not ask takes them off. Only
    #: for those that answer 0 to whatever a step asks: among zeros, none is in the wrong place.
    passes: int
    #: Ask ``split`` for what has come over connections?
    splits: bool

    def deliver(self, options: Sequence[Event | None]) -> int:
        """Choose what comes in next; ``options[0]`` is asyncio's choice, ``None`` runs what is queued."""

    def order(self, origins: Sequence[int]) -> int:
        """Choose which of the tasks that start together goes first; they are given in asyncio's order."""

    def hold(self, origins: Sequence[int], turns: int) -> Sequence[int]:
        """Choose for how many turns, at most ``turns``, each stays behind of the queued steps of those tasks.

        None does if there is nothing in the answer.
        """

    def data(self, alternatives: int, *, is_fault: bool = False) -> int:
        """Choose one of that many values.

        ``is_fault``: all but the first are trouble, of which there should not be too much in one run.
        """

    def cancel(self, kind: str, origin: int, ordinal: int, alternatives: int) -> int:
        """Choose whether to cancel at that suspension of the task ``origin``: 0 (not), ``WAITING`` or ``WOKEN``.

        ``kind``: ``cancel``, or ``again`` for an operation that is being cancelled already.
        """

    def split(self, origin: int, ordinal: int) -> int:
        """Choose whether the data of that arrival is read in pieces: 0 (not), or one of ``SPLITS``."""


class Fifo:
    """Asyncio's own choices."""

    holds_steps = False
    passes = 0
    splits = False

    def deliver(self, options: Sequence[Event | None]) -> int:
        return 0

    def order(self, origins: Sequence[int]) -> int:
        return 0

    def hold(self, origins: Sequence[int], turns: int) -> Sequence[int]:
        return ()

    def data(self, alternatives: int, *, is_fault: bool = False) -> int:
        return 0

    def cancel(self, kind: str, origin: int, ordinal: int, alternatives: int) -> int:
        return 0

    def split(self, origin: int, ordinal: int) -> int:
        return 0


class Vector:
    """Repeats recorded answers, then goes on as asyncio would: the exact form of a schedule."""

    passes = 0
    #: A split is always said as a constraint.
    splits = False

    def __init__(self, choices: Sequence[int], *, holds_steps: bool = False) -> None:
        self.choices = choices
        self.holds_steps = holds_steps
        self._next = 0

    def _take(self) -> int:
        index = self._next
        self._next = index + 1
        return self.choices[index] if index < len(self.choices) else 0

    def deliver(self, options: Sequence[Event | None]) -> int:
        return self._take()

    def order(self, origins: Sequence[int]) -> int:
        return self._take()

    def hold(self, origins: Sequence[int], turns: int) -> Sequence[int]:
        return [self._take() for _ in origins]

    def data(self, alternatives: int, *, is_fault: bool = False) -> int:
        return self._take()

    def cancel(self, kind: str, origin: int, ordinal: int, alternatives: int) -> int:
        return self._take()

    def split(self, origin: int, ordinal: int) -> int:
        return 0
