"""A test that passes, and then fails however it is run: what one run leaves behind is in the next.

A row that must be unique, a mock that a decorator keeps, a global that counts. No order of its events is to blame, and
none can be tried.
"""

from __future__ import annotations

from pathlib import PurePath

from pytest_interleave.exploration.outcomes import Exploration
from pytest_interleave.exploration.result import Execute, Signature
from pytest_interleave.schedule import Fifo

_REPEATS = 3


def fails_always(execute: Execute) -> bool:
    """Whether the test fails each time it is run in asyncio's own order."""
    return all(execute(Fifo()).failed for _ in range(_REPEATS))


def note(exploration: Exploration, signature: Signature | None) -> None:
    """Let the exploration say so, which is no failure: the first run was like any in a process of its own."""
    kind, place = signature or ("", "")
    exploration.fails_again = True
    exploration.verdict = "inconclusive"
    exploration.reason = (
        f"it passes once, and fails with {kind} ({PurePath(place).name}) whenever it is run again, "
        "in asyncio's own order: something outlives a run"
    )
