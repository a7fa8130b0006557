"""Which tests are ours: decided once for each function, by marks and mode."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any

import pytest
from _pytest.unittest import TestCaseFunction

from pytest_interleave.plugin import misuse, policy
from pytest_interleave.plugin.answers import QuickFunction, list_faster
from pytest_interleave.plugin.items import (
    ASYNC_GENERATOR_TEXT,
    AsyncGenerator,
    PytestAsyncioFunction,
    convert,
    find_item_class,
)
from pytest_interleave.plugin.marks import (
    FACTORY_FIXTURE,
    FOREIGN_MARKS,
    describe_wrong_arguments,
    read_loop_scope,
    warn_of_old_scope,
)
from pytest_interleave.plugin.options import Misuse, Mode, Settings
from pytest_interleave.plugin.session import hosting_of

if TYPE_CHECKING:
    from pytest_interleave.plugin.hosting import LoopFactory

_BAD_FACTORIES = "pytest_asyncio_loop_factories must return a non-empty mapping of factory names to callables."


@dataclass(frozen=True, slots=True)
class _Surroundings:
    """What the tests of one module or class have in common."""

    marks: frozenset[str]
    #: Whether a test without a mark of its own is left to another plugin, by a mark around it.
    is_foreign: bool
    #: Whether loop factories or a policy may parametrize an async test.
    may_parametrize: bool


class CollectionHooks:
    """Finds async tests while pytest collects; what all tests of a module share is looked up once."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._parent: Any = None
        self._surroundings: _Surroundings
        self._has_async_tests = False

    @cached_property
    def _asyncio(self) -> pytest.MarkDecorator:
        # Not made earlier: until this session is configured, one around it may refuse marks that it does not know.
        return pytest.mark.asyncio

    @pytest.hookimpl(tryfirst=True)  # before pytest parametrizes fixtures, for the policy is one
    def pytest_generate_tests(self, metafunc: pytest.Metafunc) -> None:
        """Check the mark of an async test, and parametrize the test by loop factory and policy."""
        if _item_class(metafunc.function) is None:
            return
        definition = metafunc.definition
        mark = self._find_mark(definition)
        if mark is None:
            return
        if mark is self._asyncio.mark and not self._around(definition).may_parametrize:
            return
        if describe_wrong_arguments(mark) is not None:
            return  # the test is refused below; to fail here would take the whole file along
        warn_of_old_scope(mark)
        policy.add_to_fixtures(metafunc)
        factories = _collect_factories(definition)
        names: list[str] | None = mark.kwargs.get("loop_factories")
        if factories is not None:
            scope = read_loop_scope(mark, self._settings.test_loop_scope)
            _parametrize_by_factory(metafunc, factories, names, scope)
        elif names is not None:
            pytest.fail(
                f"{definition.nodeid}: mark.asyncio 'loop_factories' requires at least one "
                "pytest_asyncio_loop_factories hook implementation.",
                pytrace=False,
            )

    def pytest_itemcollected(self, item: pytest.Item) -> None:
        """Make the item one of ours, or remember what is wrong with it."""
        if not isinstance(item, pytest.Function):
            return
        list_faster(item)
        item_class = _item_class(item.obj)
        if isinstance(item, TestCaseFunction):
            if item_class is not None and self._settings.misuse is Misuse.FAIL:
                misuse.check_test_case(item)
            return
        if item_class is None:
            self._check_sync(item)
            if item.__class__ is pytest.Function:  # neither refused nor of another plugin
                item.__class__ = QuickFunction
            return
        mark = self._find_mark(item)
        if mark is None:
            return
        if mark is self._asyncio.mark:
            item.add_marker(self._asyncio)
        elif (wrong := describe_wrong_arguments(mark)) is not None:
            misuse.refuse_wrong_mark(item, f"{item.nodeid}: {wrong}")
            return
        convert(item, item_class)
        if not self._has_async_tests:
            self._has_async_tests = True
            hosting_of(item.config)  # imports asyncio now, while the garbage collector rests
        if item_class is AsyncGenerator:
            self._refuse_generator(item)

    def _find_mark(self, item: pytest.Function) -> pytest.Mark | None:
        """Return the asyncio mark of an async test; in auto mode ours, unless another plugin runs the test."""
        for mark in item.own_markers:
            if mark.name == "asyncio":
                return mark
        around = self._around(item)
        if "asyncio" in around.marks:
            return item.get_closest_marker("asyncio")
        if self._settings.mode is not Mode.AUTO or around.is_foreign:
            return None
        for mark in item.own_markers:
            if mark.name in FOREIGN_MARKS:
                return None
        return self._asyncio.mark

    def _around(self, item: pytest.Function) -> _Surroundings:
        parent = item.parent
        if parent is not self._parent:  # the tests of one come in a row
            assert parent is not None
            self._parent = parent
            marks = frozenset(mark.name for mark in parent.iter_markers())
            self._surroundings = _Surroundings(
                marks,
                is_foreign=not FOREIGN_MARKS.isdisjoint(marks),
                may_parametrize=bool(parent.ihook.pytest_asyncio_loop_factories.get_hookimpls())
                or policy.is_overridden(item),
            )
        return self._surroundings

    def _check_sync(self, item: pytest.Function) -> None:
        for mark in item.own_markers:
            if mark.name == "asyncio":
                misuse.refuse_mark_on_sync_test(item, self._settings, is_direct=True)
                return
        if "asyncio" in self._around(item).marks:
            misuse.refuse_mark_on_sync_test(item, self._settings, is_direct=False)

    def _refuse_generator(self, item: pytest.Function) -> None:
        if self._settings.misuse is Misuse.FAIL:
            misuse.refuse(item, misuse.ASYNC_GENERATOR)
            return
        text = ASYNC_GENERATOR_TEXT.format(name=item.name)
        try:
            item.warn(pytest.PytestCollectionWarning(text))
        except pytest.PytestCollectionWarning:  # filterwarnings = error
            misuse.refuse(item, text)
        else:
            item.add_marker(pytest.mark.xfail(run=False, reason=text))


def _item_class(function: Any) -> type[PytestAsyncioFunction] | None:
    return find_item_class(getattr(function, "__func__", function))


def _collect_factories(definition: pytest.Function) -> dict[str, LoopFactory] | None:
    hook = definition.ihook.pytest_asyncio_loop_factories
    if not hook.get_hookimpls():
        return None
    result = hook(config=definition.config, item=definition)
    if not isinstance(result, Mapping):
        raise pytest.UsageError(_BAD_FACTORIES)
    factories = dict(result)
    if not factories or not all(isinstance(name, str) and name and callable(factories[name]) for name in factories):
        raise pytest.UsageError(_BAD_FACTORIES)
    return factories


def _parametrize_by_factory(
    metafunc: pytest.Metafunc, factories: dict[str, LoopFactory], names: list[str] | None, scope: Any
) -> None:
    chosen = list(factories) if names is None else list(names)
    values: list[Any] = [factories[name] if name in factories else _skip(name, factories) for name in chosen]
    ids: list[Any] = [pytest.HIDDEN_PARAM] if len(chosen) == 1 else chosen
    metafunc.fixturenames.append(FACTORY_FIXTURE)
    metafunc.parametrize(FACTORY_FIXTURE, values, ids=ids, indirect=True, scope=scope)


def _skip(name: str, factories: dict[str, LoopFactory]) -> Any:
    reason = f"Loop factory {name!r} is not available. Available factories: {', '.join(factories)}."
    return pytest.param(None, marks=pytest.mark.skip(reason=reason))
