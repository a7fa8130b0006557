"""Tell a test that was cancelled why: the crash or the timeout in one of its fixtures, not a bare CancelledError."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from types import TracebackType
from typing import Any
from weakref import WeakKeyDictionary

import pytest

from pytest_interleave.loop import _plain
from pytest_interleave.loop.host import Crash, Expired, Host

_LET_PASS = (
    "asyncio.timeout(...) expired, and made no TimeoutError of this, because the task was being cancelled already: "
    "whoever caught an earlier CancelledError has not called task.uncancel()"
)

# Errors that a test was failed with, of each host.
_reported: WeakKeyDictionary[Host, list[BaseException]] = WeakKeyDictionary()


def is_cancellation(error: BaseException) -> bool:
    """Whether a job ended because its task was cancelled."""
    return isinstance(error, asyncio.CancelledError)


def explain(error: BaseException, host: Host, what: str, item: pytest.Item) -> BaseException:
    """Return the exception that the cancelled job is to be failed with: the reason, where it is known."""
    for reason in host.cancellations:
        if isinstance(reason, Crash):
            _reported.setdefault(host, []).append(reason.error)
            place = _find_place(error, item)
            of_fixture = _name_owner(host, reason.group)
            reason.error.add_note(
                f"{what} was cancelled at {place}, because this task{of_fixture} failed: {reason.task_name}"
            )
            return reason.error
        if isinstance(reason, Expired):
            if isinstance(reason.scope, asyncio.Timeout) and _plain.is_left(reason.scope):  # it was of this job itself
                error.add_note(_LET_PASS)
                continue
            of_fixture = _name_owner(host, reason.scope) or " in an earlier set-up"
            name = "asyncio.timeout" if isinstance(reason.scope, asyncio.Timeout) else "a timeout of anyio"
            text = f"{name}(...) entered{of_fixture.replace(' of ', ' in ')} expired while {what} was running, "
            expired = TimeoutError(text + f"and cancelled it at {_find_place(error, item)}")
            return expired.with_traceback(error.__traceback__)
    return error


def is_reported(host: Host, group: BaseExceptionGroup[Any]) -> bool:
    """Whether the group holds nothing but crashes which a test was failed with already."""
    known = _reported.get(host)
    return bool(known) and all(any(leaf is error for error in known or ()) for leaf in _leaves(group))


def _leaves(error: BaseException) -> Iterator[BaseException]:
    if isinstance(error, BaseExceptionGroup):
        for inner in error.exceptions:
            yield from _leaves(inner)
    else:
        yield error


def _find_place(error: BaseException, item: pytest.Item) -> str:
    """Return file and line in the user's code at which the exception passed last."""
    place = item.nodeid
    path = str(item.path)
    traceback: TracebackType | None = error.__traceback__
    while traceback is not None:
        code = traceback.tb_frame.f_code
        if code.co_filename == path:
            place = f"{item.path.name}:{traceback.tb_lineno}"
        traceback = traceback.tb_next
    return place


def _name_owner(host: Host, scope: object) -> str:
    """Return " of fixture 'name'" for the fixture that holds the scope in a variable, or the only one there is."""
    generators = host.suspended
    for definition, generator in generators.items():
        if _holds(generator, scope):
            return f" of fixture {definition.argname!r}"
    if len(generators) == 1:
        return f" of fixture {next(iter(generators)).argname!r}"
    return ""


def _holds(generator: Any, scope: object) -> bool:
    frame = generator.ag_frame
    if frame is None:
        return False
    return any(value is scope or getattr(value, "cancel_scope", None) is scope for value in frame.f_locals.values())


def describe_outer_loop(what: str) -> str:
    """Say what to do when pytest itself was started inside a running loop."""
    return (
        f"{what} cannot run, because pytest itself was started inside a running event loop: "
        "start pytest in a thread of its own, with await asyncio.to_thread(pytest.main, [...])."
    )
