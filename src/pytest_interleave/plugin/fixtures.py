"""Which fixtures are ours, and in which loop they run.

The hook runs for every fixture of the suite, sync ones too, so what kind of fixture a definition is gets decided once.
Ours are then set up completely by ``fixture_jobs``: a wrapper around pytest's own hook would cost every fixture.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum, auto
from typing import TYPE_CHECKING, Any

import pytest
from _pytest.scope import Scope

from pytest_interleave.plugin import misuse, policy, xunit
from pytest_interleave.plugin.decorator import get_explicit_loop_scope, is_forced
from pytest_interleave.plugin.items import get_loop_scope_of
from pytest_interleave.plugin.marks import SCOPES, ScopeName
from pytest_interleave.plugin.options import Mode, Settings
from pytest_interleave.plugin.overrides import is_override
from pytest_interleave.plugin.session import hosting_of

if TYPE_CHECKING:
    from pytest_interleave.plugin.fixture_jobs import FixtureJobs


class Kind(Enum):
    """How a fixture function gives its value."""

    COROUTINE = auto()
    ASYNC_GENERATOR = auto()
    GENERATOR = auto()
    FUNCTION = auto()


@dataclass(frozen=True)
class Plan:
    """What to do with a fixture definition that is ours."""

    function: Any
    kind: Kind
    loop_scope: ScopeName
    is_loop_scope_explicit: bool
    is_function_scoped: bool
    uses_loop_of_test: bool = False
    problem: str | None = None


class FixtureHooks:
    """Sets up the fixtures that are ours."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._jobs: FixtureJobs | None = None
        # The function is part of the entry: other plugins (anyio) swap it while they set a fixture up themselves.
        self._plans: dict[pytest.FixtureDef[Any], tuple[Any, Plan | None]] = {}

    def pytest_fixture_setup(self, fixturedef: pytest.FixtureDef[Any], request: pytest.FixtureRequest) -> object | None:
        """Set the fixture up if it is ours."""
        __tracebackhide__ = True
        entry = self._plans.get(fixturedef)
        if entry is None or entry[0] is not fixturedef.func:
            entry = self._plans[fixturedef] = (fixturedef.func, self._plan(fixturedef, request))
        plan = entry[1]
        if plan is None:
            if fixturedef.argname == policy.NAME and is_override(fixturedef):
                policy.warn_of_override()
            return None
        if self._jobs is None:
            from pytest_interleave.plugin.fixture_jobs import FixtureJobs

            self._jobs = FixtureJobs(hosting_of(request.config))
        return self._jobs.set_up(plan, fixturedef, request)

    def get_loop_scope(self, definition: pytest.FixtureDef[Any], item: pytest.Function) -> str | None:
        """Return the scope of the loop that a fixture ran in, if it is one of ours."""
        plan = self._plans.get(definition, (None, None))[1]
        if plan is None:
            return None
        return get_loop_scope_of(item) if plan.uses_loop_of_test else plan.loop_scope

    # -- whose is it, and where does it run? ---------------------------------------------------------------------

    def _plan(self, definition: pytest.FixtureDef[Any], request: pytest.FixtureRequest) -> Plan | None:
        function: Any = definition.func
        if definition.argname.startswith(xunit.PREFIX):
            function = xunit.find_async_replacement(definition)
            if function is None:
                return None
            return Plan(
                function,
                Kind.ASYNC_GENERATOR,
                self._settings.fixture_loop_scope or definition.scope,
                is_loop_scope_explicit=False,
                is_function_scoped=definition.scope == "function",
                uses_loop_of_test=definition.scope == "function",
            )
        is_async = inspect.iscoroutinefunction(function) or inspect.isasyncgenfunction(function)
        if not is_forced(function):
            if not is_async:
                return None
            if self._settings.mode is Mode.STRICT:
                misuse.report_unhandled_fixture(definition, request, self._settings)
                return None
        explicit = get_explicit_loop_scope(function)
        loop_scope = explicit or self._settings.fixture_loop_scope or definition.scope
        return Plan(
            function,
            _kind_of(function),
            loop_scope,
            is_loop_scope_explicit=explicit is not None,
            is_function_scoped=definition.scope == "function",
            uses_loop_of_test=getattr(function, "_uses_loop_of_test", False),
            problem=_find_problem(definition, loop_scope, is_explicit=explicit is not None),
        )


def _kind_of(function: Callable[..., Any]) -> Kind:
    if inspect.isasyncgenfunction(function):
        return Kind.ASYNC_GENERATOR
    if inspect.iscoroutinefunction(function):
        return Kind.COROUTINE
    if inspect.isgeneratorfunction(function):
        return Kind.GENERATOR
    return Kind.FUNCTION


def _find_problem(definition: pytest.FixtureDef[Any], loop_scope: str, *, is_explicit: bool) -> str | None:
    name = definition.argname
    if loop_scope not in SCOPES:
        valid = ", ".join(SCOPES)
        return f"fixture {name!r}: {loop_scope!r} is not a valid loop_scope. Valid scopes are: {valid}."
    scope = definition.scope
    if Scope(loop_scope) >= Scope(scope):
        return None
    where = "by its loop_scope" if is_explicit else "by asyncio_default_fixture_loop_scope"
    return (
        f"ScopeMismatch: the {scope} scoped async fixture {name!r} runs in the {loop_scope} loop ({where}), which is "
        f'closed before the fixture ends. Give the fixture loop_scope="{scope}", or set asyncio_loop_scope = {scope}.'
    )
