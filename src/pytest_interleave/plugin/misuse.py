"""Tests that could not have run as their author meant: they fail, and say what to change.

pytest-asyncio warns about some of these and lets others pass. Which of the two happens is decided by the setting
``interleave_misuse``; what pytest itself fails already fails in both, with a better text.
"""

from __future__ import annotations

import difflib
import functools
import inspect
import unittest
import warnings
from collections.abc import Iterable
from typing import Any
from weakref import WeakSet

import pytest
from _pytest.unittest import TestCaseFunction

from pytest_interleave.plugin import loop_mismatch
from pytest_interleave.plugin.detecting.options import describe_wrong_mark
from pytest_interleave.plugin.options import Misuse, Mode, Settings

ASYNC_GENERATOR = (
    "This test is an async generator (it contains a yield), so nothing of it would run. Remove the yield, or make it a "
    "fixture with @pytest_asyncio.fixture."
)
_NOT_NATIVE = "async def functions are not natively supported"
_UNHANDLED = "requested an async fixture"
_unhandled: WeakSet[pytest.FixtureDef[Any]] = WeakSet()
_HANDLES_UNHANDLED_FIXTURES = pytest.version_tuple >= (9, 1)


class RefusedTest(pytest.Function):
    """A test that fails instead of being run, with the reason in one line."""

    refusal: str

    def runtest(self) -> None:
        """Fail."""
        pytest.fail(self.refusal, pytrace=False)


class RefusedFunction(RefusedTest):
    """One whose fixtures are not set up either; those of a TestCase must be, for its tear-down relies on them."""

    def setup(self) -> None:
        """Set nothing up."""


class WronglyMarkedTest(pytest.Function):
    """A test whose asyncio mark is wrong: an error, as under pytest-asyncio, but of this test alone."""

    refusal: str

    def setup(self) -> None:
        """Fail."""
        pytest.fail(self.refusal, pytrace=False)


class MarkedSyncTest(pytest.Function):
    """A sync test with the asyncio mark: it runs, with a warning."""

    def runtest(self) -> None:
        """Warn, and run the test."""
        text = (
            f"The test {self} is marked with '@pytest.mark.asyncio' but it is not an async function. "
            "Please remove the asyncio mark. If the test is not marked explicitly, "
            "check for global marks applied via 'pytestmark'."
        )
        try:
            self.warn(pytest.PytestWarning(text))
        except pytest.PytestWarning:
            pytest.fail(text, pytrace=False)
        super().runtest()


def refuse(item: pytest.Function, reason: str) -> None:
    """Make the item fail with the reason."""
    item.__class__ = _refused(item.__class__)
    item.refusal = reason  # type: ignore[attr-defined]


@functools.cache
def _refused(current: type[pytest.Function]) -> type[pytest.Function]:
    base = RefusedTest if issubclass(current, TestCaseFunction) else RefusedFunction
    return type(current.__name__, (base, current), {"__module__": current.__module__})


def refuse_wrong_mark(item: pytest.Function, reason: str) -> None:
    """Let the set-up of the test fail with the reason."""
    item.__class__ = WronglyMarkedTest
    item.refusal = reason  # type: ignore[attr-defined]


def refuse_mark_on_sync_test(item: pytest.Function, settings: Settings, *, is_direct: bool) -> None:
    """Deal with the asyncio mark on a sync test; one inherited from a class or module is no mistake of the test's."""
    if settings.misuse is Misuse.FAIL and is_direct:
        if _hides_coroutine(item.obj):
            refuse(item, f"{item.originalname} is an async test behind a sync decorator. {_FIX_DECORATOR}")
        else:
            refuse(
                item,
                f"{item.originalname} is marked with '@pytest.mark.asyncio' but it is not an async function. "
                "Write 'async def', or remove the mark.",
            )
    elif item.__class__ is pytest.Function:
        item.__class__ = MarkedSyncTest


def check_test_case(item: TestCaseFunction) -> None:
    """Refuse an async test of a class whose ``run`` does not await: it passes with ``assert False`` in it."""
    test_case: Any = item.getparent(pytest.Class).obj  # type: ignore[union-attr]
    plain = unittest.TestCase
    if all(
        getattr(test_case, name, None) is getattr(plain, name, None) for name in ("run", "__call__", "_callTestMethod")
    ):
        refuse(
            item,
            f"{item.originalname} is async, but unittest.TestCase never awaits its tests. "
            f"Derive {test_case.__name__} from unittest.IsolatedAsyncioTestCase, or make it a plain class.",
        )


def refuse_wrong_marks(items: Iterable[pytest.Item]) -> None:
    """Refuse the tests whose marks about detectors are wrong."""
    for item in items:
        reason = describe_wrong_mark(item.iter_markers())
        if reason is not None and isinstance(item, pytest.Function):
            refuse(item, reason)


def report_unhandled_fixture(definition: pytest.FixtureDef[Any], request: Any, settings: Settings) -> None:
    """Deal with an async fixture in strict mode that is not ours: a new pytest refuses it, an old one does nothing."""
    _unhandled.add(definition)
    if _HANDLES_UNHANDLED_FIXTURES:
        return
    item = request._pyfuncitem
    if settings.misuse is Misuse.FAIL:
        pytest.fail(_describe_unhandled(definition.argname, item.name), pytrace=False)
    if item.get_closest_marker("asyncio") is not None:
        warnings.warn(
            pytest.PytestDeprecationWarning(
                f"asyncio test {item.name!r} requested async @pytest.fixture {definition.argname!r} in strict mode. "
                "You might want to use @pytest_asyncio.fixture or switch to auto mode. "
                "This will become an error in future versions of pytest-asyncio."
            ),
            stacklevel=1,
        )


class Explanations:
    """Says more where a test failed for a reason that we know."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings

    def explain(self, item: pytest.Item, excinfo: pytest.ExceptionInfo[BaseException]) -> None:
        """Add to the text of a failure, before the report is made from it."""
        if not isinstance(item, pytest.Function):
            return
        error: Any = excinfo.value
        if isinstance(error, pytest.fail.Exception) and isinstance(error.msg, str):
            self._explain_failure(item, error, excinfo)
        else:
            loop_mismatch.explain(error, item)

    def _explain_failure(self, item: pytest.Function, error: Any, excinfo: pytest.ExceptionInfo[Any]) -> None:
        if error.msg.startswith(_NOT_NATIVE):
            _close_hidden_coroutine(excinfo)
            error.msg = f"{_NOT_NATIVE}.\n{self._describe_unrun(item)}"
        elif _UNHANDLED in error.msg:
            repair_unhandled_fixtures()
            name = error.msg.partition(_UNHANDLED)[2].split("'")[1]
            error.msg = f"{error.msg}\n{_describe_unhandled(name, item.name)}"

    def _describe_unrun(self, item: pytest.Function) -> str:
        function = item.obj
        if not inspect.iscoroutinefunction(function) and not inspect.isasyncgenfunction(function):
            return f"{item.originalname} is a sync function that returns a coroutine. {_FIX_DECORATOR}"
        for mark in item.iter_markers():
            if mark.name != "asyncio" and difflib.get_close_matches(mark.name, ["asyncio"], cutoff=0.7):
                return f"The mark '@pytest.mark.{mark.name}' is unknown: did you mean '@pytest.mark.asyncio'?"
        if self._settings.mode is Mode.AUTO:
            return "No plugin took this test: it has the mark of one that is not installed or not active."
        return "Mark the test with '@pytest.mark.asyncio', or set asyncio_mode = auto."


_FIX_DECORATOR = "Let the decorator's wrapper be 'async def' and await the test, or put the decorator elsewhere."


def _close_hidden_coroutine(excinfo: pytest.ExceptionInfo[Any]) -> None:
    """Close the coroutine that pytest got from the test and dropped: the failure is said once, in one place."""
    for entry in excinfo.traceback:
        result = entry.frame.f_locals.get("result")
        if inspect.iscoroutine(result):
            result.close()


def repair_unhandled_fixtures() -> None:
    """Let a fixture that pytest refused be requested again: it forgets to forget the finalizers (9.2)."""
    # As good as always there is none, and to go through an empty weak set takes ten times as long as to count it.
    for definition in _unhandled if len(_unhandled) else ():
        if definition.cached_result is None:
            definition._finalizers.clear()


def _hides_coroutine(function: Any) -> bool:
    while function is not None:
        if inspect.iscoroutinefunction(function):
            return True
        function = getattr(function, "__wrapped__", None)
    return False


def _describe_unhandled(fixture: str, test: str) -> str:
    return (
        f"{test} requested the async fixture {fixture!r}, which nothing awaits: "
        "make it with '@pytest_asyncio.fixture', or set asyncio_mode = auto."
    )
