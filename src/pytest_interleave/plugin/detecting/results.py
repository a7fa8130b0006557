"""What an async test returned, which nobody looks at: pytest fails a sync test for it."""

from __future__ import annotations

import asyncio
import inspect
import reprlib
from typing import Any

import pytest

from pytest_interleave.detectors.findings import Finding


def unawaited_result(item: pytest.Function, value: Any) -> Finding:
    """Return the finding for a test that returned a value that is not None."""
    place = None
    code = getattr(inspect.unwrap(item.obj), "__code__", None)
    if code is not None:
        place = f"{code.co_filename}:{code.co_firstlineno}"
    if inspect.isawaitable(value) or inspect.isasyncgen(value):
        origin = getattr(value, "cr_origin", None)
        if origin:
            place = f"{origin[0][0]}:{origin[0][1]}"
        what = f"{_describe(value)}, which nobody awaits"
        advice = "Await it in the test."
    else:
        what = f"{reprlib.repr(value)}, which nobody looks at"
        advice = "Write 'assert' in place of 'return', or leave the value out; pytest fails a sync test for this too."
    return Finding("unawaited-result", f"the test returned {what}", place, advice=advice)


def _describe(value: Any) -> str:
    if isinstance(value, asyncio.Future):
        return "a task" if isinstance(value, asyncio.Task) else "a future"
    kind = "async generator" if inspect.isasyncgen(value) else "coroutine" if inspect.iscoroutine(value) else "object"
    return f"{kind} {getattr(value, '__qualname__', type(value).__qualname__)!r}"
