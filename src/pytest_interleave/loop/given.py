"""Which timeouts a test gives to code that sets the deadline itself: ``SMTP(port=port, timeout=1)``."""

from __future__ import annotations

import ast
import inspect
from textwrap import dedent
from types import CodeType
from typing import Any

from pytest_interleave.loop.frames import known_by_code
from pytest_interleave.loop.parsing import parse

_NAME = "timeout"


@known_by_code
def given_timeouts(script: CodeType) -> frozenset[float]:
    """Return the seconds that the test function names as a timeout, by keyword or by what it calls."""
    try:
        source = "".join(inspect.getsourcelines(script)[0])
        if _NAME not in source.lower():
            return frozenset()
        tree = parse(dedent(source))
    except (OSError, SyntaxError, ValueError):  # no source, or lines of a lambda that are no statement
        return frozenset()
    found: set[float] = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Call):
            called = node.func
            name = (
                called.attr if isinstance(called, ast.Attribute) else called.id if isinstance(called, ast.Name) else ""
            )
            is_timeout = _NAME in name.lower()
            values = [keyword.value for keyword in node.keywords if is_timeout or _NAME in (keyword.arg or "").lower()]
            found.update(filter(None, map(_seconds, (*values, *(node.args if is_timeout else ())))))
    return frozenset(found)


def _seconds(node: ast.expr) -> float | None:
    value: Any = node.value if isinstance(node, ast.Constant) else None
    return float(value) if type(value) in (int, float) else None
