"""Calls that block their loop, one by one and however short: seen in one run, by a profile function.

The interpreter tells a profile function of each call of a function in C, and where blocking is done it is done in C.
That makes a run some four times as long (measured: 3.7), so it is done in one of hundreds. An audit hook cannot be
removed, costs 0.16 µs for each ``id()`` in the process (2.6 % of an exploration), and hears of no lock or ``os.stat``.
"""

from __future__ import annotations

import asyncio
import os
import socket
import sys
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from types import FrameType
from typing import Any

from pytest_interleave.clock.real import monotonic
from pytest_interleave.loop import _plain
from pytest_interleave.loop.frames import is_frame_of
from pytest_interleave.loop.states import RunQueue
from pytest_interleave.loop.watchdog import EXCUSED, START_OF_THREAD, Spot

try:
    import resource
except ImportError:  # Windows
    resource = None  # type: ignore[assignment]

#: A call that waits is told whatever it is, if it waits for so long. One that waits for the interpreter's lock, because
#: a thread computes, is woken every 0.005 s.
_LONG_WAIT_SECONDS = 0.02
_UNBROKEN_SECONDS = 0.01
#: A sleep of 0 s waits for nothing.
_SLEEP_SECONDS = 0.001
#: After so many calls nobody looks any more, lest a long computation take several times as long.
_MOST_CALLS = 500_000
#: What these do for a line of the user's is asynchronous (``create_subprocess_exec``), or known to everybody
#: (``logging``), or happens when something has failed and is to be shown; or it is ours, and of tests alone.
_TRUSTED = frozenset(("asyncio", "linecache", "logging", "pytest_interleave", "traceback", "warnings"))
_FILES = (
    *("access", "chmod", "chown", "fsync", "link", "listdir", "lstat", "mkdir", "open", "readlink", "remove", "rename"),
    *("replace", "rmdir", "scandir", "stat", "statvfs", "symlink", "truncate", "unlink", "utime"),
)
_PROCESSES = ("posix_spawn", "posix_spawnp", "system")
_NAMES = ("getaddrinfo", "gethostbyaddr", "gethostbyname", "gethostbyname_ex")
_OF_SOCKETS = frozenset(("accept", "connect", "connect_ex", "recv", "recv_into", "recvfrom"))
_OF_DATABASES = frozenset(("commit", "execute", "executemany", "executescript", "rollback"))
_DATA = ("file", "database")
_OF_OBJECTS = _OF_SOCKETS | _OF_DATABASES


@dataclass(frozen=True, slots=True)
class BlockingCall:
    """A call that kept its loop from everything else, and where: innermost frame first."""

    spots: tuple[Spot, ...]
    seconds: float
    #: Whether it only reads or writes a file or a database: short, and often what a test prepares or looks at.
    is_of_data: bool
    #: How many of them lie within the innermost frame that may do that; all, if there is none.
    untrusted: int


class CallWatch:
    """Collects the blocking calls that the steps of controlled loops make in this thread."""

    def __init__(self) -> None:
        self.found: list[BlockingCall] = []
        self._functions = _functions()
        self._frame: FrameType | None = None
        self._begun = 0.0
        self._switches = 0
        self._calls = 0
        self._queue = RunQueue(with_others=True)

    @contextmanager
    def watching(self, loops: Iterable[asyncio.AbstractEventLoop]) -> Iterator[None]:
        """Look at these loops while this lasts, and at nothing that runs beside them: fixtures may do much."""
        watched = list(loops)
        for loop in watched:
            vars(loop)["run_forever"] = partial(self._run, loop.run_forever)
        try:
            yield
        finally:
            for loop in watched:
                del vars(loop)["run_forever"]

    def _run(self, run_forever: Callable[[], None]) -> None:
        if sys.getprofile() is not None:  # somebody else's
            run_forever()
            return
        profile = self._profile
        self._queue.open()
        sys.setprofile(profile)
        try:
            run_forever()
        finally:
            if sys.getprofile() is profile:
                sys.setprofile(None)
            self._frame = None
            self._queue.close()

    def _profile(self, frame: FrameType, event: str, function: Any) -> None:
        if event == "c_call":
            self._calls += 1
            if self._calls > _MOST_CALLS:
                sys.setprofile(None)
            kind = self._kind_of(function, frame)
            if kind is not None:
                self._note(frame, 0.0, kind)
            self._frame = frame
            self._queue.note(monotonic())
            self._switches = _count_switches()
            self._begun = monotonic()
        elif frame is self._frame and (event == "c_return" or event == "c_exception"):
            self._frame = None  # it called nothing else in C: its time is its own
            seconds = monotonic() - self._begun
            if self._has_waited(function, seconds):
                self._note(frame, seconds)

    def _kind_of(self, function: Any, frame: FrameType) -> str | None:
        kind = self._functions.get(function)
        if kind is None:
            name = function.__name__
            return _kind_of_method(function.__self__, name) if name in _OF_OBJECTS else None
        if kind == "name" and _is_numeric(frame):
            return None
        return None if frame.f_code is os.fdopen.__code__ else kind  # that is of what is open already

    def _has_waited(self, function: Any, seconds: float) -> bool:
        if function is time.sleep:
            return seconds >= _SLEEP_SECONDS
        if seconds < _LONG_WAIT_SECONDS:
            return False
        waited = seconds - self._queue.seconds()
        return waited >= _LONG_WAIT_SECONDS and (0 < _count_switches() - self._switches <= waited / _UNBROKEN_SECONDS)

    def _note(self, frame: FrameType, seconds: float, kind: str = "") -> None:
        spots: list[Spot] = []
        untrusted: int | None = None
        outer: FrameType | None = frame
        while outer is not None:
            if outer.f_code in _plain.turns:
                may_be = len(spots) if untrusted is None else untrusted
                self.found.append(BlockingCall(tuple(spots), seconds, kind in _DATA, may_be))
                return
            if is_frame_of(outer, EXCUSED):
                return
            if untrusted is None and (outer.f_code is START_OF_THREAD or is_frame_of(outer, _TRUSTED)):
                untrusted = len(spots)
            spots.append((outer.f_code, outer.f_lasti))
            outer = outer.f_back


def _functions() -> dict[Any, str]:
    """Return the functions that block, however short, and of which kind each is."""
    found = {getattr(os, name, None): "file" for name in _FILES}
    found |= {getattr(os, name, None): "process" for name in _PROCESSES}
    found |= {getattr(socket, name, None): "name" for name in _NAMES}
    for module, name, kind in (
        ("_socket", "getaddrinfo", "name"),  # the one in socket is Python's
        ("_posixsubprocess", "fork_exec", "process"),
        ("sqlite3", "connect", "database"),
    ):
        if module in sys.modules:
            found[getattr(sys.modules[module], name, None)] = kind
    found[open] = "file"
    found.pop(None, None)
    return found


def _kind_of_method(owner: Any, name: str) -> str | None:
    if name in _OF_SOCKETS:
        is_socket = isinstance(owner, socket.SocketType) and owner.type == socket.SOCK_STREAM
        return "socket" if is_socket and owner.gettimeout() != 0 else None
    sqlite3: Any = sys.modules.get("sqlite3")
    is_database = sqlite3 is not None and isinstance(owner, sqlite3.Connection | sqlite3.Cursor)
    return "database" if is_database else None


def _is_numeric(frame: FrameType) -> bool:
    """Whether Python's ``getaddrinfo`` was asked for an address: nobody need be asked for that."""
    host = frame.f_locals.get("host") if frame.f_code is socket.getaddrinfo.__code__ else ""
    if host is None:
        return True
    for family in (socket.AF_INET, socket.AF_INET6):
        try:
            socket.inet_pton(family, host)
        except (OSError, TypeError, ValueError):
            continue
        return True
    return False


def _count_switches() -> int:
    """Return how often this thread has waited so far; 0 where the system does not tell (macOS, Windows)."""
    return resource.getrusage(_OF_THREAD).ru_nvcsw if _OF_THREAD is not None else 0


_OF_THREAD = getattr(resource, "RUSAGE_THREAD", None)
