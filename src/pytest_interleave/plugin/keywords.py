"""The keywords of tests, whose names each of three reports lists: without pytest's generator for each parent."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from _pytest.mark.structures import NodeKeywords


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
