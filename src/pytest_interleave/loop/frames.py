"""Where a suspended task stands: its own lines, not asyncio's."""

from __future__ import annotations

import asyncio
import gc
from collections.abc import Callable, Iterator
from functools import wraps
from itertools import islice
from pathlib import PurePath
from types import AsyncGeneratorType, CodeType, CoroutineType, FrameType, GeneratorType
from typing import Any, TypeVar, TypeVarTuple

from pytest_interleave.loop.host import InContext
from pytest_interleave.origins import PACKAGE

_STEPPED = InContext.__await__.__code__
_ASYNCIO = str(PurePath(asyncio.__file__).parent)
#: C objects between two coroutines that show neither: ``async for``, and ``return coroutine.__await__()``.
_OPAQUE = ("async_generator_asend", "async_generator_athrow", "anext_awaitable", "coroutine_wrapper")
#: Packages in whose frames a person is looking.
DEBUGGERS = frozenset(("bdb", "pdb", "pdbpp", "ipdb", "IPython", "pudb", "debugpy", "pydevd", "_pydevd_bundle"))
_SUSPENDABLE = (CoroutineType, AsyncGeneratorType, GeneratorType)

_T = TypeVar("_T")
_Rest = TypeVarTuple("_Rest")


def known_by_code(find: Callable[[CodeType, *_Rest], _T]) -> Callable[[CodeType, *_Rest], _T]:
    """Ask ``find`` once of each code, known by its id: to hash a code is to go through all of it."""
    known: dict[tuple[int, tuple[Any, ...]], tuple[CodeType, _T]] = {}  # with the code, so that it keeps its id

    @wraps(find)
    def ask(code: CodeType, /, *rest: *_Rest) -> _T:
        answer = known.get((id(code), rest))
        if answer is None:
            answer = known[id(code), rest] = code, find(code, *rest)
        return answer[1]

    return ask


def await_chain(task: asyncio.Task[Any]) -> Iterator[Any]:
    """Yield what the task awaits: its coroutine, what that awaits, and so on down to the future."""
    return chain_from(task.get_coro())


def chain_from(coroutine: Any) -> Iterator[Any]:
    """Yield the coroutine, what it awaits, and so on down to the future."""
    link: Any = coroutine
    while link is not None:
        yield link
        if getattr(link, "gi_code", None) is _STEPPED:  # it steps what it waits for by hand
            link = link.gi_frame.f_locals["steps"] if link.gi_frame is not None else None
            continue
        following = getattr(link, "cr_await", None)
        if following is None:
            following = getattr(link, "ag_await", None)
        if following is None:
            following = getattr(link, "gi_yieldfrom", None)
        if following is None and type(link).__name__ in _OPAQUE:
            following = next((inner for inner in gc.get_referents(link) if isinstance(inner, _SUSPENDABLE)), None)
        link = following


def frames(task: asyncio.Task[Any]) -> Iterator[tuple[FrameType, int]]:
    """Yield the frames of the suspended task with their lines, outermost first."""
    return frames_from(task.get_coro())


def frames_from(coroutine: Any) -> Iterator[tuple[FrameType, int]]:
    """Yield the frames of the suspended coroutine with their lines, outermost first.

    A compiled coroutine (Cython: grpc.aio) has a frame without a line, which says nothing.
    """
    for link in chain_from(coroutine):
        frame = getattr(link, "cr_frame", None) or getattr(link, "ag_frame", None) or getattr(link, "gi_frame", None)
        line: int | None = None if frame is None else frame.f_lineno
        if frame is not None and line is not None:
            yield frame, line


def frames_of(coroutine: Any, most: int = 20) -> list[FrameType]:
    """Return the frames of the suspended coroutine, outermost first, and no more than that."""
    return [frame for frame, _ in islice(frames_from(coroutine), most)]


def is_user_code(filename: str) -> bool:
    """Whether that file is neither asyncio's nor ours."""
    return not filename.startswith((_ASYNCIO, PACKAGE, "<frozen"))


def user_frame(task: asyncio.Task[Any]) -> tuple[FrameType, int] | None:
    """Return the innermost frame of the suspended task that is neither asyncio's nor ours."""
    found = None
    for frame, line in frames(task):
        if is_user_code(frame.f_code.co_filename):
            found = frame, line
    return found


def user_place(task: asyncio.Task[Any]) -> str:
    """Return ``file:line`` of that frame, or nothing."""
    found = user_frame(task)
    return f"{found[0].f_code.co_filename}:{found[1]}" if found else ""


def is_frame_of(frame: FrameType, packages: frozenset[str]) -> bool:
    """Whether one of these packages runs in the frame, or traces it, as a debugger does that goes on line by line."""
    trace = frame.f_trace
    modules = frame.f_globals.get("__name__"), trace is not None and getattr(trace, "__module__", None)
    return any(isinstance(name, str) and name.partition(".")[0] in packages for name in modules)
