"""The ``event_loop_policy`` fixture, for suites that override it.

As an autouse fixture it would cost every test of the suite, sync ones too. So nobody requests ours; only where a suite
has a definition of its own is that one added to the fixtures of async tests.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable
from typing import Any

import pytest

from pytest_interleave.plugin.overrides import find_overrides

NAME = "event_loop_policy"

_DEPRECATED = (
    'Overriding the "event_loop_policy" fixture is deprecated and will be removed in a future version of '
    'pytest-asyncio. Use the "pytest_asyncio_loop_factories" hook to customize event loop creation.'
)


@pytest.fixture(scope="session")
def event_loop_policy() -> Any:
    """Return the policy that makes event loops; override it to use another one."""
    from pytest_interleave.loop import _plain

    return _plain.get_policy()


def is_overridden(item: pytest.Item) -> bool:
    """Whether the suite has a policy of its own where the item is."""
    return find_overrides(NAME, item) is not None


def add_to_fixtures(metafunc: pytest.Metafunc) -> None:
    """Make an async test request the suite's policy, so that a parametrized one parametrizes the test."""
    definitions = find_overrides(NAME, metafunc.definition)
    if definitions is None or NAME in metafunc.fixturenames:
        return
    metafunc.fixturenames.insert(0, NAME)
    metafunc._arg2fixturedefs[NAME] = definitions


def apply_override(item: pytest.Function) -> Callable[[], None] | None:
    """Set the suite's policy, if there is one; return the function that puts the old one back."""
    if not is_overridden(item):
        return None
    from pytest_interleave.loop import _plain

    previous = _plain.get_policy()
    _plain.set_policy(item._request.getfixturevalue(NAME))
    return lambda: _plain.set_policy(previous)


def finish_with_policy(item: pytest.Function, finish: Callable[[], object]) -> None:
    """Call ``finish`` before the policy's fixture is torn down."""
    item._request._get_active_fixturedef(NAME).addfinalizer(finish)


def warn_of_override() -> None:
    """Say that overriding the fixture has no future."""
    warnings.warn(pytest.PytestDeprecationWarning(_DEPRECATED), stacklevel=1)
