"""The examples, part by part: what each shows, its command, and what pytest prints. Run it by ``make demo``.

Two parts are meant to fail: the failure is what they show.
"""

from __future__ import annotations

import json
import os
import shlex
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from textwrap import fill
from time import monotonic

EXAMPLES = Path(__file__).parent
RACE = "events/tests/test_booking.py::test_the_last_seat_is_sold_once"
EXPLORING = ["--interleave", "--interleave-runs=200", "--interleave-time=60", "--interleave-seed=9"]
WIDTH = 100
ABOUT = (
    "examples/events is a web service on aiohttp. It joins three upstream APIs into a page, scrapes web sites, and "
    "sells tickets. Client, server and loop are the real ones in all of its tests."
)


@dataclass(frozen=True)
class Part:
    """A run of pytest, and what it shows; ``is_to_fail``: by failing."""

    shows: str
    arguments: Sequence[str]
    is_to_fail: bool = False


BEFORE = [
    Part(
        "Async tests run, in every style: a loop driven by hand, the mark, auto mode, classes, parameters, Hypothesis.",
        ["-q", "events"],
    ),
    Part(
        "Other hosts are there by name. `mock_session` is a real client session, and a test says what each host "
        "answers; of the service's upstreams one is two seconds away and one refuses connections. Nothing waits for "
        "real.",
        ["-v", "--no-header", "events/tests/test_mocked.py", "events/tests/test_outages.py"],
    ),
    Part(
        "Concurrency is proved: this test fails unless a page asks its three upstreams at once.",
        ["-q", "-rP", "events/tests/test_outages.py::test_a_page_asks_its_three_upstreams_at_once"],
    ),
    Part(
        "Load is a function call: half a minute of visitors, the same ones each time. For five seconds the weather API "
        "is silent, which costs each of them its budget of half a second and no more.",
        ["-q", "-rP", "events/tests/test_load.py::test_a_silent_weather_api_costs_its_budget_and_no_more"],
    ),
    Part(
        "One of the tests that passed in part 1 lies. Two customers want the last seat; --interleave moves what "
        "production moves, when data arrives, until both of them get it.",
        [*EXPLORING, "--no-header", "--tb=short", RACE],
        is_to_fail=True,
    ),
]


def after(token: str) -> list[Part]:
    """Return what can be shown once the failure was found."""
    return [
        Part(
            "Exactly that schedule again, by the token that was printed: with it the test fails every time.",
            ["-q", "--tb=no", f"--interleave-replay={token}", RACE],
            is_to_fail=True,
        ),
        Part(
            "The repair, a lock around the sale, explored in the same way: nothing breaks it.",
            ["-q", *EXPLORING, f"{RACE}_under_the_lock"],
        ),
    ]


def main() -> int:
    """Return 0 if every part did what it should."""
    started = monotonic()
    count = len(BEFORE) + len(after(""))
    print(fill(ABOUT, WIDTH))
    with tempfile.TemporaryDirectory() as folder:
        found = Path(folder) / "explored.json"
        for number, part in enumerate(BEFORE, start=1):
            if not show(part, number, count, hidden=[f"--interleave-json={found}"]):
                return 1
        token = json.loads(found.read_text())["tests"][0]["token"]
    for number, part in enumerate(after(token), start=len(BEFORE) + 1):
        if not show(part, number, count):
            return 1
    print_end(token, monotonic() - started)
    return 0


def show(part: Part, number: int, count: int, hidden: Sequence[str] = ()) -> bool:
    """Show what the part shows, and return whether it did."""
    print(f"\n{f'── {number} of {count} ':─<{WIDTH}}\n\n{fill(part.shows, WIDTH)}\n")
    print(f"$ pytest {shlex.join(part.arguments)}\n", flush=True)
    command = [sys.executable, "-m", "pytest", "-p", "no:cacheprovider", *hidden, *part.arguments]
    code = subprocess.run(command, cwd=EXAMPLES, env=os.environ | {"COLUMNS": str(WIDTH)}).returncode
    if code == int(part.is_to_fail):
        return True
    expected = "fail, since that is what it shows" if part.is_to_fail else "pass"
    print(f"\nPart {number} should {expected}, and did not: pytest ended with exit code {code}.")
    return False


def print_end(token: str, seconds: float) -> None:
    """Print what came of it all, and what to do next."""
    pytest = os.path.relpath(Path(sys.executable).with_name("pytest"), EXAMPLES)
    print(
        f"\n{'── the end ':─<{WIDTH}}\n\n"
        f"OK: all parts did what they should, in {seconds:.0f} seconds; the test of parts 5 and 6 was to fail.\n"
        "examples/README.md says where its bug is. To replay it from here:\n\n"
        f"  cd {EXAMPLES.name} && {pytest} {RACE} --interleave-replay={token}"
    )


if __name__ == "__main__":
    sys.exit(main())
