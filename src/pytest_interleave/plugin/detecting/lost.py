"""An exception that nobody retrieved, as a finding: of a task, a callback or a protocol."""

from __future__ import annotations

import asyncio
import traceback
from types import TracebackType
from typing import Any

from pytest_interleave.detectors.findings import Finding
from pytest_interleave.origins import is_of_python, rank

_ADVICE = "Await the task, or handle the exception in it."
_ADVICE_FOR_CALLBACK = "Handle the exception where it arises: nobody waits for it who could."


def lost_exception(message: str, error: BaseException, context: dict[str, Any]) -> Finding:
    """Return the finding for what a loop tells its exception handler."""
    failed = context.get("task") or context.get("future")
    what = ""  # asyncio's text names a callback
    if isinstance(failed, asyncio.Task):
        what = f"task {failed.get_name()!r} ({getattr(failed.get_coro(), '__qualname__', failed.get_coro())})"
    place, best = "", 0
    for frame, line in traceback.walk_tb(error.__traceback__):  # the innermost of the user's lines, or else a package's
        path = frame.f_code.co_filename
        if not is_of_python(path) and rank(path) >= best:
            place, best = f"{path}:{line}", rank(path)
    return Finding(
        "lost-exception",
        message + (f": {what}" if what else ""),
        place or None,
        ("".join(traceback.format_exception(type(error), error, _without_loop(error.__traceback__))).rstrip(),),
        _ADVICE if isinstance(failed, asyncio.Task) else _ADVICE_FOR_CALLBACK,
    )


def is_farewell(error: BaseException, context: dict[str, Any]) -> bool:
    """Whether a stream server's handler ended because its client went away, as happens to servers every day.

    It has no say in that. An error of another connection, which the handler made itself, is none of this kind.
    """
    transport = context.get("transport")
    if transport is None or not isinstance(error, ConnectionError | asyncio.IncompleteReadError):
        return False
    given: set[int] = set()
    for frame, _ in traceback.walk_tb(error.__traceback__):
        arguments = [frame.f_locals.get(name) for name in frame.f_code.co_varnames[: frame.f_code.co_argcount]]
        if any(isinstance(one, asyncio.StreamWriter) and one.transport is transport for one in arguments):
            given |= {id(one) for one in arguments if isinstance(one, asyncio.StreamReader | asyncio.StreamWriter)}
        if id(frame.f_locals.get("self")) in given:
            return True
    return False


def _without_loop(found: TracebackType | None) -> TracebackType | None:
    """Leave out the first lines of a traceback, which are the loop's."""
    while found is not None and found.tb_next is not None:
        path = found.tb_frame.f_code.co_filename
        if rank(path):
            break
        found = found.tb_next
    return found
