"""A task that was cancelled and went on: which line swallowed that."""

from __future__ import annotations

import ast
import asyncio
import linecache
from dataclasses import dataclass
from types import CodeType
from typing import TYPE_CHECKING, Any

from pytest_interleave.detectors.findings import Finding
from pytest_interleave.loop.frames import frames_of
from pytest_interleave.loop.parsing import parse
from pytest_interleave.origins import rank
from pytest_interleave.plugin.detecting.blocking import line_of

if TYPE_CHECKING:
    from pytest_interleave.loop.swallowing import Stand

_NAME = "swallowed-cancellation"
_CATCHING = ("CancelledError", "BaseException")


def swallowed_cancellation(task: asyncio.Task[Any], *, is_own: bool, cancelled_at: Stand) -> Finding:
    """Return the finding for a task that waits where it was when it was cancelled, or elsewhere for too long."""
    from pytest_interleave.loop.swallowing import is_cleaning_up

    now = [(frame.f_code, frame.f_lasti) for frame in frames_of(task.get_coro())]
    before = [_Place(line_of(spot), spot[0]) for spot in cancelled_at if rank(spot[0].co_filename)]
    after = [_Place(line_of(spot), spot[0]) for spot in now if rank(spot[0].co_filename)]
    coroutine: Any = task.get_coro()
    name = getattr(coroutine, "__qualname__", repr(coroutine))
    who = f"task {task.get_name()!r} ({name})"
    if is_own:  # the host's task, in which a test or a fixture runs
        who = f"{before[0].code.co_qualname!r}" if before else "the test"
    lines = [f"cancelled at {before[-1].describe()}"] if before else []
    if tuple(now) == cancelled_at:
        lines.append("It waits there again, and was abandoned.")
    elif after:
        lines += [f"waits at {after[-1].describe()}", "It does not end there, and was abandoned."]
    if tuple(now) != cancelled_at and is_cleaning_up(task):
        what = f"{who} was cancelled, and its clean-up waits for what nobody brings"
        where, advice = after[-1:], "Give what it waits for a time limit (asyncio.timeout), or do without it."
        return Finding(_NAME, what, where[0].where if where else None, tuple(lines), advice)
    found = next((place for place in map(_handler_of, reversed(before)) if place is not None), None)
    return Finding(
        _NAME,
        f"{who} was cancelled, and went on as if nothing had been",
        found or (before[-1].where if before else None),
        tuple(lines),
        "Let CancelledError through: end the handler with 'raise', or catch it outside of the loop.",
    )


@dataclass(frozen=True, slots=True)
class _Place:
    line: int
    code: CodeType

    @property
    def path(self) -> str:
        return self.code.co_filename

    @property
    def where(self) -> str:
        return f"{self.path}:{self.line}"

    def describe(self) -> str:
        return f"{self.where} in {self.code.co_name}: {linecache.getline(self.path, self.line).strip()}"


def _handler_of(place: _Place) -> str | None:
    """Return the place of the handler around the line that catches a cancellation."""
    line = _handler_around("".join(linecache.getlines(place.path)), place.line)
    return None if line is None else f"{place.path}:{line}"


def _handler_around(source: str, line: int) -> int | None:
    try:
        tree = parse(source)
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
