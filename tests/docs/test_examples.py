"""The demonstration shows what it says, and what the examples' README says of --interleave is so."""

from __future__ import annotations

import subprocess
import sys

from docs.pages import REPOSITORY

EXAMPLES = REPOSITORY / "examples"
RACE = "events/tests/test_booking.py::test_the_last_seat_is_sold_once"


def test_the_demonstration_ends_well_and_its_last_line_replays_the_failure() -> None:
    shown = subprocess.run(
        [sys.executable, str(EXAMPLES / "demo.py")], capture_output=True, text=True, cwd=REPOSITORY, timeout=500
    )

    assert shown.returncode == 0, shown.stdout + shown.stderr
    assert shown.stderr == ""
    assert "\nOK: all parts did what they should" in shown.stdout
    assert "more orders differ" not in shown.stdout

    replayed = subprocess.run(shown.stdout.splitlines()[-1], shell=True, capture_output=True, text=True, cwd=REPOSITORY)

    assert replayed.returncode == 1
    assert "assert [201, 201] == [201, 409]" in replayed.stdout


def test_exploring_finds_nothing_wrong_with_the_other_examples() -> None:
    options = ["-q", "-p", "no:cacheprovider", "--interleave", "--interleave-runs=5", "--interleave-time=60"]
    explored = subprocess.run(
        [sys.executable, "-m", "pytest", *options, f"--deselect={RACE}", "events"],
        capture_output=True,
        text=True,
        cwd=EXAMPLES,
    )

    assert explored.returncode == 0, explored.stdout
    assert "explored in" in explored.stdout
