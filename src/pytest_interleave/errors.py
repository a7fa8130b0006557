"""What can go wrong, as exceptions that carry values; their text is made from them."""

from __future__ import annotations

import socket


class InterleaveError(Exception):
    """Base class of every error that pytest-interleave raises at its user."""


class RunEnded(InterleaveError):
    """The controlled loop ended a run, since it cannot or must not go on."""

    #: Where each task that had not ended stood, as ``file:line``.
    places: tuple[str, ...] = ()


class Blocked(RunEnded):
    """Nothing can ever run again, although somebody waits: a deadlock."""

    def __init__(self, when: float, steps: int) -> None:
        super().__init__(f"Deadlock at virtual time {when:g} s, after {steps} steps")
        self.when = when
        self.steps = steps


class Deadlocked(RunEnded):
    """A plain run waits for ever: the text says who waits for what."""


class TimedOut(RunEnded):
    """A test took longer than its limit: the text says who waits for what."""


class StepLimit(RunEnded):
    """A run took more steps than it may. ``repeats``: tasks that run again and again, and nothing else does."""

    def __init__(self, steps: int, when: float, repeats: tuple[str, ...] = ()) -> None:
        text = f"Still running after {steps} steps, at virtual time {when:g} s"
        if repeats:
            text = f"Livelock: {text[0].lower()}{text[1:]}, and nothing happens but steps of {', '.join(repeats)}"
        super().__init__(text)
        self.steps = steps
        self.when = when
        self.repeats = repeats


class Spinning(StepLimit):
    """A step of a run went round and round without giving way to the loop."""

    def __init__(self, steps: int, when: float, function: str, place: str) -> None:
        super().__init__(steps, when, (function,))
        self.args = (
            f"Livelock: `{function}` goes round and round at virtual time {when:g} s, after {steps} steps, without "
            "giving way to the loop: what it awaits need not wait",
        )
        self.places = (place,) if place else ()


class StepCut(BaseException):
    """Thrown into a step that does not give way, from another thread; no ``except Exception`` is to take it."""

    #: Of the last one: whoever throws it cannot give it arguments.
    text = ""

    def __str__(self) -> str:
        return self.text


class LeftBehind(RunEnded):
    """A task was cut short, and something was left that must not be: the text says what, and where."""

    def __init__(self, text: str, places: tuple[str, ...], *, why: str) -> None:
        super().__init__(text)
        self.places = places
        self.why = why


class LostException(InterleaveError):
    """A run passed, but an exception in it was retrieved by nobody: the text says which. That one is the cause."""


class CutShort(InterleaveError):
    """A test was cancelled in a task that has to go on."""


class TimeLimit(RunEnded):
    """A run passed its virtual or its real deadline."""

    def __init__(self, clock: str, when: float, *, is_real: bool = True) -> None:
        text = f"Still waiting for {clock} at virtual time {when:g} s"
        if not is_real:
            text += ": what it waits for never comes, or comes later than interleave_limit, "
            text += "the virtual seconds that a run may take"
        super().__init__(text)
        self.clock = clock
        self.when = when
        self.is_real = is_real


class UndeclaredHost(InterleaveError, socket.gaierror):
    """A name was looked up, or an address connected to, that the test's ``hosts`` do not declare.

    It is what a client gets for a name that does not exist, so that libraries treat it as they would in production.
    """


class RecordingError(InterleaveError):
    """A recording cannot be read, or cannot be made."""


class ClocksUnavailable(InterleaveError):
    """Python's clocks cannot be made virtual: the text says why, and what to do."""


class LoadError(InterleaveError):
    """A load could not be run as asked."""
