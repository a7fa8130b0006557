"""What became of one item, as values."""

from __future__ import annotations

from dataclasses import dataclass, field

from pytest_interleave.exploration.outcomes import Explanation, Exploration, Failure
from pytest_interleave.schedule import Decider, Fifo


@dataclass
class Explored:
    """The exploration of one item, and how pytest is to run it."""

    exploration: Exploration
    failure: Failure | None = None
    explanation: Explanation | None = None
    #: What came of a replay, in a line.
    replayed: str = ""
    #: Why it was not explored, in a line.
    reason: str = ""
    #: In which phase the failure was seen.
    phase: str = "call"
    is_in_real_time: bool = False
    decider: Decider = field(default_factory=Fifo)

    @property
    def is_clean(self) -> bool:
        """Whether the test passes in asyncio's own order and in the others, in virtual time, to its end."""
        baseline = self.exploration.baseline
        has_passed = baseline is not None and baseline.error is None
        done = self.exploration
        return has_passed and self.failure is None and not (self.is_in_real_time or done.fails_again)
