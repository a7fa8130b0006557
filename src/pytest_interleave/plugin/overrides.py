"""Whether a suite overrides one of our fixtures: asked for each async test, so the usual answer must be cheap."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pytest

_PACKAGE = __name__.partition(".")[0]


def find_overrides(name: str, node: pytest.Item) -> Sequence[pytest.FixtureDef[Any]] | None:
    """Return the definitions of the fixture that the node sees, if the closest one is not ours."""
    manager = node.session._fixturemanager
    if not is_defined_twice(manager, name):
        return None
    definitions = manager.getfixturedefs(name, node)
    return definitions if definitions and is_override(definitions[-1]) else None


def is_override(definition: pytest.FixtureDef[Any]) -> bool:
    """Whether a definition of a fixture that we have too is the suite's own."""
    return str(definition.func.__module__).partition(".")[0] != _PACKAGE


def is_defined_twice(manager: Any, name: str) -> bool:
    """Whether any suite or plugin besides ours defines the fixture."""
    by_node = getattr(manager, "_arg2node2fixturedefs", None)
    if by_node is None:  # pytest < 9.1
        return len(manager._arg2fixturedefs.get(name, ())) > 1
    count = sum(map(len, by_node.get(name, {}).values()))
    return count + sum(map(len, manager._arg2nodeid2fixturedefs.get(name, {}).values())) > 1
