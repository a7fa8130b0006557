"""A task that was cancelled and went on: which line swallowed that."""

from __future__ import annotations

import ast
import asyncio
import linecache
from types import FrameType
from typing import Any

from pytest_interleave.detectors.findings import Finding
from pytest_interleave.plugin.detecting.frames import frames_of
from pytest_interleave.plugin.detecting.places import is_outside_of_python

_CATCHING = ("CancelledError", "BaseException")


def swallowed_cancellation(task: asyncio.Task[Any], *, is_own: bool) -> Finding:
    """Return the finding for a task that waits again where it was when it was cancelled."""
    own = [frame for frame in frames_of(task.get_coro()) if is_outside_of_python(frame.f_code.co_filename)]
    coroutine: Any = task.get_coro()
    name = getattr(coroutine, "__qualname__", repr(coroutine))
    who = f"task {task.get_name()!r} ({name})"
    if is_own:  # the host's task, in which a test or a fixture runs
        who = f"{own[0].f_code.co_qualname!r}" if own else "the test"
    lines = []
    for frame in own[-1:]:
        path, line = frame.f_code.co_filename, frame.f_lineno
        lines.append(f"cancelled at {path}:{line} in {frame.f_code.co_name}: {linecache.getline(path, line).strip()}")
        lines.append("It waits there again, and was abandoned.")
    place = _find_handler(own) or (f"{own[-1].f_code.co_filename}:{own[-1].f_lineno}" if own else None)
    return Finding(
        "swallowed-cancellation",
        f"{who} was cancelled, and went on as if nothing had been",
        place,
        tuple(lines),
        "Let CancelledError through: end the handler with 'raise', or catch it outside of the loop.",
    )


def _find_handler(frames: list[FrameType]) -> str | None:
    """Return the place of the innermost handler around these lines that catches a cancellation."""
    for frame in reversed(frames):
        path = frame.f_code.co_filename
        line = _handler_around("".join(linecache.getlines(path)), frame.f_lineno)
        if line is not None:
            return f"{path}:{line}"
    return None


def _handler_around(source: str, line: int) -> int | None:
    try:
        tree = ast.parse(source)
    except (SyntaxError, ValueError):
        return None
    found: int | None = None
    for node in ast.walk(tree):  # from the outside in
        if isinstance(node, ast.Try) and _first(node.body) <= line <= _last(node.body):
            handlers = [handler.lineno for handler in node.handlers if _catches(handler.type)]
            found = handlers[0] if handlers else found
        elif isinstance(node, ast.With | ast.AsyncWith) and _first(node.body) <= line <= _last(node.body):
            calls = [item.context_expr for item in node.items if isinstance(item.context_expr, ast.Call)]
            if any(_name(call.func) == "suppress" and any(map(_catches, call.args)) for call in calls):
                found = node.lineno
    return found


def _first(body: list[ast.stmt]) -> int:
    return body[0].lineno


def _last(body: list[ast.stmt]) -> int:
    return body[-1].end_lineno or body[-1].lineno


def _catches(what: ast.expr | None) -> bool:
    if isinstance(what, ast.Tuple):
        return any(map(_catches, what.elts))
    return what is None or _name(what) in _CATCHING


def _name(what: ast.expr) -> str:
    return what.attr if isinstance(what, ast.Attribute) else what.id if isinstance(what, ast.Name) else ""
