"""The documentation as something to run: a page's files, its commands, and what it says that they print.

- A ``python`` or ``ini`` block begins with a comment that names its file: ``# test_seats.py``.
- In a ``console`` block, lines of ``$ pytest …`` and ``$ python …`` are run, in a folder with the page's files so far.
- A ``text`` block right behind a ``console`` block is what those commands print: its lines must be there, in that order
  and next to each other, but for lines that are nothing but ``…``, which stand for any lines.

``--interleave`` without a seed gets one here, so that a page shows the same every time.
"""

from __future__ import annotations

import os
import re
import shlex
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

from sessions import run_pytest

REPOSITORY = Path(__file__).parents[2]
PAGES = [REPOSITORY / "README.md", *sorted((REPOSITORY / "docs").glob("*.md"))]
_BLOCK = re.compile(r"^```(\w+)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
_GAP = "…"


@dataclass(frozen=True)
class Block:
    """A fenced block of a page."""

    language: str
    text: str
    line: int

    @property
    def file_name(self) -> str | None:
        """Return the name in its first line, if it is a file."""
        match = re.match(r"# ([\w/]+\.\w+)\n", self.text)
        return match[1] if match and self.language in ("python", "ini") else None

    @property
    def commands(self) -> list[list[str]]:
        """Return what of it can be run here."""
        if self.language != "console":
            return []
        lines = [shlex.split(line[2:], comments=True) for line in self.text.splitlines() if line.startswith("$ ")]
        return [words for words in lines if words[0] in ("pytest", "python")]


def read_blocks(page: Path) -> list[Block]:
    """Return the blocks of a page, in order."""
    text = page.read_text()
    return [Block(m[1], m[2], text.count("\n", 0, m.start()) + 1) for m in _BLOCK.finditer(text)]


def run(words: list[str], folder: Path) -> str:
    """Run a command of a page; return what it prints."""
    program, *arguments = words
    if program == "pytest":
        arguments = ["-p", "no:cacheprovider", *arguments]
        if "--interleave" in arguments and not any("--interleave-seed" in word for word in arguments):
            arguments.append("--interleave-seed=1")
    environment = {**os.environ, "COLUMNS": "80", "PYTHONDONTWRITEBYTECODE": "1"}
    for name in [name for name in environment if name.startswith("PYTEST_")]:
        del environment[name]
    if program == "pytest":
        _, output, errors = run_pytest(arguments, folder, environment, timeout=120)
        return output + errors
    done = subprocess.run(
        [sys.executable, *arguments],
        cwd=folder,
        env=environment,
        text=True,
        timeout=120,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
    )
    return done.stdout


def find_missing(shown: str, printed: str) -> str | None:
    """Return the first part of what a page shows that was not printed; None if it shows the truth."""
    lines = [line.rstrip() for line in printed.splitlines()]
    start = 0
    for part in _parts(shown):
        for index in range(start, len(lines) - len(part) + 1):
            if lines[index : index + len(part)] == part:
                start = index + len(part)
                break
        else:
            return "\n".join(part)
    return None


def _parts(shown: str) -> list[list[str]]:
    parts: list[list[str]] = [[]]
    for line in shown.splitlines():
        if line.strip() == _GAP:
            parts.append([])
        else:
            parts[-1].append(line.rstrip())
    return [part for part in parts if part]
