"""Tests that pass once, and fail when they are run again, whatever the order: they pass, and are not explored."""

from __future__ import annotations

import asyncio
import json

import pytest

from pytest_interleave import explore as explore_function

ONCE = """
import pytest
from unittest import mock

@mock.patch("os.getcwd", new=mock.MagicMock(return_value="here"))
async def test_a_mock_of_a_decorator():
    import os
    os.getcwd()
    assert os.getcwd.call_count == 1

stock = 5

async def test_a_global():
    async def buy(seconds):
        global stock
        await asyncio.sleep(seconds)
        stock -= 1
    await asyncio.gather(buy(0.01), buy(0.02), buy(0.03))
    assert stock == 2

@pytest.fixture(scope="session")
def database():
    return set()

async def test_a_row(database):
    async def insert(name):
        await asyncio.sleep(0.01)
        if name in database:
            raise KeyError(name)
        database.add(name)
    await asyncio.gather(insert("ann"), insert("bob"))

@pytest.fixture
def table(database):
    if "table" in database:
        raise KeyError("table")
    database.add("table")

async def test_a_table(table):
    await asyncio.sleep(0)

@pytest.fixture
def closing(database):
    yield
    database.add("closed") if "closed" not in database else database.remove("never")

async def test_a_tear_down(closing):
    await asyncio.sleep(0)
"""


@pytest.mark.parametrize("options", [("-x",), ("-n", "1", "-p", "xdist")])
def test_what_outlives_a_run_fails_no_test(explore, pytester: pytest.Pytester, options: tuple[str, ...]) -> None:
    result = explore(ONCE, "--interleave-json=found.json", *options)

    result.assert_outcomes(passed=5)
    since = "inconclusive, since it passes once, and fails with"
    again = "whenever it is run again, in asyncio's own order: something outlives a run"
    result.stdout.fnmatch_lines_random(
        [
            f"*::test_a_mock_of_a_decorator: 2 runs: {since} AssertionError (test_it.py:*) {again}",
            f"*::test_a_global: 2 runs: {since} AssertionError (test_it.py:*) {again}",
            f"*::test_a_row: 2 runs: {since} KeyError (test_it.py:*) {again}, perhaps in fixtures * database (session)",
            f"*::test_a_table: 2 runs: {since} KeyError (test_it.py:*) {again}, perhaps in fixtures *",
            f"*::test_a_tear_down: 2 runs: {since} KeyError (test_it.py:*) {again}, perhaps in fixtures *",
            "5 explored in 10 runs, * s (5 inconclusive)",
        ]
    )
    found = json.loads((pytester.path / "found.json").read_text())["tests"]
    assert {(each["verdict"], each["outcome"], each["token"]) for each in found} == {("inconclusive", "passed", None)}


def test_what_fails_now_and_then_fails(explore) -> None:
    result = explore(
        """
        runs = []

        async def test_flaky():
            runs.append(1)
            await asyncio.gather(asyncio.sleep(0.01), asyncio.sleep(0.02))
            assert len(runs) % 3 != 2
        """
    )

    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines(["*Reproduced * of 5*"])


def test_a_later_run_that_leaves_something_is_told_as_a_failure(explore) -> None:
    result = explore(
        """
        runs = []

        async def test_leaves_much():
            runs.append(1)
            await asyncio.gather(asyncio.sleep(0.01), asyncio.sleep(0.02))
            assert len(runs) < 3
        """
    )

    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines(["Fails in asyncio's own order, with nothing changed."])


@pytest.mark.parametrize("seconds", [0, 0.01])
def test_a_function_that_runs_once_is_no_failure(seconds: float) -> None:
    rows: set[str] = set()

    async def insert(name: str) -> None:
        await asyncio.sleep(seconds)
        if name in rows:
            raise KeyError(name)
        rows.add(name)

    async def program() -> None:
        await asyncio.gather(insert("ann"), insert("bob"))

    done = explore_function(program, runs=50)

    assert (done.verdict, done.failures, done.runs, done.fails_again) == ("inconclusive", [], 2, True)
    assert "passes once, and fails with KeyError" in str(done)
