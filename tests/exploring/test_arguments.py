"""What ``explore`` refuses, in one line."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from pytest_interleave import explore


async def check() -> None:
    await asyncio.sleep(0)


@pytest.mark.parametrize(
    ("values", "line"),
    [
        ({"runs": 0}, "runs=0: it must be a whole number, 1 or more"),
        ({"runs": "many"}, "runs='many': it must be a whole number, 1 or more"),
        ({"seconds": -1}, "seconds=-1: it must be a number above 0"),
        ({"seed": "x"}, "seed='x': it must be a whole number, 0 or more, or None"),
        ({"mode": "fast"}, "'fast' is not a mode; there are stock, realistic, portable, permissive"),
    ],
    ids=str,
)
def test_wrong_values_are_refused(values: dict[str, Any], line: str) -> None:
    with pytest.raises(ValueError) as raised:
        explore(check, **values)

    assert str(raised.value) == line


def test_a_coroutine_in_place_of_its_function_is_refused() -> None:
    coroutine: Any = check()

    with pytest.raises(TypeError, match=r"explore\(check\), not explore\(check\(\)\)"):
        explore(coroutine)

    assert coroutine.cr_frame is None


@pytest.mark.asyncio
async def test_in_a_running_loop_it_says_what_to_do() -> None:
    with pytest.raises(RuntimeError, match=r"await asyncio.to_thread\(explore, check\)"):
        explore(check)

    assert (await asyncio.to_thread(explore, check, runs=2)).failures == []


async def fails_at_once() -> None:
    await asyncio.sleep(0)
    raise LookupError("no such card: 4711")


def test_what_is_printed_has_the_exception_and_its_line() -> None:
    [failure] = explore(fails_at_once, runs=2, seed=1).failures

    assert "LookupError: no such card: 4711" in str(failure).splitlines()
    assert 'raise LookupError("no such card: 4711")' in str(failure)
