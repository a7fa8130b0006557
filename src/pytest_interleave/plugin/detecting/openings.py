"""Executors and client sessions that a test opens, and where: those that are open when their loop ends are told.

They are no files, so that a loop does not know of them, and one that was dropped cannot be asked where it was made. So
their classes note it, which costs only those who make one. What was made while no loop ran belongs to no test.
"""

from __future__ import annotations

import concurrent.futures
import functools
import gc
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from types import FunctionType, ModuleType, NoneType
from typing import Any
from weakref import ref

from pytest_interleave.detectors.findings import Finding
from pytest_interleave.loop import _plain
from pytest_interleave.loop.host import Host
from pytest_interleave.origins import is_of_python, lines_from

_EXECUTORS = (
    ("concurrent.futures.thread", "ThreadPoolExecutor"),
    ("concurrent.futures.process", "ProcessPoolExecutor"),
)
_NOT_KEEPING = frozenset((FunctionType, ModuleType, NoneType, str, bytes, int, float, bool))
_EXECUTOR = (
    "was not shut down",
    "Use it in 'with', or call its shutdown(); what is to outlive the test belongs into a fixture.",
)
_SESSION = "was not closed", "Use it in 'async with', or await its close()."


#: Lines whose executors no module keeps: to find that out takes a tenth of a second where much is imported.
_dropped_at: set[str] = set()


@dataclass(frozen=True, slots=True)
class Opening:
    """Something that is open, in which loop it was made, and on which line."""

    kind: str
    loop: Any
    where: str | None
    function: str
    made: Any

    def finding(self, path_of_test: str) -> Finding | None:
        """Return that it was left open, unless that is no news."""
        return None if _is_excused(self, path_of_test) else self.left_open()

    def left_open(self) -> Finding:
        """Return that it was left open."""
        what, advice = _SESSION if self.kind == "ClientSession" else _EXECUTOR
        details = (f"made in {self.function}",) if self.function else ()
        return Finding("left-open", f"{self.kind} {what}", self.where, details, advice)


class Openings:
    """Notes what is opened in the loops of hosts that have a watcher."""

    def __init__(self) -> None:
        self._undo: list[Callable[[], object]] = []
        self._patched: set[str] = set()

    def install(self) -> None:
        """Begin to note; classes that are imported later (``concurrent.futures`` does that) are noted as well."""
        load = getattr(concurrent.futures, "__getattr__", None)
        if load is not None:

            def load_and_note(name: str) -> Any:
                value = load(name)
                self.note_kinds()
                return value

            self._replace(concurrent.futures, "__getattr__", load_and_note)
        self.note_kinds()

    def uninstall(self) -> None:
        """Note nothing any more."""
        _dropped_at.clear()
        while self._undo:
            self._undo.pop()()

    def note_kinds(self) -> None:
        """Note what is made of the classes that there are by now."""
        for module, name in _EXECUTORS:
            kind = self._new_kind(module, name)
            if kind is not None:
                self._note_makers(kind)
                self._replace(kind, "shutdown", _forgetting(kind.shutdown))
        kind = self._new_kind("aiohttp", "ClientSession")
        if kind is not None:
            self._note_makers(kind)

    def _new_kind(self, module: str, name: str) -> Any:
        if name in self._patched or module not in sys.modules:
            return None
        self._patched.add(name)
        return getattr(sys.modules[module], name, None)

    def _note_makers(self, kind: Any) -> None:
        self._replace(kind, "__init__", _noting(kind.__init__, kind.__name__))

    def _replace(self, owner: Any, name: str, value: Any) -> None:
        self._undo.append(functools.partial(setattr, owner, name, getattr(owner, name)))
        setattr(owner, name, value)


def left_unclosed(loop: Any, path_of_test: str) -> Iterator[Finding]:
    """Yield a finding for each thing that was opened or taken in the loop and is still; each is told once."""
    for number, opened in list(Host.opened.items()):
        if opened.loop is loop:
            del Host.opened[number]
            finding = opened.finding(path_of_test)
            if finding is not None:
                yield finding


def _is_excused(opening: Opening, path_of_test: str) -> bool:
    made = opening.made()
    if opening.kind == "ClientSession":
        return made is None or bool(made.closed)  # one that was dropped told that by itself
    if made is None:
        return False
    is_of_test = opening.where is not None and opening.where.rpartition(":")[0] == path_of_test
    if made is getattr(opening.loop, "_default_executor", None):
        return True
    if is_of_test or opening.where in _dropped_at:
        return False
    if _is_kept_by_module(made):
        return True
    if opening.where is not None:
        _dropped_at.add(opening.where)
    return False


def _is_kept_by_module(made: object) -> bool:
    """Whether a module keeps it, as a pool that is made when it is first needed and then serves all.

    A module keeps what it has, what that has as an attribute, and what it has in its cache. (``gc.get_referrers`` does
    not see what ``gc.freeze`` hid.)
    """
    found: list[Any] = []
    for module in list(sys.modules.values()):
        path = getattr(module, "__file__", None)
        if isinstance(module, ModuleType) and path is not None and not is_of_python(path):
            found += vars(module).values()
    wanted = id(made)
    for _ in range(2):
        if wanted in map(id, found):
            return True
        found = gc.get_referents(*_keepers(found))
    return wanted in map(id, found)


def _keepers(found: list[Any]) -> list[Any]:
    """Return those that may keep something, each once: modules have much in common."""
    return [each for each in {id(each): each for each in found}.values() if type(each) not in _NOT_KEEPING]


def opening_of(made: Any) -> Opening | None:
    """Return where something was opened, if that was noted."""
    opening: Opening | None = Host.opened.pop(id(made), None)
    return opening


def _noting(make: Any, kind: str) -> Any:
    @functools.wraps(make)
    def __init__(self: Any, *args: Any, **kwargs: Any) -> None:  # noqa: N807 - it takes its place
        make(self, *args, **kwargs)
        host = Host.running[-1] if Host.running else None
        if host is not None and host.watcher is not None and _plain.get_running_loop_or_none() is host.loop:
            # The innermost line of the user's, or else of a package's.
            line = max(lines_from(sys._getframe(1)), key=lambda line: line.rank, default=None)
            where, function = (None, "") if line is None else (line.where, line.function)
            Host.opened[id(self)] = Opening(kind, host.loop, where, function, ref(self))

    return __init__


def _forgetting(shutdown: Any) -> Any:
    @functools.wraps(shutdown)
    def wrapper(self: Any, *args: Any, **kwargs: Any) -> Any:
        Host.opened.pop(id(self), None)
        return shutdown(self, *args, **kwargs)

    return wrapper
