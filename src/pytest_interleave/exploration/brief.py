"""End the repeats of a failure early where it goes on for long until its run is ended.

Someone who polls ten times a second does so 36,000 times before an hour of virtual time is over, and a livelock runs
for 200,000 steps. Their rounds are all alike: a repeat that sees a few of them ends in the same place.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import TypeAlias

from pytest_interleave.errors import StepLimit, TimeLimit
from pytest_interleave.exploration.execution import Limits
from pytest_interleave.exploration.result import Execute, RunResult
from pytest_interleave.schedule import Decider

#: Puts other limits on the runs that are made meanwhile.
Limited: TypeAlias = Callable[[Limits], AbstractContextManager[None]]

#: A run of fewer steps takes no time to speak of.
_FEW_STEPS = 5_000
#: So many are enough of a livelock, once it has begun.
_STEPS_OF_LIVELOCK = 2_000
#: So much longer than asyncio's own order takes, and so many seconds at least, is long enough.
_TIMES_AS_LONG = 3
_SECONDS = 60.0


def brief(
    execute: Execute, limited: Limited, decider: Decider, failed: RunResult, baseline: RunResult | None
) -> tuple[Limits, RunResult] | None:
    """Return limits under which that run fails alike and ends sooner, and how; None: there are none."""
    error = failed.error
    if failed.steps < _FEW_STEPS:
        return None
    if isinstance(error, StepLimit):
        entries = failed.trace.entries[: error.steps]  # and not what cleaned up
        # Half of a run must be alike for a livelock (``trace.repeating``).
        begins = next((index for index in range(len(entries), 0, -1) if isinstance(entries[index - 1], tuple)), 0)
        limits = Limits(steps=2 * begins + _STEPS_OF_LIVELOCK)
    elif isinstance(error, TimeLimit):
        limits = Limits(virtual_seconds=max(_SECONDS, _TIMES_AS_LONG * (baseline.seconds if baseline else 0)))
    else:
        return None
    with limited(limits):
        again = execute(decider)
    if again.steps < failed.steps and again.failed and again.signature == failed.signature:
        return limits, again
    return None
