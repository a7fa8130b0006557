"""Run exactly the schedule of a token."""

from __future__ import annotations

from contextlib import AbstractContextManager
from typing import Protocol

from pytest_interleave.errors import LeftBehind
from pytest_interleave.exploration.brief import brief
from pytest_interleave.exploration.execution import Limits
from pytest_interleave.exploration.explain import explain
from pytest_interleave.exploration.outcomes import Exploration, Failure
from pytest_interleave.exploration.result import RunResult
from pytest_interleave.exploration.search import repeat_and_label
from pytest_interleave.exploration.token import Token
from pytest_interleave.loop.observe import Observer
from pytest_interleave.plugin.exploring.explored import Explored
from pytest_interleave.plugin.exploring.options import ExploreSettings
from pytest_interleave.schedule import Decider, Fifo
from pytest_interleave.strategies.guided import repeat


class Runs(Protocol):
    """Makes the runs of one test."""

    limits: Limits

    def __call__(self, decider: Decider, observer: Observer | None = None) -> RunResult:
        """Make one run, observed or not."""

    def limited(self, limits: Limits) -> AbstractContextManager[None]:
        """Put these limits on the runs that are made meanwhile."""

    def unstretched(self, decider: Decider) -> RunResult:
        """Make one run in which everything lasts as long as it says."""


def replay(run: Runs, settings: ExploreSettings, token: Token) -> Explored:
    """Replay the token; say by which of its forms, or that the test does not fail under it any more."""
    exploration = Exploration(seed=settings.seed, mode=token.mode)
    exploration.baseline = first = run(Fifo())
    exploration.points = first.points + first.starts
    exploration.suspensions = len(first.suspensions())
    exploration.runs = 2
    form = "ordering constraints" if token.constraints is not None else "exact choices"

    result = run(repeat(token))
    if not result.failed:
        exploration.verdict = "sampled"
        line = f"replayed from the token's {form}, and it does not fail any more"
        return Explored(exploration, replayed=line, decider=repeat(token))
    assert result.error is not None
    assert result.signature is not None
    found = brief(run, run.limited, repeat(token), result, first)
    failure = Failure(
        error=result.error,
        signature=result.signature,
        label="stock",
        found_in_run=2,
        seed=settings.seed,
        constraints=token.constraints,
        vector=token.vector,
        result=result,
        holds_steps=token.holds_steps,
        limits=found[0] if found else None,
    )
    with run.limited(failure.limits or run.limits):
        repeat_and_label(failure, run, token.mode, run.unstretched)
    exploration.verdict = "failed"
    exploration.failures.append(failure)
    return Explored(
        exploration,
        failure=failure,
        explanation=explain(run, failure, exploration),
        replayed=f"replayed from the token's {form}",
        decider=Fifo() if isinstance(failure.error, LeftBehind) else repeat(token),
    )
