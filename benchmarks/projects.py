"""Write test suites to measure: many empty tests, so that what is left is the machinery around them."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

from benchmarks.children import Finished
from benchmarks.environments import ROOT


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

    def cost_of_a_test(self, session: Finished) -> float:
        """Return the CPU seconds of a test in the cheapest file, as the session says them."""
        session.require(f"{self.tests} passed")
        return session.said("least file") / (self.tests // self.files)

    def _source(self) -> str:
        define = "async def" if self.is_async else "def"
        arguments = ", ".join(self.arguments)
        tests = (f"{define} test_{number:03}({arguments}):\n    pass\n" for number in range(self.tests // self.files))
        return "\n\n".join(tests)
