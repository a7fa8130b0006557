"""Run what the pages on moving show as "before", against the libraries that one moves from.

``python -m benchmarks.moving``. They are no part of the test suite's environment: aioresponses needs an aiohttp before
3.14, and a plugin that replaces httpx's transport has no business in our own tests.
"""

from __future__ import annotations

import re
import subprocess
import sys
import tempfile
from pathlib import Path

from benchmarks.environments import ROOT, Environment, python_of
from benchmarks.errors import BenchmarkError
from benchmarks.interpreters import find_interpreter

PAGES = ("from-aioresponses.md", "from-respx.md")
_FILE = re.compile(r"^```(?:py|python)\n(# (\w+\.py)\n.*?)^```$", re.MULTILINE | re.DOTALL)
_DOCS = ROOT / "docs"


def main() -> int:
    """Return what pytest returns."""
    python = python_of(Environment("moving"), find_interpreter("3.11"))
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        for page in PAGES:
            for text, file_name in _FILE.findall((_DOCS / page).read_text()):
                if file_name.startswith("test_before") or not file_name.startswith("test_"):
                    (folder / file_name).write_text(text)
        tests = sorted(path.name for path in folder.glob("test_before*.py"))
        return subprocess.run([python, "-m", "pytest", "-v", *tests], cwd=folder).returncode


if __name__ == "__main__":
    try:
        sys.exit(main())
    except BenchmarkError as error:
        sys.exit(str(error))
