"""The README's example runs, and prints what the page says."""

import re
from pathlib import Path

import pytest

README = Path(__file__).parents[2].joinpath("README.md").read_text()


def blocks(language: str) -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", README, flags=re.DOTALL)


def test_the_example_passes_plainly_and_fails_under_exploration_as_shown(pytester: pytest.Pytester) -> None:
    pytester.makepyfile(test_seats=blocks("python")[0])
    shown = [line.rstrip() for line in blocks("text")[0].splitlines()]

    plain = pytester.runpytest_subprocess("-p", "no:cacheprovider")
    explored = pytester.runpytest_subprocess("-p", "no:cacheprovider", "--interleave", "--interleave-seed=1")

    plain.assert_outcomes(passed=1)
    explored.assert_outcomes(failed=1)
    printed = [line.rstrip() for line in explored.outlines]
    start = printed.index(shown[0])
    # Line numbers differ by the comment with the file's name, which pytester's file has too.
    assert printed[start : start + len(shown)] == shown


def test_the_replay_command_of_the_report_fails_in_the_same_way(pytester: pytest.Pytester) -> None:
    pytester.makepyfile(test_seats=blocks("python")[0])
    explored = pytester.runpytest_subprocess("-p", "no:cacheprovider", "--interleave")
    command = next(line for line in explored.outlines if line.startswith("Replay it:")).split()[3:]

    replayed = pytester.runpytest_subprocess("-p", "no:cacheprovider", *command)

    replayed.assert_outcomes(failed=1)
    replayed.stdout.fnmatch_lines(["E  *assert 2 == 1", "Fails if the sleep of 0.05 s*"])
