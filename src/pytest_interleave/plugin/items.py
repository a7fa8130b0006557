"""The items of async tests, and how they run.

pytest's own item becomes ours by a change of its class. pytest-asyncio makes a second item for each async test, which
is most of the 52 % it adds to the collection of 10,000 tests.
"""

from __future__ import annotations

import functools
import inspect
from pathlib import Path
from types import FunctionType, SimpleNamespace
from typing import Any, TypeGuard

import pytest
from _pytest._code import TracebackEntry, filter_traceback
from _pytest.python import pytest_pyfunc_call

from pytest_interleave.origins import PACKAGE
from pytest_interleave.plugin.answers import QuickFunction
from pytest_interleave.plugin.marks import FACTORY_FIXTURE, ScopeName
from pytest_interleave.plugin.session import hosting_of

_NO_PARAMETERS = SimpleNamespace(params=())
ASYNC_GENERATOR_TEXT = "Tests based on asynchronous generators are not supported. {name} will be ignored."


class PytestAsyncioFunction(QuickFunction):
    """Base class of the items that we run."""

    @property
    def _loop_scope(self) -> ScopeName:
        return hosting_of(self.config).loop_scope_of(self)

    def setup(self) -> None:
        """Set the item's fixtures up, after loops that do not fit it are closed."""
        hosting = hosting_of(self.config)
        hosting.retire_unfit(self)
        if FACTORY_FIXTURE in getattr(self, "callspec", _NO_PARAMETERS).params:
            self._request.getfixturevalue(FACTORY_FIXTURE)  # so that request.fixturenames shows it
        super().setup()

    def runtest(self) -> None:
        """Run the test as a sync function would be run, so that the hooks of all plugins apply."""
        __tracebackhide__ = True
        function = self.obj
        self.obj = _synchronize(self, function)
        try:
            super().runtest()
        finally:
            self.obj = function

    def is_called_by_pytest_alone(self) -> bool:
        """Whether no plugin has a word in how the body is called: then ``run_directly`` does what ``runtest`` does."""
        callers = self.ihook.pytest_pyfunc_call.get_hookimpls()
        is_own = type(self).runtest is PytestAsyncioFunction.runtest and "runtest" not in vars(self)
        return is_own and [caller.function for caller in callers] == [pytest_pyfunc_call]

    def run_directly(self) -> None:
        """Run the test without a hook around it, and without a look whether its sync stand-in is async (5 µs)."""
        __tracebackhide__ = True
        function = self.obj
        funcargs: Any = self.funcargs
        self.obj = run_in_loop = _synchronize(self, function)
        try:
            run_in_loop(**{name: funcargs[name] for name in self._fixtureinfo.argnames})
        finally:
            self.obj = function

    def _traceback_filter(self, excinfo: pytest.ExceptionInfo[BaseException]) -> Any:
        """End the traceback of an error of ours at the user's line: how we were called from there says nothing."""
        entries = super()._traceback_filter(excinfo)
        if self.config.getoption("fulltrace", False) or not _is_ours(excinfo.traceback[-1]):
            return entries
        end = next((n for n in range(len(entries), 0, -1) if _is_of_user(entries[n - 1])), len(entries))
        return type(entries)(entries[:end])


class Coroutine(PytestAsyncioFunction):
    """A test that is a coroutine function."""


class AsyncStaticMethod(PytestAsyncioFunction):
    """A test that is an async static method."""


class AsyncGenerator(PytestAsyncioFunction):
    """A test that is an async generator function, and cannot be run."""


class AsyncHypothesisTest(PytestAsyncioFunction):
    """A coroutine function under ``@hypothesis.given``: all its examples run in one loop."""

    def runtest(self) -> None:
        """Let Hypothesis call a sync function for each example."""
        __tracebackhide__ = True
        handle: Any = self.obj.hypothesis
        function = handle.inner_test
        handle.inner_test = _synchronize(self, function)
        try:
            pytest.Function.runtest(self)
        finally:
            handle.inner_test = function


def is_async_test(item: pytest.Item) -> TypeGuard[PytestAsyncioFunction]:
    """Return whether a test item is an async test that this plugin runs."""
    return isinstance(item, PytestAsyncioFunction)


def get_loop_scope_of(item: pytest.Item) -> ScopeName | None:
    """Return the scope of the loop that the test runs in, if it is one of ours."""
    return item._loop_scope if isinstance(item, PytestAsyncioFunction) else None


def find_item_class(function: Any) -> type[PytestAsyncioFunction] | None:
    """Return the class for the items of an async test function; None for a sync one."""
    if type(function) is FunctionType:  # what inspect answers, for a tenth of what it costs
        flags = function.__code__.co_flags
        if flags & inspect.CO_COROUTINE:
            return Coroutine
        if flags & inspect.CO_ASYNC_GENERATOR:
            return AsyncGenerator
        if not function.__dict__ or [*function.__dict__] == ["pytestmark"]:
            return None
    if inspect.iscoroutinefunction(function):
        return Coroutine
    if inspect.isasyncgenfunction(function):
        return AsyncGenerator
    if isinstance(function, staticmethod):
        return AsyncStaticMethod if find_item_class(function.__func__) else None
    if getattr(function, "is_hypothesis_test", False) is True:
        inner = getattr(getattr(function, "hypothesis", None), "inner_test", None)
        return AsyncHypothesisTest if inspect.iscoroutinefunction(inner) else None
    return None


def convert(item: pytest.Function, item_class: type[PytestAsyncioFunction]) -> None:
    """Make the item one of ours."""
    current = item.__class__
    item.__class__ = item_class if current is pytest.Function else _mix(item_class, current)


@functools.cache
def _mix(item_class: type[PytestAsyncioFunction], current: type[pytest.Function]) -> type[PytestAsyncioFunction]:
    answers = {name: inspect.getattr_static(current, name) for name in ("location", "iter_markers")}
    own = {name: answer for name, answer in answers.items() if answer is not inspect.getattr_static(pytest.Item, name)}
    return type(item_class.__name__, (item_class, current), {**own, "__module__": item_class.__module__})


def _is_ours(entry: TracebackEntry) -> bool:
    return Path(entry.path).is_relative_to(PACKAGE)


def _is_of_user(entry: TracebackEntry) -> bool:
    return filter_traceback(entry) and not _is_ours(entry)


def _synchronize(item: PytestAsyncioFunction, function: Any) -> Any:
    def run_in_loop(*args: Any, **kwargs: Any) -> None:
        __tracebackhide__ = True
        hosting = hosting_of(item.config)
        start = functools.partial(function, *args, **kwargs)
        hosting.run_test(item, hosting.loop_scope_of(item), start)

    # What functools.wraps would set, less what nobody asks of a test: it is done for each run of each test.
    run_in_loop.__wrapped__ = function  # type: ignore[attr-defined]
    run_in_loop.__name__ = getattr(function, "__name__", item.name)  # a partial has none
    run_in_loop.__doc__ = function.__doc__
    return run_in_loop
