"""Run a command and learn what it cost."""

from __future__ import annotations

import os
import re
import subprocess
import tempfile
import threading
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from benchmarks.errors import UnmeasuredError

# What the caller's shell holds for its own Pythons and plugins must not reach the measured ones.
FOREIGN_VARIABLES = ("PYTHON", "PYTEST", "INTERLEAVE", "DETANGLE", "SIMLOOP", "SIMLOOM", "COVERAGE")


@dataclass(frozen=True)
class Finished:
    """A child that ended with status 0."""

    cpu_seconds: float
    output: str

    def require(self, summary: str) -> None:
        """Raise `UnmeasuredError` unless the last line, as of a pytest session, begins so."""
        last = self.output.rstrip().rpartition("\n")[2]
        if not last.startswith(summary):
            raise UnmeasuredError(f"expected {summary}, got: {last}")

    def said(self, what: str) -> float:
        """Return the seconds that a line of the output says of it: ``what: 0.1 s``."""
        found = re.search(rf"^{what}: ([\d.]+) s$", self.output, re.MULTILINE)
        if found is None:
            raise UnmeasuredError(f"the child did not say what it took: {what}")
        return float(found[1])


def run(command: Sequence[str | Path], *, cwd: Path, timeout_seconds: float = 900) -> Finished:
    """Run ``command`` to its end and return its output and the CPU time, user and system, of its whole process.

    The time comes from ``wait4``: all threads, and the grandchildren that the child itself waited for.
    """
    with tempfile.TemporaryFile("w+", errors="replace") as output:
        child = subprocess.Popen(
            [str(part) for part in command],
            cwd=cwd,
            env=_environment(),
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
        )
        killer = threading.Timer(timeout_seconds, child.kill)
        killer.start()
        try:
            _, status, usage = os.wait4(child.pid, 0)
        except BaseException:
            child.kill()
            raise
        finally:
            killer.cancel()
        child.returncode = os.waitstatus_to_exitcode(status)
        output.seek(0)
        text = output.read()
    if child.returncode:
        raise UnmeasuredError(_gist(child.returncode, text, timeout_seconds))
    return Finished(usage.ru_utime + usage.ru_stime, text)


def _environment() -> dict[str, str]:
    inherited = {name: value for name, value in os.environ.items() if not name.startswith(FOREIGN_VARIABLES)}
    # One layout of sets and dicts for every child: hash order alone moves a run by some per cent.
    # And room for pytest to say why a test failed: the note under a table quotes it.
    return inherited | {"PYTHONHASHSEED": "0", "COLUMNS": "200"}


def _gist(status: int, output: str, timeout_seconds: float) -> str:
    """Return the one line of a failed child's output that says most."""
    if status == -9:
        return f"killed, perhaps after the {timeout_seconds:g} s allowed"
    telling = re.findall(r"\b(?:\w*Error|error): .*", output)
    lines = [line for line in output.splitlines() if line.strip()]
    return (telling or lines or [f"exit status {status}"])[-1].strip()[:160]
