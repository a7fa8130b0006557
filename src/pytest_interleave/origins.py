"""Whose a line of source is: the user's, an installed package's, Python's or ours."""

from __future__ import annotations

import os
import sys
import sysconfig
from collections.abc import Iterator
from functools import cache
from pathlib import Path, PurePath
from types import FrameType
from typing import NamedTuple

_CYTHON = (".pyx", ".pxi", ".pxd")
#: The folder of this package.
PACKAGE = os.path.dirname(__file__)
_STDLIB = tuple({sysconfig.get_path("stdlib"), sysconfig.get_path("platstdlib")})
_TYPED_IN = ("<stdin>", "<python-input", "<ipython-input", "<doctest")
INSTALLED = ("site-packages", "dist-packages")


@cache
def rank(filename: str) -> int:
    """Return 2 for the user's own files, 1 for installed packages, 0 for the standard library and for us."""
    if filename.startswith((PACKAGE, "<frozen")) or (filename.startswith("<") and not filename.startswith(_TYPED_IN)):
        return 0
    if filename.endswith(_CYTHON) and not os.path.isabs(filename):
        return 1  # where it was when the package was built
    if any(part in INSTALLED for part in PurePath(filename).parts) or _is_in_target(Path(filename)):
        return 1
    return 0 if filename.startswith(_STDLIB) else 2


def _is_in_target(file: Path) -> bool:
    """Whether an installer put the file where it is: ``pip install --target``, a layer of a container or a lambda."""
    on_path = [folder for folder in file.parents if str(folder) in sys.path]
    return any(file.relative_to(folder).parts[0] in _installed_in(folder) for folder in on_path)


@cache
def _installed_in(folder: Path) -> frozenset[str]:
    """Return what installers put into the folder, by the first part of its path; the user's own may stand beside it."""
    records = [record.read_text(errors="replace") for record in folder.glob("*.dist-info/RECORD")]
    return frozenset(line.partition("/")[0].partition(",")[0] for text in records for line in text.splitlines())


def look_at_path() -> None:
    """Read now what is asked of ``sys.path``: later a loop may run, in which nobody should read files."""
    for entry in sys.path:
        if not entry.endswith(INSTALLED) and entry not in _STDLIB:
            _installed_in(Path(entry))


@cache
def is_of_python(filename: str) -> bool:
    """Whether the file belongs to Python's standard library."""
    return rank(filename) == 0 and not filename.startswith(PACKAGE)


class Line(NamedTuple):
    """A line that runs: in which file, its number, in which function, and the file's rank."""

    path: str
    number: int
    function: str
    rank: int

    @property
    def where(self) -> str:
        """``path:line``."""
        return f"{self.path}:{self.number}"


def lines_from(frame: FrameType | None) -> Iterator[Line]:
    """Yield the lines on the stack that are neither Python's nor ours, innermost first."""
    while frame is not None:
        code = frame.f_code
        own = rank(code.co_filename)
        if own:
            yield Line(code.co_filename, frame.f_lineno, code.co_qualname, own)
        frame = frame.f_back
