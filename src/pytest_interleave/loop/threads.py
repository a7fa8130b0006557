"""Which threads are at work, and which only wait to be given some.

A loop in virtual time must not jump over the answer of a thread (aiosqlite's worker, an executor's job), and must not
wait for one that has nothing to do. Python does not tell, so this looks at the call each thread is in.
"""

from __future__ import annotations

import linecache
import re
import sys
import threading
from types import CodeType, FrameType

#: Calls in which a thread waits for others. ``time.sleep`` is not among them: its answer is still to come.
_RESTS_IN = re.compile(r"\.(get|wait|acquire|result|recv|recv_into|recvfrom|accept|read|readline|select|poll|join)\(")
_RESTING_FUNCTIONS = {
    ("threading", "wait"),
    ("threading", "join"),
    ("threading", "_wait_for_tstate_lock"),
    ("selectors", "select"),
}
_verdicts: dict[tuple[CodeType, int], bool] = {}


def is_busy(ident: int) -> bool:
    """Whether that thread is at work."""
    frame = sys._current_frames().get(ident)
    return frame is not None and not _rests(frame)


def are_busy(resting: frozenset[int]) -> bool:
    """Whether any thread but this one and those named is at work."""
    if threading.active_count() == 1:
        return False
    me = threading.get_ident()
    frames = sys._current_frames()
    return any(
        not _rests(frames[thread.ident])
        for thread in threading.enumerate()
        if thread.ident in frames and thread.ident != me and thread.ident not in resting
    )


def _rests(frame: FrameType) -> bool:
    code = frame.f_code
    if (frame.f_globals.get("__name__"), code.co_name) in _RESTING_FUNCTIONS:
        return True
    key = code, frame.f_lasti
    verdict = _verdicts.get(key)
    if verdict is None:
        verdict = _verdicts[key] = bool(_RESTS_IN.search(_source_of_call(code, frame.f_lasti)))
    return verdict


def _source_of_call(code: CodeType, offset: int) -> str:
    """Return the text of the expression that is being evaluated at that offset."""
    positions = list(code.co_positions())
    first, last, start, end = positions[offset // 2] if offset // 2 < len(positions) else (None, None, None, None)
    if first is None:
        return ""
    lines = [linecache.getline(code.co_filename, number) for number in range(first, (last or first) + 1)]
    if len(lines) == 1 and start is not None and end is not None:
        # Columns count bytes of UTF-8.
        return lines[0].encode()[start:end].decode(errors="replace")
    return "".join(lines)
