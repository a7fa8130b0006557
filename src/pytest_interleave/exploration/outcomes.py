"""What an exploration came to, as values."""

from __future__ import annotations

from dataclasses import dataclass, field

from pytest_interleave.detectors.deadlock import Deadlock
from pytest_interleave.exploration.execution import Limits
from pytest_interleave.exploration.result import RunResult, Signature
from pytest_interleave.schedule import SPLIT, EventId
from pytest_interleave.trace import Observation


@dataclass(frozen=True, slots=True)
class Explanation:
    """What a failure looked like when it was repeated once more, slowly."""

    failing: Observation
    #: The failing schedule as ordering constraints, also where it could not be reduced to them.
    constraints: dict[EventId, EventId]
    #: asyncio's own order, which is what the constraints change. None: it fails as well.
    passing: Observation | None = None
    deadlock: Deadlock | None = None
    #: False: looking closely made the failure go away.
    is_same: bool = True


@dataclass(frozen=True, slots=True)
class Trial:
    """What came of a failure on asyncio's own loop, in real time, with its delays for real."""

    #: ``same``, ``other`` (it fails in another way), ``passed`` or ``not tried``.
    outcome: str
    #: How it fails there, or why it was not tried.
    detail: str = ""
    #: How many times as fast as real time the loop's clock went.
    speed: float = 1.0

    def __str__(self) -> str:
        return f"{self.outcome}: {self.detail}" if self.detail else self.outcome


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
    explanation: Explanation | None = None
    #: Limits that are enough to repeat it. None: those that it was found under.
    limits: Limits | None = None
    #: What came of it on asyncio's own loop, with its delays for real; None: nothing is late in it.
    tried: Trial | None = None
    #: The report for people; whoever explores may put it here.
    text: str = ""

    @property
    def is_own_order(self) -> bool:
        """Whether asyncio's own order failed, without a search."""
        return self.constraints == {} and not self.vector

    @property
    def is_split(self) -> bool:
        """Whether it takes data that is read in pieces."""
        return any(event[1] == SPLIT for event in self.constraints or self.result.constraints())

    def __str__(self) -> str:
        kind, place = self.signature
        return self.text or f"{kind} at {place} ({self.label}), found in run {self.found_in_run}, seed {self.seed}"


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
    #: Threads or other processes were slower or quicker when asyncio's own order was repeated, so that it came out
    #: otherwise: what they send is another order each time, explored or not.
    varies_outside: bool = False
    #: Runs in asyncio's own order differ, and nothing outside the loop may be why.
    own_order_varies: bool = False
    #: It passed, and failed each time it was run again, with nothing changed. That is no failure.
    fails_again: bool = False
    #: Whether time ended the search, or a stage of it, and not the number of runs.
    is_out_of_time: bool = False
    #: It failed in asyncio's own order, but only in virtual time.
    passes_in_real_time: bool = False
    #: Distinct orders of events seen, and how many of the last runs brought a new one.
    orders: int = 0
    share_new: float = 0.0
    #: Choice points of asyncio's own run.
    points: int = 0
    #: Where operations under ``interrupt`` could be cancelled, and at how many of these it was tried in every way.
    suspensions: int = 0
    suspensions_tried: int = 0
    #: Where a task could be cancelled (``--interleave-cancel``), and at how many of these it was tried.
    cuts: int = 0
    cuts_tried: int = 0
    #: How often an ``AsyncMock`` was awaited that could not take time.
    mocks_at_once: int = 0
    steps: int = 0
    seconds: float = 0.0
    baseline: RunResult | None = None
    #: The report for people; whoever explores may put it here.
    text: str = ""

    def __str__(self) -> str:
        return self.text or f"{self.verdict}: {self.runs} runs, {self.orders} distinct orders, seed {self.seed}"

    @property
    def nothing_to_choose(self) -> bool:
        """Whether asyncio's order is the only one there is."""
        return self.points + self.suspensions + self.cuts == 0
