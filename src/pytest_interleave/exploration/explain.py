"""Repeat a failure once more, looking closely, so that a report can say what happened."""

from __future__ import annotations

from contextlib import AbstractContextManager
from typing import Protocol

from pytest_interleave.detectors import deadlock
from pytest_interleave.errors import Blocked, TimeLimit
from pytest_interleave.exploration.execution import Limits
from pytest_interleave.exploration.outcomes import Explanation, Exploration, Failure
from pytest_interleave.exploration.result import RunResult
from pytest_interleave.loop.observe import Observer
from pytest_interleave.schedule import Decider, Fifo
from pytest_interleave.strategies.guided import repeat
from pytest_interleave.trace import Observation

#: To look at each line takes time: a run near its limit in real time would not come to its end.
_TIMES_AS_SLOW = 5


class Observable(Protocol):
    """Makes one run under the given decider while ``observer.watching`` is on."""

    limits: Limits

    def __call__(self, decider: Decider, observer: Observer) -> RunResult:
        """Make it."""

    def limited(self, limits: Limits) -> AbstractContextManager[None]:
        """Put these limits on the runs that are made meanwhile."""


def explain(execute_observed: Observable, failure: Failure, exploration: Exploration) -> Explanation:
    """Run the failure, and asyncio's own order beside it, each once under an observer."""
    observer = Observer()
    limits = failure.limits or execute_observed.limits
    limits = Limits(limits.steps, limits.virtual_seconds, limits.real_seconds * _TIMES_AS_SLOW)
    with execute_observed.limited(limits):
        result = execute_observed(repeat(failure), observer)
    failing = observer.result(result.error)
    constraints = failure.constraints if failure.constraints is not None else result.constraints()
    passing = None
    if constraints:
        observer = Observer()
        passing = observer.result(execute_observed(Fifo(), observer).error)
    return Explanation(
        failing=failing,
        constraints=constraints,
        passing=passing,
        deadlock=_deadlock(failing, result.error),
        is_same=result.signature == failure.signature,
    )


def _deadlock(seen: Observation, error: BaseException | None) -> deadlock.Deadlock | None:
    if isinstance(error, Blocked) and seen.end is not None:
        return deadlock.find(seen.end, is_global=True)
    if isinstance(error, TimeLimit) and not error.is_real and seen.end is not None and seen.idle is None:
        return deadlock.find_at_limit(seen.end)
    for snapshot in (seen.idle, seen.end):
        found = deadlock.find(snapshot) if snapshot is not None else None
        # The test broke off: that nobody is left who could wake a task may be just because of that.
        if found is not None and found.kind in ("cycle", "ended holder"):
            return found
    return None
