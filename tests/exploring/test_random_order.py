from __future__ import annotations

import asyncio
from random import Random

import pytest

from pytest_interleave import choose
from pytest_interleave.exploration.execution import Execution, Limits
from pytest_interleave.exploration.recorder import Recorder
from pytest_interleave.schedule import Decider, Fifo, Vector
from pytest_interleave.strategies.one_held import NoneHeld, OneHeld
from pytest_interleave.strategies.order import RandomOrder
from pytest_interleave.trace import Trace


def _choices(random: Random, steps: int) -> list[int]:
    """Return for how many turns each step is kept back, of so many, two at a time."""
    order = RandomOrder(random, turns=4)
    return [choice for _ in range(steps // 2) for choice in order.hold([2, 3], 4) or (0, 0)]


def test_one_seed_makes_one_order() -> None:
    assert _choices(Random(1), 1000) == _choices(Random(1), 1000)
    assert _choices(Random(1), 1000) != _choices(Random(2), 1000)


def test_a_long_run_takes_no_more_numbers_than_a_short_one() -> None:
    short, long = Random(1), Random(1)
    _choices(short, 2)
    _choices(long, 10_000)

    assert short.random() == long.random()


def test_steps_late_in_a_long_run_are_kept_back_as_often_for_each_number_of_turns() -> None:
    late = [choice for seed in range(100) for choice in _choices(Random(seed), 1000)[200:]]
    counts = [late.count(turns) for turns in (1, 2, 3, 4)]

    assert set(late) == {0, 1, 2, 3, 4}
    assert max(counts) < 1.1 * min(counts)
    # One in 20, in 7 or in 3, whichever the run has drawn.
    assert 0.14 < sum(counts) / len(late) < 0.19


def test_answers_beyond_what_was_offered_keep_nothing_back() -> None:
    class Odd(Fifo):
        def hold(self, origins: object, turns: int) -> list[int]:
            return [turns + 1, 2, -1, 0]

    recorder = Recorder(Odd())
    trace = Trace([], [0] * 6, [0, 1, 1, 2, 3, 4], [""] * 6, [None] * 6)
    recorder.attach(trace)
    answers = recorder.hold([2, 3, 4, 5], 4)
    trace.entries += [2, 4, 5, 3]

    assert list(answers) == recorder.vector == [0, 2, 0, 0]
    assert recorder.widths == [5] * 4
    assert recorder.constraints() == {((2,), "step", 1): ((4,), "step", 1)}


async def _tasks_that_draw_and_sleep() -> None:
    async def work(seconds: float) -> None:
        for _ in range(3):
            await asyncio.sleep(0)
            choose(["one", "other"])
            await asyncio.sleep(seconds)

    both = asyncio.gather(*(work(0.1 * number) for number in range(1, 5)))
    for _ in range(5):
        await asyncio.sleep(0)  # the test's own steps are not kept back, nor counted
    await both


@pytest.mark.parametrize("make", [RandomOrder, lambda random: OneHeld(random.randrange(60), 2)])
def test_choices_that_were_not_asked_for_stand_in_the_vector_as_if_they_had_been(make: type[Decider]) -> None:
    execution = Execution(_tasks_that_draw_and_sleep, stretch=True, limits=Limits())
    try:
        for seed in range(50):
            found = execution(make(Random(seed)))  # type: ignore[call-arg]
            again = execution(Vector(found.vector, holds_steps=True))

            assert again.trace.events() == found.trace.events()
            assert again.vector == found.vector
    finally:
        execution.close()


def test_a_run_without_a_step_kept_back_counts_those_that_could_have_been() -> None:
    execution = Execution(_tasks_that_draw_and_sleep, stretch=True, limits=Limits())
    try:
        census = NoneHeld()
        execution(census)
        asked = execution(Vector([], holds_steps=True))
    finally:
        execution.close()

    assert census.points == sum(width == 5 for width in asked.widths) > 20
