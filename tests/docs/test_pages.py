"""The pages' programs run as they stand, and do what the page says."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

DOCS = Path(__file__).parents[2] / "docs"


@pytest.mark.parametrize("page", ["without-pytest.md"])
def test_the_programs_of_a_page_run(page: str, tmp_path: Path) -> None:
    programs = re.findall(r"```python\n(.*?)```", (DOCS / page).read_text(), flags=re.DOTALL)
    assert programs
    for program in programs:
        path = tmp_path / "program.py"
        path.write_text(program)

        done = subprocess.run([sys.executable, path], capture_output=True, text=True, timeout=60)

        assert done.returncode == 0, done.stderr
        assert "Fails if the sleep of 0.05 s" in done.stdout


def test_the_reference_names_every_flag(pytester: pytest.Pytester) -> None:
    text = (DOCS / "reference.md").read_text()
    flags = set(re.findall(r"--(?:interleave|asyncio)[a-z-]*", pytester.runpytest("--help").stdout.str()))

    assert {flag for flag in flags if flag not in text} == set()
