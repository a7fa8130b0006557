"""A failure that goes on for long is repeated briefly, so that its report does not keep anybody waiting."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from pytest_interleave import explore
from pytest_interleave.errors import StepLimit, TimeLimit
from pytest_interleave.exploration.execution import Limits


async def wait_for_answers(pause: float) -> None:
    """Wait for ever if the second service answers first."""
    seen: list[str] = []

    async def ask(name: str, seconds: float) -> None:
        await service(seconds)
        seen.append(name)

    async def poll() -> None:
        while seen != ["first", "second"]:
            await asyncio.sleep(pause)

    await asyncio.gather(poll(), ask("first", 0.01), ask("second", 0.02))


async def service(seconds: float) -> None:
    await asyncio.sleep(seconds)


async def polls_twice_a_second() -> None:
    await wait_for_answers(0.5)


async def spins() -> None:
    await wait_for_answers(0)


@pytest.mark.parametrize(("program", "error"), [(polls_twice_a_second, TimeLimit), (spins, StepLimit)])
def test_only_the_run_that_finds_it_is_long(
    program: Any, error: type[BaseException], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Limits.__init__, "__defaults__", (20_000, 3600.0, 60.0))  # the same limits, sooner
    [failure] = explore(program, seed=1).failures

    assert isinstance(failure.error, error)
    assert failure.result.steps < 5_000
    assert (failure.reproduced, failure.repeats) == (5, 5)
    assert failure.label == "latency"
    assert failure.explanation is not None
    assert failure.explanation.is_same


def test_the_report_says_when_the_long_run_ended(explore: Any) -> None:
    result = explore(
        """
        async def ask(seen, name, seconds):
            await asyncio.sleep(seconds)
            seen.append(name)

        async def test_answers_come_in_order():
            seen = []
            async def poll():
                while seen != ["first", "second"]:
                    await asyncio.sleep(0.5)
            await asyncio.gather(poll(), ask(seen, "first", 0.01), ask(seen, "second", 0.02))
        """
    )

    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines(
        [
            "TimeLimit: Still waiting for something at virtual time 3600 s: what it waits for never comes, or *",
            "latency: *Reproduced 5 of 5*",
        ]
    )
