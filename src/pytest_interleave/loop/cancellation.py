"""Why the task that runs fixtures and tests was cancelled: read from the stack of whoever cancels it.

``Task.cancel`` knows no reason. The caller does: a task group cancels its parent from the done-callback of the child
that failed, ``asyncio.timeout`` from a timer. Both have the culprit in a local variable, a few frames up.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from types import FrameType

_FRAMES = 10


@dataclass(frozen=True)
class Crash:
    """A task of a task group failed, and the group cancels the task that opened it."""

    error: BaseException
    task_name: str
    group: object


@dataclass(frozen=True)
class Expired:
    """A timeout that was entered in an earlier job, and never left, ran out."""

    scope: object


@dataclass(frozen=True)
class Interrupt:
    """Ctrl-C."""


@dataclass(frozen=True)
class Requested:
    """Somebody called ``cancel()``."""

    message: object


Cancellation = Crash | Expired | Interrupt | Requested


def find_cancellation(frame: FrameType | None, message: object) -> Cancellation:
    """Return the reason for a ``cancel()`` that was called from ``frame``."""
    for _ in range(_FRAMES):
        if frame is None:
            break
        reason = _reason_in(frame)
        if reason is not None:
            return reason
        frame = frame.f_back
    return Requested(message)


def _reason_in(frame: FrameType) -> Crash | Expired | None:
    variables = frame.f_locals
    owner = variables.get("self")
    if isinstance(owner, asyncio.Timeout):
        return Expired(owner)
    if type(owner).__name__ == "CancelScope" and frame.f_code.co_name == "_timeout":  # anyio.fail_after, move_on_after
        return Expired(owner)
    for value in variables.values():
        if isinstance(value, asyncio.Task) and value.done() and not value.cancelled():
            error = value.exception()
            if error is not None:
                return Crash(error, value.get_name(), owner)
    return None
