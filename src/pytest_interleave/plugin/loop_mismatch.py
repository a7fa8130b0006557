"""Explain "attached to a different loop" and its kin: which fixture lives in which loop, and what to set."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from pytest_interleave.plugin.items import get_loop_scope_of
from pytest_interleave.plugin.options import Settings
from pytest_interleave.plugin.session import settings_of

_SYMPTOMS = ("attached to a different loop", "bound to a different event loop", "Event loop is closed")


def explain(error: BaseException, item: pytest.Function) -> None:
    """Add a note to the error, if it says that two loops met."""
    for each in _related(error, set()):
        if isinstance(each, RuntimeError) and any(symptom in str(each) for symptom in _SYMPTOMS):
            note = _describe(item)
            if note not in getattr(error, "__notes__", ()):
                error.add_note(note)
            return


def describe_configuration(settings: Settings) -> str | None:
    """Return a line for the header, if the configuration itself puts tests and fixtures into different loops."""
    fixtures, tests = settings.configured_fixture_loop_scope, settings.test_loop_scope
    if fixtures in (None, "function", "fixture-scope", tests):
        return None
    return (
        f"asyncio: fixtures run in the {fixtures} loop and tests in the {tests} loop; what a fixture opens cannot be "
        f"awaited in a test. Set asyncio_loop_scope = {fixtures} for both."
    )


def _related(error: BaseException, seen: set[int]) -> Iterator[BaseException]:
    if id(error) in seen:
        return
    seen.add(id(error))
    yield error
    inner: list[Any] = [error.__cause__, error.__context__]
    if isinstance(error, BaseExceptionGroup):
        inner += error.exceptions
    for each in inner:
        if each is not None:
            yield from _related(each, seen)


def _describe(item: pytest.Function) -> str:
    settings = settings_of(item.config)
    test_scope = get_loop_scope_of(item)
    lines = ["Two event loops met in this test:"]
    widest = None
    for name, scope in _fixture_loops(item):
        lines.append(f"  fixture {name!r} runs in the {scope} loop")
        if scope != test_scope and (widest is None or _width(scope) > _width(widest)):
            widest = scope
    if test_scope is not None:
        lines.append(f"  the test runs in the {test_scope} loop")
    if widest is not None and test_scope is not None:
        if _width(widest) < _width(test_scope):
            widest = test_scope
        lines.append(
            f"Set asyncio_loop_scope = {widest} in the ini file, or mark the test with "
            f'@pytest.mark.asyncio(loop_scope="{widest}").'
        )
    elif settings.is_one_scope_key_set:
        lines.append("An object was made in a loop of its own, at import or in another thread: make it in a fixture.")
    else:
        lines.append(
            "Something was kept from an earlier test, whose loop is closed. Make it in a fixture, or set "
            "asyncio_loop_scope = session to give all tests one loop."
        )
    return "\n".join(lines)


def _fixture_loops(item: pytest.Function) -> Iterator[tuple[str, str]]:
    hooks: Any = item.config.pluginmanager.get_plugin("interleave-fixtures")
    if hooks is None:
        return
    for name in item.fixturenames:
        definition = item._request._fixture_defs.get(name)
        scope = hooks.get_loop_scope(definition, item) if definition is not None else None
        if scope is not None:
            yield name, scope


def _width(scope: str) -> int:
    return ("function", "class", "module", "package", "session").index(scope)
