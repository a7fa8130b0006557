"""What a test leaves changed for the next one: context variables, patched functions, the environment, logging.

Looked at once a test, when its fixtures are torn down, by comparing what the interpreter compares fast: a context with
a context, a tuple of functions with one that has the same in it. That costs about a microsecond. What async code sets
in its context does not leak, for it runs in a copy; what is left here was set by sync code, or is of the whole process.
"""

from __future__ import annotations

import logging
import os
import sys
from collections.abc import Callable, Iterator
from contextvars import Context, ContextVar, copy_context
from operator import itemgetter
from types import BuiltinFunctionType, FunctionType, ModuleType
from typing import Any, NamedTuple

import pytest

from pytest_interleave.detectors.findings import Finding
from pytest_interleave.origins import rank
from pytest_interleave.plugin.marks import find_scope_node

NAME = "leaked-context"
#: Of Python's own modules, what tests replace. Of the user's, all functions and classes are looked at.
_OF_PYTHON = {
    "asyncio": ("create_task", "gather", "get_running_loop", "open_connection", "run", "sleep", "timeout", "wait_for"),
    "os": ("getenv", "getpid", "listdir", "remove", "stat", "urandom"),
    "random": ("choice", "randint", "random", "shuffle", "uniform"),
    "socket": ("create_connection", "getaddrinfo", "socket"),
    "subprocess": ("Popen", "check_output", "run"),
    "time": ("monotonic", "perf_counter", "sleep", "time"),
    "uuid": ("uuid1", "uuid4"),
}
_OF_PYTEST = ("PYTEST_CURRENT_TEST",)
#: With so many, a look takes about five microseconds.
_MOST_NAMES = 300
#: Packages whose fixtures of wider scope change nothing that is looked at.
_HARMLESS = ("_pytest", "pytest_interleave")
_KINDS = (FunctionType, BuiltinFunctionType, type)
_MISSING: Any = object()
_ADVICE = "Undo it in the test (token, 'finally'), or let a fixture do it: monkeypatch, or one that has a 'yield'."


class _State(NamedTuple):
    context: Context
    environment: dict[Any, Any]
    root_level: int
    disabled: int
    patches: tuple[Any, ...]
    values: tuple[Any, ...]


class Ambient:
    """Compares what there is after a test with what there was after the one before."""

    def __init__(self) -> None:
        self._path: Any = None
        self._watched: list[tuple[ModuleType, Callable[[Any], tuple[Any, ...]], tuple[str, ...]]] = []
        self._state: _State | None = None
        #: Tests that have run here: xdist gives a worker others than those before one in the list.
        self._begun: list[pytest.Item] = []

    def begin(self, item: pytest.Item) -> None:
        """Look at the modules that this test knows, if the one before was of another file."""
        self._begun.append(item)  # no set, which would ask for its hash: that of its node id
        if self._state is None or item.path is not self._path:
            self._path = item.path
            module = getattr(item, "module", None)
            self._watched = list(_watched(module)) if isinstance(module, ModuleType) else []
            self._state = self._look()

    def end(self, item: pytest.Item) -> Finding | None:
        """Return what the test left changed, if anything."""
        before = self._state
        if before is None or self._is_as_it_was(before):
            return None
        self._state = after = self._look()
        if _shares_fixtures_that_change(item, set(self._begun)):
            return None
        path, line, _ = item.location
        where = f"{item.config.rootpath / path}:{(line or 0) + 1}"
        whats = list(dict.fromkeys(self._differences(before, after)))
        if not whats:
            return None
        if len(whats) == 1:
            return Finding(NAME, f"{whats[0]} for the tests that come", where, advice=_ADVICE)
        return Finding(NAME, f"{len(whats)} things were left for the tests that come", where, tuple(whats), _ADVICE)

    def _look(self) -> _State:
        return _State(
            copy_context(),
            dict(_environment()),
            logging.root.level,
            logging.root.manager.disable,
            tuple(_active_patches()),
            self._values(),
        )

    def _is_as_it_was(self, state: _State) -> bool:
        try:
            return (
                state.environment == _environment()
                and state.context == copy_context()
                and state.root_level == logging.root.level
                and state.disabled == logging.root.manager.disable
                and len(state.patches) == len(_active_patches())
                and (not self._watched or state.values == self._values())
            )
        except Exception:  # of values that are not to be compared, as arrays are
            return False

    def _values(self) -> tuple[Any, ...]:
        values: list[Any] = []
        for module, get, names in self._watched:
            try:
                values += get(vars(module))
            except KeyError:  # one was removed
                values += [vars(module).get(name, _MISSING) for name in names]
        return tuple(values)

    def _differences(self, before: _State, after: _State) -> Iterator[str]:
        for variable in {**after.context, **before.context}:
            now = _value(variable, after.context)
            if _value(variable, before.context) is not now:
                yield f"context variable {variable.name!r} was left {'set' if variable in after.context else 'unset'}"
        for name in sorted(before.environment.keys() | after.environment.keys()):
            is_same = before.environment.get(name, _MISSING) == after.environment.get(name, _MISSING)
            if not is_same and os.fsdecode(name) not in _OF_PYTEST:
                what = "changed" if name in before.environment and name in after.environment else None
                what = what or ("set" if name in after.environment else "unset")
                yield f"os.environ[{os.fsdecode(name)!r}] was left {what}"
        if before.root_level != after.root_level:
            yield f"the root logger's level was left at {logging.getLevelName(after.root_level)}"
        if before.disabled != after.disabled:
            yield f"logging was left disabled up to {logging.getLevelName(after.disabled)}"
        for patch in after.patches:
            if patch not in before.patches:
                yield f"the mock.patch of {_target_of(patch)!r} was started and not stopped"
        names = [(module, name) for module, _, names in self._watched for name in names]
        for (module, name), old, new in zip(names, before.values, after.values, strict=True):
            if old is not new:
                yield f"{module.__name__}.{name} was left replaced"


def _value(variable: ContextVar[Any], context: Context) -> Any:
    """Return what it is in the context: its default, where it is not set."""
    if variable in context:
        return context[variable]
    try:
        return Context().run(variable.get)
    except LookupError:
        return _MISSING


def _environment() -> dict[Any, Any]:
    """Return what os.environ keeps, which is compared ten times as fast as the mapping itself."""
    environ: Any = os.environ
    found: dict[Any, Any] = getattr(environ, "_data", environ)
    return found


def _active_patches() -> list[Any]:
    mock: Any = sys.modules.get("unittest.mock")
    return getattr(getattr(mock, "_patch", None), "_active_patches", None) or []


def _target_of(patch: Any) -> str:
    try:
        target = patch.target
    except AttributeError:
        target = getattr(patch, "in_dict", "?")
    return f"{getattr(target, '__name__', target)}.{getattr(patch, 'attribute', '')}".rstrip(".")


def _watched(module: ModuleType) -> Iterator[tuple[ModuleType, Callable[[Any], tuple[Any, ...]], tuple[str, ...]]]:
    """Yield the modules in a test module's names that are worth a look, each with what is to be looked at."""
    found: dict[int, ModuleType] = {}
    _collect_modules(module, found)
    left = _MOST_NAMES
    for each in found.values():
        names = _OF_PYTHON.get(each.__name__) or tuple(_functions_of(each))
        left -= len(names)
        if left < 0:
            return
        if len(names) > 1:
            yield each, itemgetter(*names), names
        elif names:
            yield each, _only(names[0]), names


def _collect_modules(module: ModuleType, found: dict[int, ModuleType]) -> None:
    """Collect the modules among a module's names, and those among the names of a package of the user's."""
    for value in list(vars(module).values()):
        if isinstance(value, ModuleType) and id(value) not in found:
            found[id(value)] = value
            if _is_of_user(value) and hasattr(value, "__path__"):
                _collect_modules(value, found)


def _only(name: str) -> Callable[[Any], tuple[Any, ...]]:
    return lambda values: (values[name],)


def _functions_of(module: ModuleType) -> Iterator[str]:
    """Yield the names of functions and classes of a module of the user's: a module seldom changes them itself."""
    if _is_of_user(module):
        yield from (name for name, value in vars(module).items() if isinstance(value, _KINDS))


def _is_of_user(module: ModuleType) -> bool:
    path = getattr(module, "__file__", None)
    return path is not None and rank(path) == 2


def _shares_fixtures_that_change(item: pytest.Item, begun: set[pytest.Item]) -> bool:
    """Whether a fixture of wider scope began or ended with this test: it may have changed something for several."""
    own = _wider_fixtures(item)
    still_open = item.session._setupstate.stack
    for scope in ("class", "module", "session"):
        node = find_scope_node(item, scope)
        others = [other for other in item.session.items if find_scope_node(other, scope) is node]
        if any(definition.params for definition in own if _is_of(definition, scope)):
            return True
        earlier = [other for other in others if other in begun and other is not item]
        before = {id(each) for other in earlier for each in _wider_fixtures(other)}
        if any(id(definition) not in before for definition in own if _is_of(definition, scope)):
            return True  # it began
        has_ended = node not in still_open  # a worker of xdist, whose last test is seldom the last in the list, too
        if has_ended and any(_is_of(each, scope) for other in (item, *earlier) for each in _wider_fixtures(other)):
            return True
    return False


def _wider_fixtures(item: pytest.Item) -> list[Any]:
    info = getattr(item, "_fixtureinfo", None)
    last = [found[-1] for found in info.name2fixturedefs.values() if found] if info is not None else []
    return [
        definition
        for definition in last
        if definition.scope != "function" and definition.func.__module__.partition(".")[0] not in _HARMLESS
    ]


def _is_of(definition: Any, scope: str) -> bool:
    return definition.scope == scope or (definition.scope == "package" and scope == "session")
