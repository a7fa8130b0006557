"""What a timer stands for: the test's script, outside work, a deadline, or a library's patience with itself."""

from __future__ import annotations

from dis import get_instructions
from functools import cache
from itertools import pairwise
from pathlib import PurePath
from types import CodeType, FrameType
from typing import TYPE_CHECKING, Any

from pytest_interleave.loop._events import SLEEP_CALLBACK, Timer
from pytest_interleave.loop.frames import is_user_code, known_by_code
from pytest_interleave.origins import rank
from pytest_interleave.schedule import CODE_SLEEP, DEADLINE, NESTED_SLEEP, SCRIPT_SLEEP

if TYPE_CHECKING:
    from pytest_interleave.loop._base import BaseLoop

_LIBRARIES = ("asyncio", "anyio")
#: What sleeps in these of our own modules stand for outside work: bytes that are under way, the late answer of a mock.
_OUTSIDE = ("pytest_interleave.net.", "pytest_interleave.loop.doubles")
#: So much of a timeout is left by the time it is set, at least: pools and servers subtract what their clock says.
LEAST_LEFT = 0.98
#: A deadline so long guards against what has broken, and is not passed: most clients give up after that (httpx: 5 s),
#: and what they do then is no news of a test. One so far off, for which no code of the user's waits, is a library's for
#: itself, as a server's for idle connections (uvicorn and hypercorn: 5 s).
GUARD_SECONDS = 5 * LEAST_LEFT


def classify(timer: Timer, callback: Any, frame: FrameType | None, loop: BaseLoop) -> None:
    """Tell a sleep in the test's own frames, a sleep elsewhere and a deadline apart, and find the user's line."""
    frame = _past_libraries(frame)
    if frame is None or frame.f_globals.get("__name__", "").startswith("pytest_interleave."):
        timer.place = None
        if frame is not None and frame.f_globals.get("__name__", "").startswith(_OUTSIDE):
            timer.stands_for = CODE_SLEEP
            return
        # A task that is nothing but a sleep.
        timer.stands_for = DEADLINE if callback is not SLEEP_CALLBACK else NESTED_SLEEP
        return
    code = frame.f_code
    timer.place = (code.co_filename, frame.f_lineno)
    if callback is not SLEEP_CALLBACK:
        timer.stands_for = DEADLINE
        timer.is_for_idle = timer.when() - timer.armed >= GUARD_SECONDS and _is_library_waiting(frame, loop)
        return
    script = loop.script
    timer.stands_for = CODE_SLEEP
    if script is not None and code.co_filename == script.co_filename:
        if code is script:
            timer.stands_for = SCRIPT_SLEEP
            return
        if is_local_to(code, script):
            # In the first frame of a task it says when somebody comes; deeper, it is a double of outside work.
            caller = _past_libraries(frame.f_back)
            is_first = caller is None or caller.f_code is script or not is_user_code(caller.f_code.co_filename)
            timer.is_given = is_first and loop.is_origin_given
            timer.stands_for = NESTED_SLEEP if is_first and not timer.is_given else CODE_SLEEP
            return
    if is_beat(code, frame.f_lasti):
        # A task that does something every second does not wait for anything from outside.
        caller = _past_libraries(frame.f_back)
        # The main loop of a service that starts in another of its methods (uvicorn: serve, _serve, main_loop).
        while caller is not None and caller.f_code.co_filename == code.co_filename != _file_of(script):
            caller = _past_libraries(caller.f_back)
        if caller is None or not is_user_code(caller.f_code.co_filename):
            timer.stands_for = NESTED_SLEEP


def _file_of(code: CodeType | None) -> str:
    return "" if code is None else code.co_filename


def _past_libraries(frame: FrameType | None) -> FrameType | None:
    """Return the frame, or the next that is not asyncio's or anyio's: anyio's tasks begin in a wrapper of its own."""
    while frame is not None and frame.f_globals.get("__name__", "").partition(".")[0] in _LIBRARIES:
        frame = frame.f_back
    return frame


@known_by_code
def is_beat(code: CodeType, offset: int) -> bool:
    """Whether the await at that offset is the first in a ``while`` loop, or the last and all there is on its last line.

    Elsewhere a sleep comes between taking a job and saying that it is done, and stands for the work.
    """
    steps = list(get_instructions(code))
    loops = [
        (step.offset - step.argval, step.argval, step.offset)
        for before, step in pairwise(steps)
        if step.opname.startswith(("JUMP_BACKWARD", "POP_JUMP_BACKWARD"))
        # Those belong to an await, not to a loop.
        and step.opname != "JUMP_BACKWARD_NO_INTERRUPT"
        and before.opname != "CLEANUP_THROW"
        and step.argval <= offset < step.offset
    ]
    if not loops:
        return False
    _, begin, end = min(loops)
    body = [step for step in steps if begin <= step.offset <= end]
    awaits = [step.offset for step in body if step.opname == "GET_AWAITABLE"]
    if body[0].opname == "FOR_ITER" or not awaits or offset < awaits[0]:
        return False
    lines = [(low, line) for low, _, line in code.co_lines() if line is not None and begin <= low <= end]
    own_line = max((low, line) for low, line in lines if low <= offset)[1]
    is_first = len(awaits) == 1 or offset < awaits[1]
    return is_first or (offset > awaits[-1] and own_line == max(line for _, line in lines))


def is_local_to(code: CodeType | None, script: CodeType | None) -> bool:
    """Whether that code stands inside the test function."""
    return (
        code is not None
        and script is not None
        and code.co_filename == script.co_filename
        and code.co_qualname.startswith(script.co_qualname + ".<locals>.")
    )


def is_started_beside(script: CodeType, frame: FrameType | None) -> bool:
    """Whether a task is started by code in the test's own folder, such as its helpers, and not by code under test."""
    while frame is not None:
        if is_user_code(frame.f_code.co_filename) and frame.f_globals.get("__name__", "").partition(".")[0] != "anyio":
            return _are_in_one_folder(frame.f_code.co_filename, script.co_filename)
        frame = frame.f_back
    return True


@cache
def _are_in_one_folder(one: str, other: str) -> bool:
    return PurePath(one).parent == PurePath(other).parent


def _is_library_waiting(setter: FrameType, loop: BaseLoop) -> bool:
    """Whether a library that sets a deadline does so for itself, and not for code of the user's that calls it.

    A handler of the user's also calls the server that it works for, in a task that a callback made.
    """
    if rank(setter.f_code.co_filename) == 2:
        return False
    if loop.is_origin_by_callback:
        return True
    frame = setter.f_back
    while frame is not None and not frame.f_globals.get("__name__", "").startswith("pytest_interleave.loop."):
        if rank(frame.f_code.co_filename) == 2:
            return False
        frame = frame.f_back
    return True
