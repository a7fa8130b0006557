"""What a detector says, as a value, and the names that detectors have."""

from __future__ import annotations

import enum
from dataclasses import asdict, dataclass
from typing import Any

from pytest_interleave.errors import InterleaveError


class Level(enum.Enum):
    """What becomes of a finding: nothing, a line in the summary, or a failed test."""

    OFF = "off"
    REPORT = "report"
    FAIL = "fail"


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that is wrong, for a tired person to read.

    ``where`` is ``path:line``, with an absolute path or one relative to the root of the suite.
    """

    detector: str
    summary: str
    where: str | None = None
    details: tuple[str, ...] = ()
    advice: str = ""

    def as_json(self) -> dict[str, Any]:
        """Return what a JSON file, and a report on its way to xdist's controller, can hold."""
        return {**asdict(self), "details": list(self.details)}

    @classmethod
    def from_json(cls, values: dict[str, Any]) -> Finding:
        """Return what ``as_json`` was made from."""
        return cls(
            values["detector"], values["summary"], values["where"], tuple(values["details"]), str(values["advice"])
        )


class FindingError(InterleaveError):
    """What a test fails with, of which only a detector knows that it is wrong."""

    def __init__(self, finding: Finding, text: str) -> None:
        super().__init__(finding, text)
        self.finding = finding
        self._text = text

    def __str__(self) -> str:
        return self._text


#: Name of each detector: its level by default, and what it finds. The levels are what 14 real suites bear.
DETECTORS: dict[str, tuple[Level, str]] = {
    "never-awaited": (Level.FAIL, "a coroutine that was made and never awaited"),
    "lost-exception": (Level.FAIL, "an exception of a task or callback that nobody retrieved"),
    "unawaited-result": (Level.FAIL, "a value that an async test returned: a coroutine, or anything but None"),
    "swallowed-cancellation": (
        Level.FAIL,
        "a task that goes on when it is cancelled at the end of its test",
    ),
    "leaked-task": (Level.REPORT, "a task that is still pending after the test's fixtures are torn down"),
    "blocked-loop": (Level.REPORT, "a step that kept its loop from everything else"),
    "left-open": (
        Level.REPORT,
        "an async generator, server, connection, subprocess, executor or client session that was left open",
    ),
    "kept-lock": (Level.REPORT, "a lock that a task took, and kept when it ended"),
    "wrong-thread": (
        Level.REPORT,
        "a call in another thread that wakes a task and not its loop",
    ),
    "leaked-context": (
        Level.REPORT,
        "a context variable, a patched function, the environment or logging, left changed for the next test",
    ),
    "undeclared-host": (Level.FAIL, "a connection to what the test's `hosts` do not declare, though it was refused"),
    "unmatched-request": (Level.FAIL, "a request to a host's mock routes or recording that fits none of them"),
    "unused-route": (Level.FAIL, "a mock route of a host that no request came to"),
}
