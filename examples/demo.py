"""The main job on the examples: all tests as they are, then the one with a race under many schedules.

The second part is meant to fail: its failure is what the demonstration shows. Run it by ``make demo``.
"""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

EXAMPLES = Path(__file__).parent
RACE = "events/tests/test_booking.py::test_the_last_seat_is_sold_once"


def run_pytest(*arguments: str) -> int:
    """Run pytest in this folder, show what it prints, and return its exit code."""
    print(f"\n$ pytest {' '.join(arguments)}\n", flush=True)
    command = [sys.executable, "-m", "pytest", "-p", "no:cacheprovider", *arguments]
    return subprocess.run(command, cwd=EXAMPLES).returncode


def main() -> int:
    """Return 0 if both parts did what they should."""
    if run_pytest("events"):
        print("\nThe examples should pass as they are, and they do not.")
        return 1
    if run_pytest("--interleave", "--interleave-runs=1000", "--interleave-seed=9", RACE) != 1:
        print("\nThe lost update should have been found, and it was not.")
        return 1
    print(
        "\nThat failure is the demonstration, so this is a success: the test passes every time under plain pytest, and"
        "\n--interleave shows how two bookings sell the same seat. examples/README.md says where the bug is. To replay"
        f"\nit, activate {Path(sys.prefix).name}, go to {EXAMPLES.name}/ and paste the line above."
    )
    return 0


if __name__ == "__main__":
    sys.exit(main())
