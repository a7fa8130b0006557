"""The ``asyncio`` mark: what it may say, and what it says about a test."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from typing import Any, Literal, TypeAlias

import pytest

ScopeName: TypeAlias = Literal["function", "class", "module", "package", "session"]
SCOPES: tuple[ScopeName, ...] = ("function", "class", "module", "package", "session")

MARK_LINE = (
    "asyncio(loop_scope=..., loop_factories=[...]): run the async test in an asyncio event loop; loop_scope says which "
    "one (function, class, module, package or session), loop_factories selects the loops to run it on."
)
#: The fixture that tells which loop factory a test was parametrized with.
FACTORY_FIXTURE = "_asyncio_loop_factory"
_ARGUMENTS = frozenset({"loop_scope", "scope", "loop_factories"})

# Marks of plugins that run tests themselves. In auto mode a test that bears one of them is theirs.
FOREIGN_MARKS = frozenset(
    {"anyio", "trio", "curio", "twisted", "gen_test", "tornado", "asyncio_cooperative", "asyncio_concurrent"}
)


def read_loop_scope(mark: pytest.Mark, default: ScopeName) -> ScopeName:
    """Return the loop scope of a test with this mark."""
    scope: ScopeName = mark.kwargs.get("loop_scope") or mark.kwargs.get("scope") or default
    return scope


def has_loop_scope(mark: pytest.Mark | None) -> bool:
    """Whether the mark itself says in which loop the test runs."""
    return mark is not None and bool(mark.kwargs.get("loop_scope") or mark.kwargs.get("scope"))


def check_mark(mark: pytest.Mark, nodeid: str) -> None:
    """Fail with one line, if the mark's arguments are wrong."""
    wrong = describe_wrong_arguments(mark)
    if wrong is not None:
        pytest.fail(f"{nodeid}: {wrong}", pytrace=False)


def describe_wrong_arguments(mark: pytest.Mark) -> str | None:
    """Return what is wrong with the mark, if anything is."""
    if mark.args or not mark.kwargs.keys() <= _ARGUMENTS:
        return "mark.asyncio accepts only keyword arguments 'loop_scope' and 'loop_factories'."
    if "scope" in mark.kwargs and "loop_scope" in mark.kwargs:
        return 'An asyncio pytest marker defines both "scope" and "loop_scope", but it should only use "loop_scope".'
    scope = mark.kwargs.get("loop_scope") or mark.kwargs.get("scope")
    if scope is not None and scope not in SCOPES:
        valid = ", ".join(SCOPES)
        return f"mark.asyncio got an unexpected loop scope value {scope!r}. Valid scopes are: {valid}."
    names = mark.kwargs.get("loop_factories")
    if names is not None and not _is_list_of_names(names):
        return "mark.asyncio 'loop_factories' must be a non-empty sequence of strings."
    return None


def warn_of_old_scope(mark: pytest.Mark) -> None:
    """Warn of the argument that was renamed."""
    if "scope" in mark.kwargs:
        warnings.warn(
            pytest.PytestDeprecationWarning(
                'The "scope" keyword argument to the asyncio marker has been deprecated. '
                'Please use the "loop_scope" argument instead.'
            ),
            stacklevel=1,
        )


def _is_list_of_names(value: Any) -> bool:
    return (
        isinstance(value, Sequence)
        and not isinstance(value, str)
        and bool(value)
        and all(isinstance(name, str) and name for name in value)
    )


def find_scope_node(item: pytest.Item, scope: str) -> pytest.Item | pytest.Collector:
    """Return the node at whose end a loop of that scope ends."""
    if scope == "function":
        return item
    if scope == "class":
        return item.getparent(pytest.Class) or item
    if scope == "module":
        return item.getparent(pytest.Module) or item
    # A package loop is shared by all packages, as pytest-asyncio's is in fact (a plugin's package-scoped fixture
    # belongs to no package, so pytest keeps it until the session ends): suites rely on a loop that a conftest.py in a
    # package shares with tests in its subpackages.
    return item.session
