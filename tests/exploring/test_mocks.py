"""Mocks that answer at once leave nothing to explore; asked for, they take time."""

from __future__ import annotations

import asyncio
import re
from typing import Any
from unittest.mock import AsyncMock

import pytest

from pytest_interleave import explore as explore_function

SIGN_UP = """
from unittest.mock import AsyncMock

class SignUp:
    def __init__(self, users, mailer):
        self.users, self.mailer = users, mailer

    async def run(self, name):
        if await self.users.find(name) is not None:
            return False
        await self.users.add(name)
        await self.mailer.send(name)
        return True

@pytest.fixture
def users():
    known = {}
    users = AsyncMock()
    users.find.side_effect = known.get
    users.add.side_effect = lambda name: known.setdefault(name, True)
    return users

async def test_a_name_is_given_once(users):
    sign_up = SignUp(users, AsyncMock())
    assert sorted(await asyncio.gather(sign_up.run("ada"), sign_up.run("ada"))) == [False, True]

async def test_a_mail_is_sent(users):
    mailer = AsyncMock()
    assert await SignUp(users, mailer).run("ada")
    mailer.send.assert_awaited_once_with("ada")
"""


def test_the_summary_says_that_mocks_answer_at_once_and_what_helps(explore: Any) -> None:
    result = explore(
        SIGN_UP
        + """
async def test_without_mocks():
    await asyncio.sleep(0)
""",
        "--interleave-order-only=off",
        "-k",
        "mail or without",
        "-v",
    )

    result.assert_outcomes(passed=2, deselected=1)
    result.stdout.fnmatch_lines(
        [
            "*::test_a_mail_is_sent: nothing to explore: 0 suspension points; its AsyncMocks answer at once, "
            "--interleave-mocks lets them take time",
            "*::test_without_mocks: nothing to explore: 1 suspension point, none that could end in another order",
            "2 had nothing to explore in 4 runs, * s (1 of them: their AsyncMocks answer at once, "
            "--interleave-mocks lets them take time)",
        ]
    )


@pytest.mark.parametrize("how", ["flag", "ini", "mark"])
def test_a_lost_update_between_mocks_is_found_once_they_take_time(explore: Any, how: str) -> None:
    source, flags, ini = SIGN_UP, ["--interleave-seed=1"], ""
    if how == "flag":
        flags += ["--interleave-mocks"]
    elif how == "ini":
        ini = "interleave_mocks = true"
    else:
        source = source.replace("async def test_a_name", "@pytest.mark.interleave(mocks=True)\nasync def test_a_name")

    result = explore(source, *flags, ini=ini)

    result.assert_outcomes(passed=1, failed=1)
    result.stdout.fnmatch_lines(
        [
            "Fails if `await self.users.find(name)` (test_it.py:*, task run #1) takes time.",
            "latency: asyncio can do this, when the timing falls so. Reproduced 5 of 5.",
            "*◂ late*",
            "*─ outside work of 0.01 s ends",
            "Replay it: *" + (" --interleave-mocks*" if how == "flag" else ""),
        ]
    )


def test_the_replay_command_fails_in_the_same_way(explore: Any) -> None:
    found = explore(SIGN_UP, "--interleave-mocks", "--interleave-seed=1")
    command = re.search(r"Replay it:  pytest (\S+) (\S+) (--interleave-mocks)", found.stdout.str())
    assert command is not None

    again = explore(SIGN_UP, *command.groups(), flag=False)

    again.assert_outcomes(failed=1)
    again.stdout.fnmatch_lines(["Fails if `await self.users.find(name)` (test_it.py:*, task run #1) takes time."])


def test_a_late_answer_has_had_its_effect_and_may_be_an_error_or_a_task_of_its_own(explore: Any) -> None:
    result = explore(
        """
        from unittest.mock import AsyncMock, create_autospec

        class Gate:
            async def open(self, name): ...

        async def test_calls_are_counted_in_their_order():
            numbers = iter(range(10))
            ask = AsyncMock(side_effect=lambda: next(numbers))
            assert await asyncio.gather(ask(), ask(), ask()) == [0, 1, 2]

        async def test_an_error_is_the_mocks_own():
            broken = AsyncMock(side_effect=ValueError("no"))
            with pytest.raises(ValueError, match="no"):
                await asyncio.wait_for(broken(), 1)
            assert broken.await_count == 1

        async def test_a_spec_holds():
            gate = create_autospec(Gate)(), create_autospec(Gate)()
            await asyncio.gather(*(each.open("left") for each in gate))
            for each in gate:
                each.open.assert_awaited_once_with("left")
                with pytest.raises(TypeError):
                    each.open()
        """,
        "--interleave-mocks",
        "--interleave-runs=60",
    )

    result.assert_outcomes(passed=3)


def test_mocks_are_as_they_were_after_an_explored_test_and_in_the_mode_stock(explore: Any) -> None:
    result = explore(
        SIGN_UP
        + """
@pytest.mark.interleave(mode="stock")
async def test_stock(users):
    sign_up = SignUp(users, AsyncMock())
    assert sorted(await asyncio.gather(sign_up.run("ada"), sign_up.run("ada"))) == [False, True]

def test_no_trace_is_left():
    assert "_execute_mock_call" not in vars(AsyncMock)
""",
        "--interleave-mocks",
        "-k",
        "stock or mail or trace",
    )

    result.assert_outcomes(passed=3, deselected=1)


def test_explore_lets_mocks_take_time_if_it_is_told_to() -> None:
    async def one_after_the_other() -> None:
        ask, ended = AsyncMock(), []

        async def call(name: str) -> None:
            await ask(name)
            ended.append(name)

        await asyncio.gather(call("first"), call("second"))
        assert ended == ["first", "second"]

    [failure] = explore_function(one_after_the_other, seed=1, mocks=True).failures

    assert failure.label == "latency"
    assert failure.reproduced == 5
    assert explore_function(one_after_the_other, seed=1).failures == []
