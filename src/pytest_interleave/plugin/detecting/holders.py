"""Who holds a lock in a plain run, where nobody noted it: read from where each task stands, when somebody asks.

A task that stands inside ``async with lock:`` holds it. What was taken otherwise is not seen. Values are looked up
without running anybody's code: names, and attributes that are data.
"""

from __future__ import annotations

import ast
import asyncio
import inspect
import linecache
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from types import FrameType, GetSetDescriptorType, MemberDescriptorType
from typing import Any

from pytest_interleave.loop.frames import frames_of
from pytest_interleave.loop.parsing import parse

_MISSING = object()


@dataclass(frozen=True, slots=True)
class Holder:
    """A task that stands inside ``async with`` of something, and where that begins."""

    task: asyncio.Task[Any]
    path: str
    line: int

    @property
    def text(self) -> str:
        """The line of source."""
        return linecache.getline(self.path, self.line).strip()


def holders_of(
    held: object, tasks: Iterable[asyncio.Task[Any]], waits_for: Callable[[asyncio.Task[Any]], object]
) -> list[Holder]:
    """Return those of the suspended tasks which stand inside ``async with held:``."""
    found = []
    for task in tasks:
        is_waited_for = waits_for(task) is held
        for frame in frames_of(task.get_coro()):
            line = _line_of_with(frame, held, is_waited_for=is_waited_for)
            if line is not None:
                found.append(Holder(task, frame.f_code.co_filename, line))
                break
    return found


def _line_of_with(frame: FrameType, held: object, *, is_waited_for: bool) -> int | None:
    path, line = frame.f_code.co_filename, frame.f_lineno
    try:
        tree = parse("".join(linecache.getlines(path)))
    except (SyntaxError, ValueError):
        return None
    for node in ast.walk(tree):
        if not isinstance(node, ast.AsyncWith) or not node.lineno <= line <= (node.end_lineno or line):
            continue
        last_of_head = node.items[-1].context_expr.end_lineno or node.lineno
        if line > last_of_head:
            entered = node.items
        elif is_waited_for or node.body[0].lineno <= last_of_head:
            continue  # it is on its way in, or nobody knows
        else:
            entered = node.items[:1]  # of `async with first, second:`, it waits for the second
        if any(_value(item.context_expr, frame) is held for item in entered):
            return node.lineno
    return None


def _value(expression: ast.expr, frame: FrameType) -> object:
    """Return what a dotted name stands for in the frame, without running any code."""
    if isinstance(expression, ast.Name):
        name = expression.id
        return frame.f_locals.get(name, frame.f_globals.get(name, _MISSING))
    if isinstance(expression, ast.Attribute):
        owner = _value(expression.value, frame)
        if owner is _MISSING:
            return _MISSING
        found = inspect.getattr_static(owner, expression.attr, _MISSING)
        if isinstance(found, MemberDescriptorType | GetSetDescriptorType):  # a slot
            return found.__get__(owner)
        return found
    return _MISSING
