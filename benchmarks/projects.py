"""Write test suites to measure: many empty tests, so that what is left is the machinery around them."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from pathlib import Path

from benchmarks.environments import ROOT
from benchmarks.errors import UnmeasuredError


@dataclass(frozen=True)
class Project:
    """A suite of ``tests`` equal tests in ``files`` files."""

    tests: int
    is_async: bool
    files: int = 20
    arguments: tuple[str, ...] = ()
    ini: dict[str, str] = field(default_factory=dict)
    conftest: str = ""

    def write_to(self, folder: Path) -> None:
        """Create ``folder`` with pytest.ini, conftest.py and the test files; its sessions say what a file took."""
        folder.mkdir(parents=True)
        settings = "".join(f"{name} = {value}\n" for name, value in self.ini.items())
        (folder / "pytest.ini").write_text(f"[pytest]\npythonpath = {ROOT}\n{settings}")
        (folder / "conftest.py").write_text(
            f"from benchmarks.programs.file_times import *  # noqa: F403\n\n{self.conftest}"
        )
        for number in range(self.files):
            (folder / f"test_{number:02}.py").write_text(self._source())

    def cost_of_a_test(self, output: str) -> float:
        """Return the CPU seconds of a test in the cheapest file, as the session's output says them."""
        summary = output.rstrip().rpartition("\n")[2]
        if not summary.startswith(f"{self.tests} passed"):
            raise UnmeasuredError(f"expected {self.tests} passed, got: {summary}")
        least = re.search(r"^least file: ([\d.]+) s$", output, re.MULTILINE)
        if least is None:
            raise UnmeasuredError("the session did not say what a file took")
        return float(least[1]) / (self.tests // self.files)

    def _source(self) -> str:
        define = "async def" if self.is_async else "def"
        arguments = ", ".join(self.arguments)
        tests = (f"{define} test_{number:03}({arguments}):\n    pass\n" for number in range(self.tests // self.files))
        return "\n\n".join(tests)
