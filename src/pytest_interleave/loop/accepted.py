"""The connections that servers in the loop accept, who works for each, and what these make and end by themselves.

A server's task is known by the step that makes it: a callback of the connection's own transport or protocol. What a
task of the connection makes in its steps is the connection's too, tasks included; so nothing is asked of the server.
Since Python 3.12 aiohttp makes its tasks without asking the loop: these have no number, and are known by themselves.
"""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

from pytest_interleave.loop import _waits
from pytest_interleave.loop.frames import frames
from pytest_interleave.loop.places import calling
from pytest_interleave.loop.unasked import MAY_BE, is_unasked
from pytest_interleave.origins import rank
from pytest_interleave.trace import Place


@dataclass(eq=False, slots=True)
class Connection:
    """One that a server accepted."""

    #: Of the task that accepted it.
    number: int
    transport: Any
    #: Who works for it, each with the task whose step made it; None: a callback's, so that it is the server's own.
    workers: dict[Any, Any] = field(default_factory=dict)

    @property
    def is_over(self) -> bool:
        """Whether the server is done with it."""
        return all(task.done() for task, maker in self.workers.items() if maker is None)


@dataclass(eq=False, slots=True)
class Transport:
    """A connection that was made or accepted."""

    transport: Any
    place: Place | None
    #: Of the task that made it.
    creator: int
    #: Whose handler made it, if one did.
    connection: Connection | None = None
    #: Where the test itself was, if that made it.
    position: int | None = None


class AcceptedConnections:
    """Follows the steps of one run."""

    def __init__(self, loop: Any, find_position: Callable[[], int | None]) -> None:
        self.loop = loop
        self.find_position = find_position
        #: All transports of the run, in order.
        self.transports: list[Transport] = []
        #: What handlers ended themselves, and what they left to others, before they ended.
        self.ended_by_maker: set[str] = set()
        self.left_to_others: set[str] = set()
        self._by_object: dict[int, Connection] = {}
        self._by_task: dict[Any, Connection] = {}
        self._made: dict[Any, list[tuple[str, Any]]] = {}
        self._before = 0, 0
        #: Tasks that the loop was not asked for, whosever they are.
        self._foreign: set[Any] = set()

    @contextmanager
    def watched(self) -> Iterator[None]:
        """Note the transports that the loop makes while the context lasts."""
        loop = self.loop
        originals = {name: getattr(loop, name) for name in ("_make_socket_transport", "_make_ssl_transport")}

        def noting(make: Any) -> Any:
            def make_and_note(sock: Any, protocol: Any, *args: Any, **options: Any) -> Any:
                transport = make(sock, protocol, *args, **options)
                raw = _waits.transport_of(loop, sock) or transport
                creator = getattr(asyncio.current_task(loop), "number", 0)
                made = Transport(raw, calling(sys._getframe(1)), creator, position=self.find_position())
                self.transports.append(made)
                if options.get("server") is not None:
                    connection = Connection(creator, raw)
                    if not self._by_object:
                        self._look()
                    for thing in (raw, raw.get_protocol()):
                        self._by_object[id(thing)] = connection
                return transport

            return make_and_note

        for name, make in originals.items():
            setattr(loop, name, noting(make))
        try:
            yield
        finally:
            for name in originals:
                delattr(loop, name)

    @property
    def are_there(self) -> bool:
        """Whether any connection was accepted yet; until then, ``follow`` need not be called."""
        return bool(self._by_object)

    def connection_of(self, task: Any) -> Connection | None:
        """Return the connection for which the task works."""
        return self._by_task.get(task)

    def follow(self, owner: Any) -> tuple[Connection, Any] | None:
        """Hear whose step it was: a task, or whatever the callback belonged to.

        If that was the step of a task that works for a connection, and it waits in the user's lines now, or a task does
        that it waits for, return the connection and the task.
        """
        tasks, transports, foreign = *self._before, self._look()
        is_task = isinstance(owner, asyncio.Task)
        connection = self._by_task.get(owner) if is_task else self._by_object.get(id(owner))
        if connection is None:
            return None
        maker = owner if is_task else None
        numbered = self._numbered_since(tasks) if len(self.loop.parents) > tasks else []
        for task in (*numbered, *foreign):
            self._by_task[task] = connection
            connection.workers[task] = maker
            if maker is not None:
                self._made.setdefault(maker, []).append((key_of_task(task), task))
        for made in self.transports[transports:]:
            if made.connection is None and id(made.transport) not in self._by_object:
                made.connection = connection
                self._made.setdefault(maker, []).append((key_of_place(made.place), made.transport))
        if maker is None:
            return None
        if maker.done():
            self._note_ends(maker)
            return None
        task = innermost(maker)
        return (connection, task) if self._by_task.get(task) is connection and has_user_lines(task) else None

    def _numbered_since(self, first: int) -> list[Any]:
        return [task for task in asyncio.all_tasks(self.loop) if getattr(task, "number", -1) >= first]

    def _look(self) -> list[Any]:
        """Remember how much there is; return the tasks that have come without a number."""
        self._before = len(self.loop.parents), len(self.transports)
        if not MAY_BE:
            return []
        new = [task for task in asyncio.all_tasks(self.loop) if is_unasked(task)]
        new = [task for task in new if task not in self._foreign]
        self._foreign.update(new)
        return new

    def _note_ends(self, maker: Any) -> None:
        for key, made in self._made.pop(maker, ()):
            (self.ended_by_maker if _is_ending(made) else self.left_to_others).add(key)


def _is_ending(made: Any) -> bool:
    if isinstance(made, asyncio.Task):
        return made.done() or made.cancelling() > 0
    return bool(made.is_closing())


def innermost(task: Any) -> Any:
    """Return the task that this one waits for in the end; itself, if it waits for none."""
    future = _waits.awaited_future(task)
    while isinstance(future, asyncio.Task):
        task, future = future, _waits.awaited_future(future)
    return task


def has_user_lines(task: Any) -> bool:
    """Whether it stands in the user's own files."""
    return any(rank(frame.f_code.co_filename) == 2 for frame, _ in frames(task))


def key_of_task(task: Any) -> str:
    """Return what tasks of that kind have in common from run to run."""
    return str(getattr(task.get_coro(), "__qualname__", type(task.get_coro()).__qualname__))


def key_of_place(place: Place | None) -> str:
    """Return what connections that are made there have in common from run to run."""
    return "" if place is None else f"{place.file}:{place.line}"
