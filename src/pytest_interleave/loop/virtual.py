"""The loop of a plain run in virtual time: asyncio's own order, nothing chosen, nothing noted."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from pytest_interleave.errors import Blocked, Deadlocked, TimeLimit
from pytest_interleave.loop.controlled import ControlledLoop


class _Forgetful(list[Any]):
    """A trace that nobody will read: a minute of load has a million steps."""

    __slots__ = ()

    def append(self, _: Any) -> None:
        """Forget it."""


class VirtualLoop(ControlledLoop):
    """asyncio's selector loop, but that it jumps to the next timer where asyncio would wait for it."""

    def __init__(self, *, describe: Callable[[Any, float | None], str], resting_threads: frozenset[int]) -> None:
        #: Says why the loop cannot go on: nobody can, or that many seconds of virtual time are over.
        self._describe = describe
        super().__init__()
        self.resting_threads = resting_threads
        self._limit_seconds = float("inf")

    def reset(self) -> None:
        """Forget the last run."""
        super().reset()
        self.trace = _Forgetful()

    #: A host ends what is left as on asyncio's own loop, and tells of it.
    clear: Any = None

    def relax(self, grace_steps: int = 0) -> None:
        """Give what is left its time once more, to clean up."""
        self.limit(self._limit_seconds)

    def limit(self, virtual_seconds: float) -> None:
        """Let that much virtual time pass from now on, and no more."""
        self._limit_seconds = virtual_seconds
        self.time_limit = self.time() + virtual_seconds

    def run_forever(self) -> None:
        """Run until ``stop``; what can never end raises ``Deadlocked``, which says where everybody stands."""
        try:
            super().run_forever()
        except Blocked:
            raise Deadlocked(self._describe(self, None)) from None
        except TimeLimit as limit:
            if limit.is_real:
                raise
            text = self._describe(self, self._limit_seconds)
            self.limit(self._limit_seconds)  # what is left has to be torn down
            raise Deadlocked(text) from None


def clock_of(loop: Any) -> str:
    """Return which clock the loop's time is."""
    return "virtual" if isinstance(loop, ControlledLoop) else "real"
