"""Lines of source as values, and which of a task's lines a person wants to read: their own, if there is one."""

from __future__ import annotations

import linecache
from collections.abc import Iterable
from functools import cache
from types import CodeType, FrameType, TracebackType
from typing import Any

from pytest_interleave.loop.accesses import accesses
from pytest_interleave.loop.frames import frames
from pytest_interleave.origins import rank
from pytest_interleave.trace import Place


def place(code: CodeType, line: int, offset: int = -1) -> Place:
    """Return the line as a value; ``offset`` is that of the instruction at which the frame stands."""
    return _place(code.co_filename, code, line, offset)


@cache
def _place(file: str, code: CodeType, line: int, offset: int) -> Place:
    # By its file too: two codes are equal if they do the same at the same line, whatever file they are of.
    text = linecache.getline(file, line).strip()
    awaited = _awaited(code, offset) if offset >= 0 else ""
    local = set(code.co_varnames) - set(code.co_cellvars) - set(code.co_freevars)
    reads, writes = accesses(text, local.__contains__)
    return Place(file, line, code.co_name, text, awaited, reads, writes, rank(file))


def _awaited(code: CodeType, offset: int) -> str:
    """Return the ``await …`` at that instruction, on one line; nothing for ``async with`` and ``async for``."""
    text = expression(code, offset)
    return text if text.startswith("await") else ""


def expression(code: CodeType, offset: int) -> str:
    """Return the source of the expression at that instruction, on one line."""
    positions = list(code.co_positions())[offset // 2 : offset // 2 + 1]
    if not positions:
        return ""
    first, last, start, end = positions[0]
    if first is None or last is None or start is None or end is None:
        return ""
    lines = [linecache.getline(code.co_filename, number).encode() for number in range(first, last + 1)]
    if not lines or not lines[0]:
        return ""
    lines[-1] = lines[-1][:end]  # columns count bytes of UTF-8
    lines[0] = lines[0][start:]
    text = " ".join(part.decode(errors="replace").strip() for part in lines)
    return text.replace("( ", "(").replace(" )", ")").replace(",)", ")")


def best(found: Iterable[tuple[FrameType, int]]) -> Place | None:
    """Return the innermost of the user's lines, else that of an installed package; frames come outermost first."""
    chosen: tuple[FrameType, int] | None = None
    highest = 1
    for frame, line in found:
        own = rank(frame.f_code.co_filename)
        if own >= highest:
            chosen, highest = (frame, line), own
    return None if chosen is None else place(chosen[0].f_code, chosen[1], chosen[0].f_lasti)


def own_frames(task: Any) -> list[tuple[FrameType, Place]]:
    """Return the frames of a suspended task that are the user's own, with their lines, outermost first."""
    return [
        (frame, place(frame.f_code, line, frame.f_lasti))
        for frame, line in frames(task)
        if rank(frame.f_code.co_filename) == 2
    ]


def standing(task: Any) -> Place | None:
    """Return where a suspended task stands."""
    return best(frames(task))


def calling(frame: FrameType | None) -> Place | None:
    """Return the line from which the code in ``frame`` was called."""
    # The runner's frames lie below the loop's: a task's own frames end where the loop's begin.
    own = []
    while frame is not None and frame.f_code.co_name not in ("_run_once", "_run"):
        own.append((frame, frame.f_lineno))
        frame = frame.f_back
    return best(reversed(own))


def raising(traceback: TracebackType | None) -> tuple[Place, ...]:
    """Return the user's lines of a traceback, outermost first."""
    found = []
    while traceback is not None:
        code = traceback.tb_frame.f_code
        if rank(code.co_filename) == 2:
            found.append(place(code, traceback.tb_lineno, traceback.tb_lasti))
        traceback = traceback.tb_next
    return tuple(found)
