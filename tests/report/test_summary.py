"""The lines of a summary, and what a script sees when it prints."""

from __future__ import annotations

from typing import Any

from pytest_interleave.exploration.outcomes import Exploration
from pytest_interleave.exploration.result import RunResult
from pytest_interleave.report.script import explore
from pytest_interleave.report.text import render_summary_line
from pytest_interleave.trace import Trace
from report import programs


def exploration(**values: Any) -> Exploration:
    return Exploration(**{"seed": 7, "mode": "realistic", "points": 3, **values})


def baseline(*entries: Any) -> RunResult:
    return RunResult(None, Trace(list(entries), [0, 0], [0, 1], ["", "test"], [None, None]), [], [])


def test_a_sampled_test_says_how_much_was_new_at_the_end() -> None:
    done = exploration(verdict="sampled", runs=42, orders=17, share_new=0.04)

    assert render_summary_line(done) == "42 runs, 17 distinct orders, 4 % new at the end: sampled"


def test_a_test_in_which_another_process_has_a_say_says_so() -> None:
    done = exploration(verdict="sampled", runs=42, orders=17, share_new=0.04, varies_outside=True)

    assert render_summary_line(done) == (
        "42 runs, 17 distinct orders, 4 % new at the end: sampled; a thread or another process was faster or slower "
        "when a run was repeated: a replay may differ, too"
    )


def test_an_exhausted_test_counts_its_orders() -> None:
    assert render_summary_line(exploration(verdict="exhausted", runs=9, orders=6)) == (
        "all 6 orders of what was observed: exhausted"
    )


def test_an_inconclusive_test_says_why() -> None:
    done = exploration(verdict="inconclusive", runs=2, reason="two runs in asyncio's own order differ")

    assert render_summary_line(done) == "2 runs: inconclusive, since two runs in asyncio's own order differ"


def test_a_test_that_never_suspends_has_nothing_to_explore() -> None:
    done = exploration(verdict="exhausted", runs=2, orders=1, points=0, baseline=baseline(1))

    assert render_summary_line(done) == "nothing to explore: 0 suspension points (do its mocks yield?)"


def test_a_test_that_suspends_for_nothing_outside_says_so() -> None:
    done = exploration(verdict="exhausted", runs=2, orders=1, points=0, baseline=baseline(1, 1, 1))

    assert render_summary_line(done) == (
        "nothing to explore: 2 suspension points, none that could end in another order"
    )


def test_a_script_prints_what_was_found() -> None:
    found = explore(programs.lost_update, runs=50, seed=1)

    assert str(found).startswith(
        f"{found.runs} runs: failed in run {found.failures[0].found_in_run}\n\nFails if the sleep"
    )
    assert str(found.failures[0]) in str(found)
    assert "→ raises AssertionError" in str(found.failures[0])


def test_the_note_tells_how_to_model_two_callers_and_that_makes_it_a_failure() -> None:
    noted = explore(programs.start_order, runs=50, seed=1)
    modelled = explore(programs.start_order_modelled, runs=50, seed=1)

    assert "arrives(one()), arrives(other())" in str(noted.notes[0])
    assert not noted.failures
    assert modelled.failures[0].label == "latency"


def test_few_runs_in_all_the_time_there_was_are_told_with_what_gives_more() -> None:
    short = {"verdict": "sampled", "orders": 2, "share_new": 0.5, "is_out_of_time": True}
    line = "4 runs, 2 distinct orders, 50 % new at the end: sampled"

    assert render_summary_line(exploration(runs=4, **short)) == (
        f"{line}; its time was up: --interleave-time=S gives it more"
    )
    assert "its time" not in render_summary_line(exploration(runs=150, **short))
    assert render_summary_line(exploration(runs=4, **{**short, "is_out_of_time": False})) == line
