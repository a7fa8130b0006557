"""From a step that kept its loop from everything else to a finding: which call, on which line."""

from __future__ import annotations

import functools
import itertools
import linecache
from collections.abc import Callable
from types import CodeType
from typing import Any

import pytest

from pytest_interleave.detectors.findings import Finding, Level
from pytest_interleave.loop.host import Host
from pytest_interleave.loop.watchdog import START_OF_THREAD, LongStep, Spot, Watchdog
from pytest_interleave.origins import PACKAGE, rank
from pytest_interleave.plugin.detecting.hooks import DetectingHooks
from pytest_interleave.plugin.detecting.options import DETECT_MARK

BLOCKED_LOOP = "blocked-loop"
_SHARE_OF_A_CALL = 0.8


class BlockedLoops:
    """Has the loops of a session watched, from the first test for which the detector is on."""

    def __init__(
        self, findings: DetectingHooks, watcher: object, also_look: Callable[[Host, pytest.Item], object]
    ) -> None:
        self._findings = findings
        self._watcher = watcher
        self._watchdog: Watchdog | None = None
        self._also_look = also_look
        self._is_on = findings.settings.levels[BLOCKED_LOOP] is not Level.OFF

    def watch(self, item: pytest.Item | None, *, has_collected: bool = False) -> None:
        """Look at loops from now on, unless nobody wants to know. ``has_collected``: garbage, just now."""
        if self._is_on or (item is not None and item.get_closest_marker(DETECT_MARK) is not None):
            if self._watchdog is None:
                self._watchdog = Watchdog(self._findings.settings.blocked_seconds, self._owner, self._found)
            self._watchdog.start()
            if has_collected:
                self._watchdog.forget_collections()

    def resume(self) -> None:
        """Look again, if something stopped it."""
        if self._watchdog is not None:
            self._watchdog.start()

    def close(self) -> None:
        """Look no longer."""
        if self._watchdog is not None:
            self._watchdog.stop()

    def _owner(self) -> pytest.Item | None:
        host = Host.running[-1] if Host.running else None
        item = self._findings.item
        if host is None or item is None or host.watcher is not self._watcher:
            return None
        self._also_look(host, item)
        return item

    def _found(self, step: LongStep) -> None:
        # In the watchdog's thread, and the step still goes on: what is said of it waits for the test's report.
        self._findings.sightings.append(functools.partial(self._tell, step))

    def _tell(self, step: LongStep) -> None:
        if any(code is START_OF_THREAD for code, _ in step.longest):
            return  # on a busy machine, and asyncio.to_thread does it, too
        threshold = self._findings.settings.blocked_seconds
        if step.seconds < threshold:
            return  # it seemed to wait, and then computed: of that only the processor's time counts
        finding = blocked_loop(step, threshold)
        if not self._findings.has_taken(step.owner, finding):
            self._findings.take(step.owner, finding)


def blocked_loop(step: LongStep, threshold_seconds: float) -> Finding:
    """Return the finding: the call is on the innermost line that is the user's, or else a package's."""
    *spots, _ = step.longest
    while len(spots) > 1 and spots[0][0].co_filename.startswith(PACKAGE):
        del spots[0]  # what stands for a builtin function, as for ``time.sleep`` where clocks are virtual
    if not spots:  # a function in C that the loop called itself
        callback = getattr(step.handle, "_callback", step.handle)
        return Finding(BLOCKED_LOOP, _summary(step, f"callback {callback!r}"), advice=_advice(step, threshold_seconds))
    nearest = max(range(len(spots)), key=lambda index: (rank(spots[index][0].co_filename), -index))
    code, _ = spots[nearest]
    line = line_of(spots[nearest])
    text = linecache.getline(code.co_filename, line).strip()
    # A loop was seen now here, now there: then it is the function's work, and not that of a call in it.
    is_one_call = step.spots[step.longest] > step.seconds * _SHARE_OF_A_CALL
    call = (call_at(spots[nearest]) or text) if is_one_call else code.co_qualname
    details = [] if call == text else [text]
    if is_one_call:
        details.append(f"in {code.co_qualname}")
    deepest = spots[0]
    if nearest:
        details.append(f"which was at {deepest[0].co_filename}:{line_of(deepest)} in {deepest[0].co_name}")
    return Finding(
        BLOCKED_LOOP,
        _summary(step, call),
        f"{code.co_filename}:{line}",
        tuple(filter(None, details)),
        _advice(step, threshold_seconds),
    )


def _advice(step: LongStep, threshold_seconds: float) -> str:
    if step.computing_seconds > step.seconds / 2:
        advice = (
            "Do it in a thread or a process (asyncio.to_thread), or in pieces with 'await asyncio.sleep(0)' between."
        )
    else:
        advice = "Await an async call in its place, or run it in a thread: await asyncio.to_thread(...)."
    return f"{advice} interleave_blocked_seconds ({threshold_seconds:g}) says what is too long."


def _summary(step: LongStep, what: str) -> str:
    did = "computed" if step.computing_seconds > step.seconds / 2 else "waited"
    return f"{what} {did} for {step.seconds:.1f} s, and nothing else could run in the loop"


def line_of(spot: Spot) -> int:
    """Return the line of an instruction."""
    line = _position(spot)[0]
    return line if line is not None else spot[0].co_firstlineno


def call_at(spot: Spot) -> str | None:
    """Return the text of the expression that is evaluated at an instruction, if it is on one line."""
    first, last, start, end = _position(spot)
    if first is None or first != last or start is None or end is None:
        return None
    raw = linecache.getline(spot[0].co_filename, first).encode()
    return raw[start:end].decode(errors="replace").strip() or None


def _position(spot: Spot) -> tuple[Any, Any, Any, Any]:
    code: CodeType = spot[0]
    nothing = (None, None, None, None)
    return next(itertools.islice(code.co_positions(), spot[1] // 2, None), nothing) if spot[1] >= 0 else nothing
