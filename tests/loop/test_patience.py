"""How the loop waits for threads, in real time."""

from __future__ import annotations

import asyncio
import time

import pytest

from pytest_interleave import explore
from pytest_interleave.loop import _patience


def test_a_thread_that_has_worked_for_long_is_not_watched_for_long(monkeypatch: pytest.MonkeyPatch) -> None:
    """Databases answer in milliseconds, time and again: what is waited for after each answer is most of a run."""
    pauses: list[float] = []

    def sleep(seconds: float) -> None:
        pauses.append(seconds)
        time.sleep(seconds)

    monkeypatch.setattr(_patience, "sleep", sleep)

    async def query() -> None:
        await asyncio.to_thread(time.sleep, 0.01)
        pauses.append(0)

    exploration = explore(query, runs=2)
    pauses_before_the_answer = pauses[: pauses.index(0)]

    assert not exploration.failures
    assert pauses_before_the_answer[-2:] == [pytest.approx(0.00005), pytest.approx(0.00015)]
