"""A request that arrived at a mock route or a recording, and what is said of one that nothing there answers."""

from __future__ import annotations

import json as json_module
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol, TypeVar

if TYPE_CHECKING:
    from pytest_interleave.net.routes import Route

#: What a client gets whose request nothing answers: no API answers so by itself.
NO_ROUTE_STATUS = 501
_LONGEST_VALUE = 200


@dataclass(eq=False)
class Call:
    """One request that arrived."""

    method: str
    url: str
    path: str
    query: tuple[tuple[str, str], ...]
    headers: Mapping[str, str]
    body: bytes
    #: By the clock of the loop: virtual where time is.
    began: float
    #: When the reply was given; None as long as it is not.
    ended: float | None = None
    route: Route | None = None

    @property
    def text(self) -> str:
        """The body as text."""
        return self.body.decode(errors="replace")

    def json(self) -> Any:
        """Return what the body says as JSON."""
        return json_module.loads(self.body)

    def __repr__(self) -> str:
        return f"<{self.method} {self.url}>"


class Expected(Protocol):
    """What an unmatched request is compared with: a route, or a request that was recorded."""

    @property
    def path(self) -> str | re.Pattern[str]:
        """The path that is asked for."""

    def mismatches(self, call: Call) -> list[str]:
        """Return what of the request is not as it should be, a line each."""


@dataclass(frozen=True)
class Unmatched:
    """A request that fitted no route."""

    call: Call
    routes: tuple[Route, ...]

    @property
    def place(self) -> str | None:
        """Where the nearest route is declared, as ``file:line``."""
        nearest = self.nearest()
        return None if nearest is None else nearest.place

    @property
    def advice(self) -> str:
        """What to do about it; ``{test}`` stands for the test."""
        return ""

    def summary(self) -> str:
        """Return one line."""
        return f"{self.call.method} {self.call.url} fits no route"

    def nearest(self) -> Route | None:
        """Return the route that it misses by the least."""
        return nearest_of(self.call, self.routes)

    def differences(self) -> tuple[str, ...]:
        """Return what the nearest route wants and what came, then the other routes."""
        nearest = self.nearest()
        if nearest is None:
            return ("no route is declared",)
        others = [route for route in self.routes if route is not nearest]
        lines = [f"the nearest, declared there, is {nearest}:"]
        lines += [f"  {line}" for line in nearest.mismatches(self.call)]
        if others:
            lines.append("others: " + ", ".join(str(route) for route in others))
        return tuple(lines)


_AnyExpected = TypeVar("_AnyExpected", bound=Expected)


def nearest_of(call: Call, expected: Iterable[_AnyExpected]) -> _AnyExpected | None:
    """Return what the request misses by the least; None if nothing is expected."""

    def distance(one: _AnyExpected) -> tuple[bool, int, int]:
        """Order them: those for this path first, then by how much else differs, then by how the path begins."""
        found = one.mismatches(call)
        path = one.path if isinstance(one.path, str) else ""
        common = sum(1 for one, other in zip(path.split("/"), call.path.split("/"), strict=False) if one == other)
        return any(line.startswith("path") for line in found), len(found), -common

    return min(expected, key=distance, default=None)


def query_text(pairs: Iterable[tuple[str, str]]) -> str:
    """Return a query for a message."""
    return "&".join(f"{name}={value}" for name, value in pairs) or "none"


def shorten(text: str) -> str:
    """Return as much of a text as a message may have."""
    return text if len(text) <= _LONGEST_VALUE else f"{text[:_LONGEST_VALUE]}… ({len(text)} characters)"


def show_difference(one: str, other: str) -> tuple[str, str]:
    """Return two texts in JSON without what they have in common. Raise ``ValueError`` if one of them is none."""
    left, right = _reduce(json_module.loads(one), json_module.loads(other))
    return json_module.dumps(left, ensure_ascii=False), json_module.dumps(right, ensure_ascii=False)


def _reduce(one: Any, other: Any) -> tuple[Any, Any]:
    if isinstance(one, list) and isinstance(other, list) and len(one) == len(other):
        one, other = ({f"[{index}]": value for index, value in enumerate(values)} for values in (one, other))
    if not isinstance(one, dict) or not isinstance(other, dict):
        return one, other
    left, right = {}, {}
    for key in {**one, **other}:
        if key not in other:
            left[key] = one[key]
        elif key not in one:
            right[key] = other[key]
        elif one[key] != other[key]:
            left[key], right[key] = _reduce(one[key], other[key])
    return left, right
