"""Values that a test draws: found, named, replayed."""

from __future__ import annotations

import asyncio
import re

import pytest

from pytest_interleave import choose, explore


async def a_lost_put_is_repeated_before_the_get_ends() -> None:
    done: list[str] = []

    async def call(name: str, seconds: float) -> None:
        await service(seconds)
        done.append(name if name != "put" else choose(["stored", "kept", "lost"]))

    await asyncio.gather(call("get", 0.01), call("put", 0.02))
    assert done != ["lost", "get"]


async def service(seconds: float) -> None:
    await asyncio.sleep(seconds)


def test_a_failure_says_which_value_was_drawn_at_which_line_and_what_else_it_takes() -> None:
    [failure] = explore(a_lost_put_is_repeated_before_the_get_ends, seed=1, runs=2000).failures

    said = re.sub(r":\d+", "", " ".join(failure.text.partition("\n\n")[0].split()))
    assert """`choose(["stored", "kept", "lost"])` (test_choose.py, task call('put', 0.02)) gives `'lost'`""" in said
    assert "the sleep of 0.02 s (test_choose.py, task call('put', 0.02)) ends before " in said
    assert " ◂ 'lost'\n" in failure.text
    assert failure.label == "latency"
    assert failure.constraints is not None
    assert len(failure.constraints) == 2


def test_a_value_alone_is_a_constraint_and_the_token_says_it(explore, pytester: pytest.Pytester) -> None:
    result = explore(
        """
        import asyncio
        from pytest_interleave import choose

        async def test_draws():
            values = [choose("ab"), choose("ab")]
            await asyncio.sleep(0)
            assert values != ["a", "b"]
        """
    )

    result.stdout.fnmatch_lines(
        [
            """Fails if `choose("ab")` (test_it.py:7) gives `'b'`.""",
            "stock: asyncio can do this as it is. Reproduced 5 of 5.",
            """*  values = ?choose("ab"), choose("ab")?""",
            """*  ◂ 'a', 'b'""",
        ]
    )
    token = re.search(r"--interleave-replay=(\S+)", result.stdout.str())
    assert token is not None
    again = pytester.runpytest(token.group())
    again.assert_outcomes(failed=1)
    again.stdout.fnmatch_lines(["replayed from the token's ordering constraints"])
