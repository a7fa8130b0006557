from __future__ import annotations

import asyncio

import pytest

from pytest_interleave import explore
from pytest_interleave.exploration import search
from pytest_interleave.exploration.search import NEVER, guesses
from pytest_interleave.exploration.shrink import Spent, ddmin
from pytest_interleave.schedule import DRAW, EventId
from pytest_interleave.strategies.guided import answer

TIMER: EventId = ((1,), "timer", 1)
READ: EventId = ((1,), "read", 1)
STEP: EventId = ((1,), "step", 2)
DRAWN: EventId = ((1,), DRAW, 1)


def test_what_is_left_fails_and_nothing_single_can_be_taken_from_it() -> None:
    tried: list[list[int]] = []

    def still_fails(part: list[int]) -> bool:
        tried.append(part)
        return {3, 17} <= set(part)

    assert ddmin(range(20), still_fails) == [3, 17]
    assert [3] in tried
    assert [17] in tried


@pytest.mark.parametrize(("tries", "left"), [(0, 1000), (2, 500), (3, 250), (100, 1)])
def test_when_no_more_may_be_tried_the_smallest_that_failed_is_left(tries: int, left: int) -> None:
    tried = 0

    def still_fails(part: list[int]) -> bool:
        nonlocal tried
        tried += 1
        if tried > tries:
            raise Spent
        return 999 in part

    found = ddmin(range(1000), still_fails)

    assert tried <= tries + 1
    assert len(found) == left
    assert 999 in found


def test_a_fault_alone_is_guessed_before_a_fault_with_one_event() -> None:
    constraints: dict[EventId, EventId] = {TIMER: (), STEP: (), DRAWN: answer(2)}

    assert list(guesses(constraints)) == [
        {DRAWN: answer(2)},
        {DRAWN: answer(2), TIMER: ()},
        {DRAWN: answer(2), TIMER: NEVER},
    ]


def test_without_a_fault_one_timer_where_it_fired_is_guessed_and_one_late_event() -> None:
    assert list(guesses({TIMER: (), READ: STEP, STEP: ()})) == [{TIMER: ()}, {TIMER: NEVER}, {READ: NEVER}]


def test_one_late_event_is_all_that_is_kept_where_few_replays_are_allowed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(search, "_SHRINK_REPLAYS", 3)

    async def arrive_in_time() -> None:
        arrived: list[int] = []

        async def arrive(number: int) -> None:
            await _work(number / 100)
            arrived.append(number)

        await asyncio.gather(*(arrive(number) for number in range(1, 9)))
        assert arrived[-1] != 1

    failure = explore(arrive_in_time).failures[0]

    assert failure.constraints is not None
    assert len(failure.constraints) == 1
    assert failure.reproduced == 5


async def _work(seconds: float) -> None:
    await asyncio.sleep(seconds)


def test_what_many_ticks_overtake_is_said_as_one_late_event() -> None:
    async def program() -> None:
        ticks = 0

        async def tick() -> None:
            nonlocal ticks
            while ticks < 8:
                await asyncio.sleep(0.1)
                ticks += 1

        ticking = asyncio.create_task(tick())
        await asyncio.to_thread(int)
        assert ticks < 5
        await ticking

    [failure] = explore(program, seed=1, runs=500).failures

    assert failure.constraints is not None
    assert len(failure.constraints) == 1
    assert failure.text.lower().startswith("fails if `await asyncio.to_thread(int)` (")


def test_what_does_not_come_in_at_all_is_one_late_event_too_and_can_be_replayed(pytester: pytest.Pytester) -> None:
    pytester.makepyfile(
        test_it="""
        import asyncio

        async def test_an_answer_comes_within_five_ticks():
            answers = []

            async def ask():
                answers.append(await asyncio.to_thread(int))

            asking = asyncio.create_task(ask())
            for _ in range(5):
                if answers:
                    break
                await asyncio.sleep(0.1)
            assert answers
            await asking
        """
    )

    result = pytester.runpytest("--interleave", "--interleave-seed=1", "-o", "asyncio_mode=auto")

    result.assert_outcomes(failed=1)
    text = " ".join(result.stdout.str().split())
    assert (
        "Fails if `await asyncio.to_thread(int)` (test_it.py:7, task ask) completes after `assert answers` "
        "(test_it.py:14)." in text
    )
    token = text.partition("--interleave-replay=")[2].split()[0]
    again = pytester.runpytest(f"--interleave-replay={token}", "-o", "asyncio_mode=auto")
    again.assert_outcomes(failed=1)
