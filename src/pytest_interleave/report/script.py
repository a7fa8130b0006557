"""``explore`` for scripts, unittest and Hypothesis: what it returns can be printed."""

from __future__ import annotations

from collections.abc import Callable, Coroutine
from datetime import datetime
from typing import Any

from pytest_interleave.exploration import Exploration
from pytest_interleave.exploration import explore as search
from pytest_interleave.report.text import render_exploration, render_failure, render_note


def explore(
    function: Callable[[], Coroutine[Any, Any, Any]],
    *,
    runs: int = 200,
    seconds: float = float("inf"),
    seed: int | None = None,
    mode: str = "realistic",
    clocks: bool | datetime = False,
    mocks: bool = False,
    on_plain_loop: bool = True,
) -> Exploration:
    """Run an async function under many schedules, in virtual time, and say whether one of them fails.

    The function is called anew for each run and must make all that it uses. ``runs`` and ``seconds`` (real) bound the
    search, whichever ends first; the same ``seed`` makes the same search. ``mode`` is one of ``stock``, ``realistic``,
    ``portable`` and ``permissive``. With ``clocks``, Python's clocks (``time.monotonic()``, ``datetime.now()``) follow
    virtual time, each run from the same instant: the one given, or the next second. With ``mocks``, each ``AsyncMock``
    that is awaited may take time. A failure is tried on asyncio's own loop, too, which takes up to a second of real
    time, unless ``on_plain_loop`` is false. Print what it returns, or one of its ``failures``, to read what was found.
    """
    exploration = search(
        function,
        runs=runs,
        seconds=seconds,
        seed=seed,
        mode=mode,
        clocks=clocks,
        mocks=mocks,
        on_plain_loop=on_plain_loop,
    )
    for failure in exploration.failures:
        failure.text = render_failure(failure, exploration, is_error_shown=False)
    for note in exploration.notes:
        note.text = render_note(note, exploration)
    exploration.text = render_exploration(exploration)
    return exploration
