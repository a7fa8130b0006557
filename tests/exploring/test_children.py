"""Tests that start processes: these answer when they answer, which a search must not take for a choice of its own."""

from __future__ import annotations

import asyncio
import re
import sys
from asyncio.subprocess import PIPE

import pytest

from pytest_interleave.exploration.execution import Execution, Limits
from pytest_interleave.exploration.search import Budget, Search
from pytest_interleave.loop._patience import PatientLoop
from pytest_interleave.schedule import Fifo

SELL = """
    from asyncio.subprocess import PIPE

    class Seats:
        left = 1

        async def book(self, customer):
            left = self.left
            if left == 0:
                return False
            process = await asyncio.create_subprocess_exec("tr", "a-z", "A-Z", stdin=PIPE, stdout=PIPE)
            await process.communicate(customer)
            self.left = left - 1
            return True

    async def test_one_seat_is_sold_once():
        seats = Seats()

        async def arrive(customer, after):
            await asyncio.sleep(after)
            return await seats.book(customer)

        assert sum(await asyncio.gather(arrive(b"ada", 0), arrive(b"grace", 0.05))) == 1
"""


async def shout(word: bytes) -> bytes:
    process = await asyncio.create_subprocess_exec("tr", "a-z", "A-Z", stdin=PIPE, stdout=PIPE)
    output, _ = await process.communicate(word)
    return output


async def tick() -> None:
    for _ in range(5):
        await asyncio.sleep(0.001)


def test_asyncios_own_order_is_the_same_however_long_children_take() -> None:
    async def program() -> None:
        assert (await asyncio.gather(shout(b"ann"), shout(b"bob"), tick()))[:2] == [b"ANN", b"BOB"]

    execution = Execution(program, stretch=True, limits=Limits())
    try:
        runs = [execution(Fifo()) for _ in range(8)]
    finally:
        execution.close()

    assert [run.error for run in runs] == [None] * 8
    assert len({tuple(run.trace.events()) for run in runs}) == 1


def test_a_child_is_waited_for_until_it_had_some_of_a_processor(monkeypatch: pytest.MonkeyPatch) -> None:
    """On a busy machine that takes long; here nobody is patient."""
    answer = "import sys; sum(range(1_000_000)); print(sys.stdin.read())"

    async def program() -> None:
        process = await asyncio.create_subprocess_exec(sys.executable, "-Sc", answer, stdin=PIPE, stdout=PIPE)
        await asyncio.gather(process.communicate(b"ann"), tick())

    execution = Execution(program, stretch=True, limits=Limits())
    try:
        runs = [execution(Fifo())]
        monkeypatch.setattr(PatientLoop, "_least_patience", lambda loop: 0.001)
        runs += [execution(Fifo())]
    finally:
        execution.close()

    assert [run.error for run in runs] == [None] * 2
    assert len({tuple(run.trace.events()) for run in runs}) == 1


def test_a_child_whose_answer_is_late_shows_a_lost_update(explore) -> None:
    result = explore(SELL, "--interleave-seed=1")

    result.assert_outcomes(failed=1)
    sentence = " ".join(result.stdout.str().partition("- interleave -")[2].partition("\n\n")[0].split())
    # Which of the lines that wait for one another are named, is not the same on each Python.
    late = r"data for `await (process\.communicate|seats\.book)\(customer\)` \(test_it\.py:\d+, task arrive\(0\)\)"
    assert re.search(rf"Fails if {late} arrives after `[^`]+` \(test_it\.py:\d+, task arrive\(0\.05\)\)", sentence)
    result.stdout.re_match_lines([r"stock: .* Reproduced 5 of 5; .*"])


def test_a_child_that_takes_another_time_when_repeated_leaves_a_sample() -> None:
    """It wakes up by itself, in real time: of that nothing is known before."""
    count = 0

    async def program() -> None:
        nonlocal count
        count += 1
        command = "true" if count == 1 else "sleep 0.3"
        process = await asyncio.create_subprocess_shell(command)
        await asyncio.gather(process.wait(), asyncio.sleep(0.1), asyncio.sleep(0.1))

    execution = Execution(program, stretch=True, limits=Limits())
    try:
        done = Search(execution, seed=1, budget=Budget(runs=3, seconds=60)).run()
    finally:
        execution.close()

    assert (done.verdict, done.reason, done.varies_outside) == ("sampled", "", True)


def test_a_test_that_differs_by_itself_stays_inconclusive() -> None:
    count = 0

    async def program() -> None:
        nonlocal count
        count += 1
        words = [shout(b"ann"), tick()]
        await asyncio.gather(*(words if count % 2 else reversed(words)))

    execution = Execution(program, stretch=True, limits=Limits())
    try:
        done = Search(execution, seed=1, budget=Budget(runs=4, seconds=60)).run()
    finally:
        execution.close()

    assert (done.verdict, done.varies_outside) == ("inconclusive", False)
