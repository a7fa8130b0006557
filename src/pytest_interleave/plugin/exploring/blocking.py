"""Which calls of an explored test block: in virtual time any does, for it takes no time of the test's.

One more run is made for that, in asyncio's own order. Told are calls whose innermost line outside of Python's library
is the user's: what a package does in its own lines, it has to answer for itself, and it is told if it takes long. Files
and databases that a test's own file or a conftest.py reads and writes are what the test prepares, or looks at.
"""

from __future__ import annotations

import asyncio
import linecache
import os
from collections.abc import Callable, Iterable

import pytest

from pytest_interleave.detectors.findings import Finding, Level
from pytest_interleave.loop.blocking_calls import BlockingCall, CallWatch
from pytest_interleave.origins import rank
from pytest_interleave.plugin.detecting.blocking import BLOCKED_LOOP, call_at, line_of
from pytest_interleave.plugin.detecting.hooks import hooks_of
from pytest_interleave.plugin.detecting.options import named_level

_USER = 2
_WORTH_TELLING_SECONDS = 0.02
_ADVICE = "Await an async call in its place, or run it in a thread: await asyncio.to_thread(...)."


def find_blocking_calls(
    item: pytest.Function, loops: Iterable[asyncio.AbstractEventLoop], run: Callable[[], object]
) -> list[Finding]:
    """Make one run and return what blocks in it, each place once; nothing if nobody wants to know."""
    hooks = hooks_of(item.config)
    if hooks is None or named_level(BLOCKED_LOOP, item, hooks.settings) is Level.OFF:
        return []
    watch = CallWatch()
    with watch.watching(loops):
        run()
    found: dict[str | None, Finding] = {}
    for call in sorted(watch.found, key=lambda call: -call.seconds):
        finding = _finding(call, str(item.path))
        if finding is not None:
            found.setdefault(finding.where, finding)
    return list(found.values())


def _finding(call: BlockingCall, path_of_test: str) -> Finding | None:
    found = next((index for index, (code, _) in enumerate(call.spots) if rank(code.co_filename)), None)
    if found is None or found >= call.untrusted or rank(call.spots[found][0].co_filename) != _USER:
        return None
    code, _ = spot = call.spots[found]
    if call.is_of_data and (code.co_filename == path_of_test or os.path.basename(code.co_filename) == "conftest.py"):
        return None
    line = line_of(spot)
    text = linecache.getline(code.co_filename, line).strip()
    what = call_at(spot) or text
    if call.seconds >= _WORTH_TELLING_SECONDS:
        summary = f"{what} waited for {call.seconds:.2g} s, and nothing else could run in the loop"
    else:
        summary = f"{what} blocks, and nothing else can run in the loop meanwhile"
    details = () if what == text else (text,)
    return Finding(BLOCKED_LOOP, summary, f"{code.co_filename}:{line}", (*details, f"in {code.co_qualname}"), _ADVICE)
