"""What libraries keep for each loop: a loop that begins a run from nothing must not find that of the last one.

anyio's ``RunVar`` holds idle worker threads and processes so; those of an earlier run are dead.
"""

from __future__ import annotations

import asyncio
import sys
from typing import Any


def forget(loop: asyncio.AbstractEventLoop) -> None:
    """Drop what anyio keeps for the loop, if anyio is in use."""
    lowlevel: Any = sys.modules.get("anyio.lowlevel")
    if lowlevel is None:
        return
    kept = getattr(lowlevel, "_run_vars", None)
    if kept is not None:
        kept.pop(loop, None)
