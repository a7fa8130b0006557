"""The user's own name of an object: ``bank.lock``, ``locks['a']``, ``Account.lock``.

A local variable is often the worst name: two tasks that run ``transfer(first, second)`` call four locks by two names.
So all names are collected, and the best is one that means this object only, reached from as far out as possible.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from itertools import islice
from types import FunctionType, ModuleType
from typing import Any

_DEPTH = 3
_MOST_OBJECTS = 2000
_MOST_ITEMS = 100


@dataclass(frozen=True, slots=True)
class Scope:
    """The variables of one frame, or of a module. ``distance``: how far from the test, 0 is its own."""

    variables: Mapping[str, Any]
    distance: int


def name_objects(targets: Iterable[Any], scopes: Iterable[Scope]) -> dict[int, str]:
    """Return the best name of each target by its ``id``; two targets never get the same."""
    wanted = {id(target): target for target in targets}
    found: dict[int, dict[str, int]] = {key: {} for key in wanted}
    for scope in scopes:
        for key, name, score in _search(scope, wanted):
            names = found[key]
            names[name] = min(score, names.get(name, score))
    meanings: dict[str, set[int]] = {}
    for key, names in found.items():
        for name in names:
            meanings.setdefault(name, set()).add(key)
    chosen: dict[int, str] = {}
    taken: dict[str, int] = {}
    for key, names in found.items():
        ranked = sorted(names, key=lambda name: (len(meanings[name]) > 1, names[name], len(name), name))
        if not ranked:
            continue
        name = ranked[0]
        if len(meanings[name]) > 1:
            taken[name] = taken.get(name, 0) + 1
            name = f"{name} #{taken[name]}"
        chosen[key] = name
    return chosen


def _search(scope: Scope, wanted: Mapping[int, Any]) -> Iterator[tuple[int, str, int]]:
    """Yield each way from the variables to a wanted object, shortest first, with a score: lower is better."""
    queue: deque[tuple[str, Any, int]] = deque()
    for name, value in list(scope.variables.items()):
        if name.startswith(("__", "@")):
            continue
        queue.append((_base(name, value), value, 0))
    seen: set[int] = set()
    while queue and len(seen) < _MOST_OBJECTS:
        name, value, depth = queue.popleft()
        if id(value) in wanted:
            # A local variable of a callee says least; what hangs off an object or a dict says more.
            yield id(value), name, depth + (3 if scope.distance and not depth else scope.distance and 1)
            continue
        if depth == _DEPTH or id(value) in seen or isinstance(value, ModuleType | FunctionType | type | str | bytes):
            continue
        seen.add(id(value))
        for part, inner in islice(_parts(value), _MOST_ITEMS):
            queue.append((name + part, inner, depth + 1))


def _base(name: str, value: Any) -> str:
    """Return the name, but the class for ``self``: who "self" is, is not seen from outside."""
    return type(value).__name__ if name in ("self", "cls") else name


def _parts(value: Any) -> Iterator[tuple[str, Any]]:
    if isinstance(value, dict):
        for key, inner in list(value.items()):
            if isinstance(key, str | int | bool | tuple | None) and len(repr(key)) <= 30:
                yield f"[{key!r}]", inner
    elif isinstance(value, list | tuple | deque):
        for index, inner in enumerate(list(value)[:_MOST_ITEMS]):
            yield f"[{index}]", inner
    else:
        for name, inner in list(getattr(value, "__dict__", {}).items()):
            yield f".{name}", inner
        for kind in type(value).__mro__:
            slots = kind.__dict__.get("__slots__", ())
            for name in (slots,) if isinstance(slots, str) else slots:
                if not name.startswith("__"):
                    try:
                        yield f".{name}", object.__getattribute__(value, name)
                    except AttributeError:
                        pass
