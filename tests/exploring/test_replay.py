"""A failure is replayed exactly: from the printed command, in a fresh process, whatever its hash seed."""

from __future__ import annotations

import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

_LOSES_UPDATE = """
async def test_loses_update():
    state = {"n": 0}
    await lose_update(state)
    assert state["n"] == 2
"""
#: The tasks of a TaskGroup and of asyncio.wait are in sets: in which order they are cancelled decides.
_SET_ORDER = """
async def test_set_order():
    order = []
    async def wait(number):
        try:
            await asyncio.sleep(10)
        except asyncio.CancelledError:
            order.append(number)
            raise
    async def fail():
        await asyncio.sleep(1)
        raise LookupError
    async def call(seconds):
        await asyncio.sleep(seconds)
        return seconds
    try:
        async with asyncio.TaskGroup() as group:
            for number in range(8):
                group.create_task(wait(number))
            group.create_task(fail())
    except* LookupError:
        pass
    done, _ = await asyncio.wait([asyncio.create_task(call(seconds)) for seconds in (1, 1, 2, 1, 1)], timeout=1.5)
    slow = len(done) < 4
    assert not slow, f"{order} {[task.result() for task in done]}"
"""


_RARE = """
async def test_rare():
    order = []
    async def reply(number):
        await asyncio.sleep(0.01 * number)
    async def call(number):
        await reply(number)
        order.append(number)
    await asyncio.gather(*(call(number) for number in range(6)))
    assert order[-2:] != [3, 1]
"""


def _command(output: str) -> list[str]:
    found = re.search(r"^Replay it:\s+pytest (.*)$", output, re.MULTILINE)
    assert found is not None, output
    return [sys.executable, "-m", "pytest", *shlex.split(found[1])]


def _errors(output: str) -> list[str]:
    return [line for line in output.splitlines() if line.startswith("E  ")]


def _run(command: list[str], folder: Path, **environment: str) -> str:
    done = subprocess.run(
        command, cwd=folder, env={**os.environ, **environment}, capture_output=True, text=True, check=False
    )
    assert done.returncode == 1, done.stdout + done.stderr
    return done.stdout


def test_the_printed_command_fails_in_the_same_way(explore, pytester: pytest.Pytester) -> None:
    folder = pytester.mkdir("tests")
    (folder / "conftest.py").touch()
    first = explore(_LOSES_UPDATE, fresh=True).stdout.str()

    again = _run(_command(first), pytester.path)

    assert _errors(again) == _errors(first) == ["E       assert 1 == 2"]
    table = re.compile(r"^time .*?^Found in", re.MULTILINE | re.DOTALL)
    assert table.search(again)[0] == table.search(first)[0]
    assert "replayed from the token's ordering constraints" in again
    assert _command(again) == _command(first)


def test_a_failure_that_depends_on_the_order_of_task_sets(explore, pytester: pytest.Pytester) -> None:
    first = explore(_SET_ORDER).stdout.str()

    seen = {tuple(_errors(_run(_command(first), pytester.path, PYTHONHASHSEED=seed))) for seed in "12345"}

    assert seen == {tuple(_errors(first))}


def test_tokens_that_cannot_be_used_are_refused_in_one_line(explore) -> None:
    token = _command(explore(_LOSES_UPDATE).stdout.str())[-1]

    for wrong, line in [
        (
            "--interleave-replay=x1.AAA",
            "ERROR: --interleave-replay: the replay token 'x1.AAA' is damaged: paste it whole",
        ),
        ("--interleave-replay=x9.AAAA", "ERROR: --interleave-replay: the replay token is of format x9, *"),
        ("--interleave-replay=hello", "ERROR: --interleave-replay: 'hello' is not a replay token; *"),
    ]:
        result = explore(_LOSES_UPDATE, wrong)
        assert result.ret == pytest.ExitCode.USAGE_ERROR
        result.stderr.fnmatch_lines([line])
    result = explore(_LOSES_UPDATE.replace("test_loses", "test_other"), token)
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    result.stderr.fnmatch_lines(["ERROR: --interleave-replay: the token belongs to another test than those selected"])


def test_a_token_chooses_its_test_and_outlives_edits(explore) -> None:
    token = _command(explore(_LOSES_UPDATE).stdout.str())[-1]
    edited = "async def test_first(): pass\n" + _LOSES_UPDATE.replace(
        'state = {"n": 0}', 'state = {"n": 0, "more": 1}\n    await asyncio.sleep(0)'
    )

    result = explore(edited, token, flag=False)
    result.assert_outcomes(failed=1, deselected=1)
    result.stdout.fnmatch_lines(["replayed from the token's ordering constraints", "*Reproduced 5 of 5; *"])

    fixed = _LOSES_UPDATE.replace("lose_update(state)", 'asyncio.sleep(0)\n    state["n"] = 2')
    result = explore(fixed, token, flag=False)
    result.assert_outcomes(passed=1)
    result.stdout.fnmatch_lines(["*: replayed from the token's ordering constraints, and it does not fail any more"])


def test_a_seed_repeats_the_search(explore, tmp_path: Path) -> None:
    found = set()
    for _ in range(2):
        explore(
            _RARE,
            "--interleave-seed=4",
            "--interleave-runs=2000",
            f"--interleave-json={tmp_path / 'out.json'}",
        )
        text = re.sub(r'"seconds": [\d.]+', "", (tmp_path / "out.json").read_text())
        assert '"outcome": "failed"' in text
        found.add(text)

    assert len(found) == 1


def test_failures_are_kept_and_tried_first(explore, pytester: pytest.Pytester) -> None:
    for options in ((), ("--lf",), ("-n1",)):
        result = explore(
            _RARE,
            "--interleave-runs=2000",
            *options,
            cache=True,
        )
        result.assert_outcomes(failed=1)

    result.stdout.fnmatch_lines(["Found in run ? of ?;*"])
