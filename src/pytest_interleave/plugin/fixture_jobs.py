"""Set fixtures up and tear them down as jobs of their loop's host."""

from __future__ import annotations

import functools
from contextvars import Context
from types import FunctionType
from typing import Any

import pytest
from _pytest.fixtures import resolve_fixture_function

from pytest_interleave.loop import _plain
from pytest_interleave.loop.host import Host
from pytest_interleave.plugin import crashes, legacy_event_loop
from pytest_interleave.plugin.contexts import Changes, JobContext, undo
from pytest_interleave.plugin.fixtures import Kind, Plan
from pytest_interleave.plugin.hosting import Hosting, OpenHost, current_loop
from pytest_interleave.plugin.items import get_loop_scope_of


class FixtureJobs:
    """Sets up the fixtures that are ours, as pytest's own hook would."""

    def __init__(self, hosting: Hosting) -> None:
        self._hosting = hosting

    def set_up(self, plan: Plan, definition: pytest.FixtureDef[Any], request: Any) -> object:
        """Set the fixture up, and see to its tear-down."""
        __tracebackhide__ = True
        item: pytest.Function = request._pyfuncitem
        names = definition.argnames
        arguments = {name: request.getfixturevalue(name) for name in names} if names else {}
        function = plan.function
        if function is definition.func and type(function) is not FunctionType:  # a function is not bound (5 µs)
            function = resolve_fixture_function(definition, request)
        key = definition.cache_key(request)
        try:
            _check(plan, definition, item)
            open_host = self._find_host(plan, item)
            if not plan.is_function_scoped:
                self.end_with_host(definition, open_host, request)
            value = self._call(plan, function, arguments, definition, request, open_host)
        except BaseException as error:  # a cancellation, too: pytest requests no fixture again that left no result
            if isinstance(error, pytest.skip.Exception):
                error._use_item_location = True
            definition.cached_result = (None, key, (error, error.__traceback__))
            raise
        definition.cached_result = (value, key, None)
        # To return None would let pytest set the fixture up once more; its own --setup-plan returns the same thing.
        return value if value is not None else definition.cached_result

    def _call(
        self,
        plan: Plan,
        function: Any,
        arguments: dict[str, Any],
        definition: pytest.FixtureDef[Any],
        request: Any,
        open_host: OpenHost,
    ) -> Any:
        __tracebackhide__ = True
        host = open_host.host
        if plan.kind is Kind.FUNCTION:
            with current_loop(host.loop):
                return function(**arguments)
        if plan.kind is Kind.GENERATOR:
            return self._start_generator(function(**arguments), definition, host)
        item = request._pyfuncitem
        # A wider fixture outlives the test, so it has a context to itself.
        context = self._hosting.ready_context_of(item) if plan.is_function_scoped else JobContext()
        self._hosting.interrupts.install()
        awaitable = function(**arguments)
        if plan.kind is Kind.COROUTINE:
            return self._run_coroutine(awaitable, definition, context, host, item)
        return self._start_async_generator(awaitable, definition, context, open_host, item)

    def _run_coroutine(
        self, coroutine: Any, definition: pytest.FixtureDef[Any], context: JobContext, host: Host, item: pytest.Function
    ) -> Any:
        __tracebackhide__ = True
        # It cannot undo what it sets, so it works on a copy, and what it set is adopted with tokens that can.
        copy = context.context.copy()
        value = _run(host, coroutine, copy, item, definition)
        adopted = context.adopt(copy)
        published = context.publish()
        if adopted or published:
            definition.addfinalizer(functools.partial(_take_back, context, adopted, published))
        return value

    def _start_async_generator(
        self,
        generator: Any,
        definition: pytest.FixtureDef[Any],
        context: JobContext,
        open_host: OpenHost,
        item: pytest.Function,
    ) -> Any:
        __tracebackhide__ = True
        host = open_host.host
        try:
            value = _run(host, generator.__anext__(), context.context, item, definition)
        except StopAsyncIteration:
            pytest.fail(f"fixture {definition.argname!r} did not yield a value", pytrace=False)
        host.suspended[definition] = generator
        published = context.publish()
        is_of_test = definition.scope == "function"
        has_own_loop = self._hosting.ends_with_test(open_host, item)

        def finish() -> None:
            __tracebackhide__ = True
            if is_of_test:
                context.take_ambient()
            self._hosting.interrupts.install()
            # What else is suspended must end in the task in which it began.
            is_last = has_own_loop and len(host.suspended) == 1
            try:
                host.run(generator.__anext__(), context.context, is_last=is_last)
            except StopAsyncIteration:
                return
            except BaseExceptionGroup as group:
                if not crashes.is_reported(host, group):
                    raise
                return
            finally:
                host.suspended.pop(definition, None)
                undo(published)
            host.run(generator.aclose(), context.context)
            text = "Async generator fixture didn't stop.Yield only once."
            pytest.fail(f"fixture {definition.argname!r}: {text}", pytrace=False)

        definition.addfinalizer(finish)
        return value

    def _start_generator(self, generator: Any, definition: pytest.FixtureDef[Any], host: Host) -> Any:
        with current_loop(host.loop):
            try:
                value = next(generator)
            except StopIteration:
                raise ValueError(f"{definition.argname} did not yield a value") from None

        def finish() -> None:
            with current_loop(host.loop):
                try:
                    next(generator)
                except StopIteration:
                    return
            pytest.fail(f"fixture {definition.argname!r} has more than one 'yield'", pytrace=False)

        definition.addfinalizer(finish)
        return value

    @staticmethod
    def end_with_host(definition: pytest.FixtureDef[Any], open_host: OpenHost, request: Any) -> None:
        """Tear the fixture down before the loop closes, whichever way that comes about."""
        open_host.fixtures[definition] = functools.partial(definition.finish, request=request)
        definition.addfinalizer(functools.partial(open_host.fixtures.pop, definition, None))

    def _find_host(self, plan: Plan, item: pytest.Function) -> OpenHost:
        scope = plan.loop_scope
        if plan.uses_loop_of_test:
            scope = get_loop_scope_of(item) or scope
        return self._hosting.host_for(item, scope, may_be_legacy=not plan.is_loop_scope_explicit)


_ASYNC_KINDS = (Kind.COROUTINE, Kind.ASYNC_GENERATOR)


def _run(host: Host, job: Any, context: Context, item: pytest.Function, definition: pytest.FixtureDef[Any]) -> Any:
    __tracebackhide__ = True
    try:
        return host.run(job, context, may_be_cancelled=True)
    except BaseException as error:
        if not crashes.is_cancellation(error):
            raise
        raise crashes.explain(error, host, f"the set-up of fixture {definition.argname!r}", item) from None


def _check(plan: Plan, definition: pytest.FixtureDef[Any], item: pytest.Function) -> None:
    __tracebackhide__ = True
    if plan.kind in _ASYNC_KINDS and _plain.get_running_loop_or_none() is not None:
        raise RuntimeError(_describe_nested_set_up(definition, item))
    if plan.problem is not None and not legacy_event_loop.is_used_by(item):
        pytest.fail(plan.problem, pytrace=False)


def _take_back(context: JobContext, adopted: Changes, published: Changes) -> None:
    context.undo(adopted)
    undo(published)


def _describe_nested_set_up(definition: pytest.FixtureDef[Any], item: pytest.Function) -> str:
    name = definition.argname
    if Host.running:
        return (
            f"request.getfixturevalue({name!r}) was called while async code is running in {item.name!r}: an async "
            f"fixture cannot be set up inside a running event loop. Take {name!r} as an argument of the test or "
            "fixture instead, or call getfixturevalue in a sync fixture."
        )
    return crashes.describe_outer_loop(f"async fixture {name!r}")
