"""Make a failure from a program and its constraints, without a search: texts must not depend on what a search finds."""

from __future__ import annotations

from collections.abc import Callable, Coroutine
from typing import Any

from pytest_interleave.exploration.execution import Execution, Limits
from pytest_interleave.exploration.explain import explain
from pytest_interleave.exploration.outcomes import Exploration, Failure
from pytest_interleave.schedule import EventId
from pytest_interleave.strategies.guided import Guided

Constraints = dict[EventId, EventId]


def failure_of(
    program: Callable[[], Coroutine[Any, Any, Any]], constraints: Constraints, label: str = "latency"
) -> tuple[Failure, Exploration]:
    """Run the program under the constraints, where it must fail, and explain it."""
    execution = Execution(program, stretch=True, limits=Limits())
    try:
        result = execution(Guided(constraints))
        assert result.error is not None
        assert result.signature is not None
        exploration = Exploration(seed=7, mode="realistic", runs=17, points=3, verdict="failed")
        failure = Failure(
            error=result.error,
            signature=result.signature,
            label=label,
            found_in_run=17,
            seed=7,
            constraints=constraints,
            vector=result.vector,
            result=result,
            reproduced=5,
            repeats=5,
        )
        exploration.failures.append(failure)
        failure.explanation = explain(execution, failure, exploration)
        return failure, exploration
    finally:
        execution.close()
