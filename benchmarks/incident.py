"""``python -m benchmarks.incident``: is the bug of CVE-2023-28859 found in redis-py 4.5.3, and 4.5.5 left in peace?

The test has one ``interrupt`` in it, and no sleep. Each release has an environment of its own, as the benchmarks have.
"""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from benchmarks.environments import HERE, ROOT, Environment, python_of
from benchmarks.errors import BenchmarkError
from benchmarks.interpreters import find_interpreter

TEST = HERE / "programs" / "redis_incident.py"
OPTIONS = ("-p", "no:cacheprovider", "--interleave", "--interleave-seed=1")
EXPECTED = {"redis-4.5.3": "1 failed", "redis-4.5.5": "1 passed"}


def main() -> int:
    """Explore the test with both releases; 0 if one fails and the other passes."""
    interpreter = find_interpreter(sys.argv[1] if len(sys.argv) > 1 else "3.11")
    is_right = True
    for name, expected in EXPECTED.items():
        python = python_of(Environment(name, is_ours=True), interpreter)
        command: list[str | Path] = [
            python,
            "-m",
            "pytest",
            "-q",
            "-c",
            "/dev/null",
            f"--rootdir={TEST.parent}",
            *OPTIONS,
            TEST,
        ]
        output = subprocess.run(command, cwd=ROOT, capture_output=True, text=True).stdout
        is_right = is_right and output.rstrip().rpartition("\n")[2].startswith(expected)
        print(f"{name}, expected: {expected}\n\n{output}", flush=True)
    return 0 if is_right else 1


if __name__ == "__main__":
    try:
        sys.exit(main())
    except BenchmarkError as error:
        sys.exit(str(error))
