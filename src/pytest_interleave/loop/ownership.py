"""Who holds which lock, and where it was taken: asyncio's own locks, watched while a failure is replayed.

Nothing is modelled. ``acquire`` and ``release`` are asyncio's; what is added is a note of the task that came through.
"""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from pytest_interleave.loop import _waits
from pytest_interleave.loop.places import calling
from pytest_interleave.trace import Place


class Ownership:
    """The locks that are held, by ``id``; the objects are kept alive, so that no ``id`` is used twice."""

    def __init__(self) -> None:
        self._held: dict[int, list[tuple[asyncio.Task[Any] | None, Place | None]]] = {}
        self._lost: dict[int, Place | None] = {}
        self._kept: list[Any] = []
        #: Where locks were taken that their holder gave back, and that another task did.
        self.released_by_holder: set[Place] = set()
        self.released_by_others: set[Place] = set()
        #: Is told of each lock that is taken, by the task that takes it.
        self.on_acquire: Callable[[Any], object] | None = None

    def holders(self, lock: Any) -> list[tuple[asyncio.Task[Any] | None, Place | None]]:
        """Return the tasks that hold the lock, and where each took it."""
        held = self._held.get(id(lock))
        if held:
            return held
        owner = _waits.owner(lock)
        return [] if owner is None else [(owner, None)]

    def lost_signal(self, primitive: Any) -> Place | None:
        """Return where an event or condition was last signalled while nobody waited."""
        return self._lost.get(id(primitive))

    def held(self) -> Iterator[tuple[Any, list[tuple[asyncio.Task[Any] | None, Place | None]]]]:
        """Yield the locks that are held, each once, with who holds them."""
        for lock in {id(lock): lock for lock in self._kept}.values():
            if self._held.get(id(lock)):
                yield lock, self._held[id(lock)]

    @property
    def count(self) -> int:
        """How many times a lock was taken, or signalled, so far."""
        return len(self._kept)

    def has_come_since(self, lock: Any, count: int) -> bool:
        """Whether the lock was taken after there were that many."""
        return any(kept is lock for kept in self._kept[count:])

    def has_held(self) -> bool:
        """Whether any lock is held."""
        return any(self._held.values())

    @contextmanager
    def watched(self, *, with_signals: bool = True) -> Iterator[None]:
        """Watch asyncio's locks, and its events and conditions as well, while the context lasts."""
        patches: list[tuple[type, str, Any]] = []

        def patch(owner: type, name: str, wrapper: Any) -> None:
            patches.append((owner, name, owner.__dict__[name]))
            setattr(owner, name, wrapper(owner.__dict__[name]))

        try:
            for kind in (asyncio.Lock, asyncio.Semaphore):
                patch(kind, "acquire", self._acquire)
                patch(kind, "release", self._release)
            if with_signals:
                patch(asyncio.Event, "set", self._signal)
                patch(asyncio.Condition, "notify", self._signal)
            yield
        finally:
            for owner, name, original in patches:
                setattr(owner, name, original)

    def _acquire(self, original: Any) -> Any:
        async def acquire(lock: Any) -> Any:
            result = await original(lock)
            self._kept.append(lock)
            self._held.setdefault(id(lock), []).append((_current_task(), calling(sys._getframe(1))))
            if self.on_acquire is not None:
                self.on_acquire(lock)
            return result

        return acquire

    def _release(self, original: Any) -> Any:
        def release(lock: Any) -> Any:
            result = original(lock)
            held = self._held.get(id(lock))
            if held:
                own = _current_task()
                index = next((i for i, (task, _) in enumerate(held) if task is own), 0)
                task, place = held.pop(index)
                if place is not None:
                    (self.released_by_holder if task is own else self.released_by_others).add(place)
            return result

        return release

    def _signal(self, original: Any) -> Any:
        def signal(primitive: Any, *args: Any) -> Any:
            if _waits.has_waiters(primitive):
                self._lost.pop(id(primitive), None)
            else:
                self._kept.append(primitive)
                self._lost[id(primitive)] = calling(sys._getframe(1))
            return original(primitive, *args)

        return signal


def _current_task() -> asyncio.Task[Any] | None:
    try:
        return asyncio.current_task()
    except RuntimeError:  # a callback outside any loop
        return None
