"""What pytest asks each test some dozen times, and searches for each time: answered without a search.

Where a test stands, its hooks, its marks and its keywords: in pytest's words and order, for async and for sync tests.
"""

from __future__ import annotations

import functools
from collections.abc import Iterator
from types import FunctionType
from typing import Any, ClassVar

import pytest
from _pytest.mark.structures import NodeKeywords


class QuickFunction(pytest.Function):
    """pytest's own item, which answers faster."""

    #: Whose hooks were looked up last, and those. One for all items: what stays with each would cost more.
    hooks_of: ClassVar[tuple[Any, Any]] = (None, None)

    @property
    def ihook(self) -> Any:
        """The hooks that apply at this path, looked up once for all tests of a class or module.

        pytest asks nine times a test, and looks each time for the conftest.py files that count (0.7 µs; if some do not,
        it makes a caller for each hook anew). While tests run they are the same for all nodes of a file.
        """
        parent = self.parent
        owner, hooks = QuickFunction.hooks_of
        if owner is parent:
            return hooks
        hooks = super().ihook
        if self.session.testscollected:  # not during the collection, which may bring more conftest.py files
            QuickFunction.hooks_of = parent, hooks
        return hooks

    @functools.cached_property
    def location(self) -> tuple[str, int | None, str]:
        """Where the test stands, as pytest would find it.

        pytest makes a path of the code's file for each test, and asks the system whether there is such a file. Of a
        function that nothing wraps, in the file that it was collected from, that is known (10 µs).
        """
        function = getattr(self.obj, "__func__", self.obj)
        if (
            type(function) is not FunctionType
            or function.__code__.co_filename != str(self.path)
            or "__wrapped__" in function.__dict__
            or "place_as" in function.__dict__
            or type(self).reportinfo is not pytest.Function.reportinfo
        ):
            return super().location
        name = self.name if type(self.parent) is pytest.Module else self.getmodpath()
        return self.session._node_location_to_relpath(self.path), function.__code__.co_firstlineno - 1, name

    def iter_markers(self, name: str | None = None) -> Iterator[pytest.Mark]:
        """Iterate over the marks as pytest does, which asks six times a test, without a generator in a generator."""
        found: list[pytest.Mark] = []
        node: Any = self
        while node is not None:
            if node.own_markers:
                found += [mark for mark in node.own_markers if name is None or getattr(mark, "name", None) == name]
            node = node.parent
        return iter(found)


QuickFunction.__name__ = QuickFunction.__qualname__ = "Function"  # what --collect-only and reports show


class _Keywords(NodeKeywords):  # type: ignore[misc]  # final; but only so can those that pytest made become ours
    """pytest's own, which list their names faster (3 µs a report, of a test in a file in the root folder)."""

    __slots__ = ()

    def __iter__(self) -> Iterator[str]:
        """Iterate over the names in pytest's order."""
        names = dict(self._markers)
        parent = self.parent
        while parent is not None:
            keywords = parent.keywords
            if not isinstance(keywords, NodeKeywords):
                names.update(keywords)
                break
            names.update(keywords._markers)
            parent = parent.parent
        return iter(names)


def list_faster(item: pytest.Function) -> None:
    """Let the test's keywords list their names faster."""
    if type(item.keywords) is NodeKeywords:
        item.keywords.__class__ = _Keywords
