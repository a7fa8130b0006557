"""Where a suspended coroutine stands."""

from __future__ import annotations

from types import FrameType
from typing import Any

from pytest_interleave.loop.host import InContext

_MOST = 20
_STEPPED = InContext.__await__.__code__


def frames_of(coroutine: Any) -> list[FrameType]:
    """Return the frames of a suspended coroutine, outermost first."""
    frames: list[FrameType] = []
    while coroutine is not None and len(frames) < _MOST:
        frame = (
            getattr(coroutine, "cr_frame", None)
            or getattr(coroutine, "gi_frame", None)
            or getattr(coroutine, "ag_frame", None)
        )
        if frame is None:
            break
        frames.append(frame)
        if frame.f_code is _STEPPED:  # it steps what it waits for by hand
            coroutine = frame.f_locals["steps"]
            continue
        coroutine = getattr(coroutine, "cr_await", None) or getattr(coroutine, "gi_yieldfrom", None)
    return frames
