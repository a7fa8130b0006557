"""Run what the pages on moving show as "before", against the libraries that one moves from.

``python -m benchmarks.moving``. They are no part of the test suite's environment: aioresponses needs an aiohttp before
3.14, and a plugin that replaces httpx's transport has no business in our own tests.
"""

from __future__ import annotations

import re
import subprocess
import sys
import tempfile
import venv
from pathlib import Path

PAGES = ("from-aioresponses.md", "from-respx.md")
PINS = (
    "aiohttp==3.13.2",
    "aioresponses==0.7.9",
    "httpx==0.28.1",
    "pytest-asyncio==1.5.0",
    "pytest-httpx==0.36.2",
    "respx==0.23.1",
)
_FILE = re.compile(r"^```(?:py|python)\n(# (\w+\.py)\n.*?)^```$", re.MULTILINE | re.DOTALL)
_DOCS = Path(__file__).parents[1] / "docs"


def main() -> int:
    """Return what pytest returns."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        venv.create(folder / "venv", with_pip=True)
        python = str(folder / "venv" / "bin" / "python")
        subprocess.run([python, "-m", "pip", "install", "--quiet", *PINS], check=True)
        for page in PAGES:
            for text, file_name in _FILE.findall((_DOCS / page).read_text()):
                if file_name.startswith("test_before") or not file_name.startswith("test_"):
                    (folder / file_name).write_text(text)
        tests = sorted(path.name for path in folder.glob("test_before*.py"))
        return subprocess.run([python, "-m", "pytest", "-v", *tests], cwd=folder).returncode


if __name__ == "__main__":
    sys.exit(main())
