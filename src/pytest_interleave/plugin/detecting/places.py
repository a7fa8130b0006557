"""Tell Python's own lines, ours and those of installed packages from the user's."""

from __future__ import annotations

import os
from pathlib import Path

#: The folder of this package.
PACKAGE = str(Path(__file__).parents[2])
_LIBRARY = os.path.dirname(os.__file__)
_SITE = os.path.join(_LIBRARY, "site-packages")


def is_library(path: str) -> bool:
    """Whether the file belongs to Python's standard library."""
    return path.startswith((_LIBRARY, "<frozen")) and not path.startswith(_SITE)


def is_outside_of_python(path: str) -> bool:
    """Whether the file belongs neither to Python's standard library nor to us."""
    return not is_library(path) and not path.startswith(PACKAGE)


def is_installed(path: str) -> bool:
    """Whether the file belongs to an installed package."""
    return "site-packages" in path or "dist-packages" in path
