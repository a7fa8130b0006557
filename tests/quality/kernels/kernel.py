"""What a kernel is."""

from __future__ import annotations

from collections.abc import Callable, Coroutine, Mapping
from dataclasses import dataclass, field
from typing import Any, TypeAlias

Program: TypeAlias = Callable[[], Coroutine[Any, Any, None]]


@dataclass(frozen=True)
class Kernel:
    """A small program with one bug, and its twin without it."""

    buggy: Program
    fixed: Program
    #: The operations that must be late, by how many seconds, for the bug to show on asyncio's own loop.
    delays: Mapping[str, float] = field(default_factory=dict)
    #: It shows as tasks that wait for ever; otherwise as an AssertionError.
    is_deadlock: bool = False
    #: From when, in seconds, and for how long something else must keep that loop busy: events then meet in one turn.
    busy: tuple[float, float] | None = None

    @property
    def name(self) -> str:
        return self.buggy.__name__
