"""Where a suspended coroutine stands."""

from __future__ import annotations

from itertools import islice
from types import FrameType
from typing import Any

from pytest_interleave.loop.frames import frames_from

_MOST = 20


def frames_of(coroutine: Any) -> list[FrameType]:
    """Return the frames of a suspended coroutine, outermost first."""
    return [frame for frame, _ in islice(frames_from(coroutine), _MOST)]
