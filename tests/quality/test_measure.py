"""What is made of the answers of an explorer, with an explorer that makes them up."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import pytest

from quality.measure import Kind, geometric_mean, measure, summarise


@dataclass
class _Failure:
    label: str
    found_in_run: int
    error: Exception = field(default_factory=AssertionError)


@dataclass
class _Exploration:
    failures: list[_Failure]
    notes: list[_Failure] = field(default_factory=list)
    runs: int = 10
    verdict: str = "sampled"


def _explorer(*answers: _Exploration) -> Any:
    left = list(answers)
    return lambda program, **settings: left.pop(0)


def test_a_miss_counts_as_the_whole_budget() -> None:
    assert geometric_mean([10, None], cap=1000) == pytest.approx(100)


def test_bugs_are_counted_by_seed() -> None:
    explore = _explorer(_Exploration([_Failure("latency", 10)]), _Exploration([]))
    rows = measure(explore=explore, seeds=range(2), only="lost_update", kinds=[Kind.BUG])
    summary = summarise(rows, cap=1000)

    assert [row.found_in_runs for row in rows] == [(10, None)]
    assert summary.found_mean == 0.5
    assert summary.runs_geometric_mean == pytest.approx(100)


def test_an_order_only_find_is_no_bug() -> None:
    as_failure = _Exploration([_Failure("order-only", 3)])
    as_note = _Exploration([], notes=[_Failure("order-only", 3)])
    [row] = measure(explore=_explorer(as_failure, as_note), seeds=range(2), only="lost_update", kinds=[Kind.BUG])

    assert row.found == 0
    assert row.order_only == 2


def test_a_failure_of_a_correct_program_is_a_false_alarm() -> None:
    explore = _explorer(_Exploration([]), _Exploration([_Failure("stock", 2, ValueError("why"))]))
    rows = measure(explore=explore, seeds=range(2), only="ping_pong", kinds=[Kind.PROTECTED])

    assert summarise(rows, cap=1000).alarms_on_protected == ("ping_pong",)
    assert rows[0].errors == ("stock: ValueError('why')",)


def test_the_budget_for_correct_programs_is_their_own() -> None:
    budgets = {}

    def explore(program: Any, *, runs: int, **settings: Any) -> _Exploration:
        budgets[program.__name__] = runs
        return _Exploration([])

    measure(explore=explore, seeds=[1], runs=1000, alarm_runs=300, only="lost_update")

    assert budgets == {"lost_update": 1000, "lost_update_fixed": 300}
