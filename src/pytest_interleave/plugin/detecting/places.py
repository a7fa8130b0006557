"""Tell Python's own lines from the user's."""

from __future__ import annotations

import os

_LIBRARY = os.path.dirname(os.__file__)
_SITE = os.path.join(_LIBRARY, "site-packages")


def is_library(path: str) -> bool:
    """Whether the file belongs to Python's standard library."""
    return path.startswith((_LIBRARY, "<frozen")) and not path.startswith(_SITE)
