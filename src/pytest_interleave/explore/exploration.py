"""What an exploration came to, as values."""

from __future__ import annotations

from dataclasses import dataclass, field

from pytest_interleave.explore.result import RunResult, Signature
from pytest_interleave.schedule import EventId

#: Which schedules count, from what only asyncio's own loop does to any order of steps.
MODES = ("stock", "realistic", "portable", "permissive")


@dataclass(slots=True)
class Failure:
    """A failure, reduced to what it takes."""

    error: BaseException
    signature: Signature
    #: ``stock``, ``latency``, ``version-fragile`` or ``order-only``.
    label: str
    #: In which run it was seen first, counted from 1 and before any shrinking.
    found_in_run: int
    seed: int
    #: The schedule as ordering constraints; None where it cannot be said that way.
    constraints: dict[EventId, EventId] | None
    #: The schedule in its exact form.
    vector: list[int]
    result: RunResult
    reproduced: int = 0
    repeats: int = 0
    holds_steps: bool = False


@dataclass(slots=True)
class Exploration:
    """All runs of one test."""

    seed: int
    mode: str
    runs: int = 0
    failures: list[Failure] = field(default_factory=list)
    #: Failures that need an order which asyncio never makes.
    notes: list[Failure] = field(default_factory=list)
    #: ``failed``, ``exhausted``, ``sampled`` or ``inconclusive``.
    verdict: str = "inconclusive"
    #: Why, where the verdict is inconclusive.
    reason: str = ""
    #: Distinct orders of events seen, and how many of the last runs brought a new one.
    orders: int = 0
    share_new: float = 0.0
    #: Choice points of asyncio's own run.
    points: int = 0
    steps: int = 0
    seconds: float = 0.0
    baseline: RunResult | None = None

    @property
    def nothing_to_choose(self) -> bool:
        """Whether asyncio's order is the only one there is."""
        return self.points == 0
