"""Which loop runs what: one host for each loop scope and its node in the collection tree.

Loops are not pytest fixtures: setting one up through pytest costs more than making it. A host is made when the first
async job needs it and closed by a finalizer of its node. That finalizer is registered before the ones of the fixtures
which run in that loop, and so is called after them.
"""

from __future__ import annotations

import asyncio
import traceback
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import pytest

from pytest_interleave.loop import _plain
from pytest_interleave.loop.host import Host, Interrupts, NestedLoopError, hosts
from pytest_interleave.origins import look_at_path
from pytest_interleave.plugin import crashes, legacy_event_loop, policy
from pytest_interleave.plugin.contexts import JobContext
from pytest_interleave.plugin.items import AsyncHypothesisTest
from pytest_interleave.plugin.marks import (
    FACTORY_FIXTURE,
    SCOPES,
    ScopeName,
    check_mark,
    find_scope_node,
    read_loop_scope,
)
from pytest_interleave.plugin.options import Settings
from pytest_interleave.plugin.overrides import is_defined_twice
from pytest_interleave.plugin.runners import HostRunner

if TYPE_CHECKING:
    from pytest_interleave.plugin.detecting.loops import LoopFindings

LoopFactory = Callable[[], asyncio.AbstractEventLoop]
ScopedLoopFactory = Callable[[str], asyncio.AbstractEventLoop]

_TEARDOWN_WARNING = """\
An exception occurred during teardown of an asyncio.Runner. \
The reason is likely that you closed the underlying event loop in a test, \
which prevents the cleanup of asynchronous generators by the runner.
This warning will become an error in future versions of pytest-asyncio. \
Please ensure that your tests don't close the event loop. \
Here is the traceback of the exception triggered during teardown:
%s
"""


class OpenHost:
    """A host, whose node it serves, and what must end before it."""

    def __init__(self, host: Host, scope: str, factory: LoopFactory | None, close: Callable[[], object]) -> None:
        self.host = host
        self.scope = scope
        self.factory = factory
        self.fixtures: dict[pytest.FixtureDef[Any], Callable[[], object]] = {}
        self._close = close
        self._is_open = True

    def retire(self) -> None:
        """Tear down the fixtures that still live in the loop, and close it."""
        if not self._is_open:
            return
        self._is_open = False
        close, self._close = self._close, _do_nothing  # a reference cycle otherwise
        if not self.fixtures:
            close()
            return
        errors: list[BaseException] = []
        for finish in reversed(list(self.fixtures.values())):
            _collect_error(finish, errors)
        _collect_error(close, errors)
        if len(errors) == 1:
            raise errors[0]
        if errors:
            raise BaseExceptionGroup(f"errors while closing the {self.scope} loop", errors)


class Hosting:
    """All hosts of a session."""

    def __init__(self, settings: Settings) -> None:
        look_at_path()
        self.settings = settings
        self.interrupts = Interrupts()
        #: What the loops tell is found out by; None: nobody asks.
        self.loop_findings: LoopFindings | None = None
        #: Makes the loops of all hosts while it is set (see ``use_factory``); goes before every other choice.
        self.forced_factory: ScopedLoopFactory | None = None
        #: Is given each other loop that is made, before anything runs in it.
        self.prepare_loop: Callable[[asyncio.AbstractEventLoop], object] | None = None
        #: The explorer runs the test; nobody is told of what its loops tell.
        self.is_explored = False
        #: It is one of many runs, of which pytest is told nothing.
        self.is_searched = False
        #: Of the run of an explored test that pytest reports, everybody is told all the same.
        self.is_reported = False
        #: Those that are open, by the id of their node and their scope. (Its stash costs a call for each look.)
        self._open_hosts: dict[tuple[int, str], OpenHost] = {}
        self._wide: list[OpenHost] = []  # those that outlive a test
        #: One of those that are open, with its scope and the parent of the last item that it was looked up for.
        self._recent: tuple[Any, str, OpenHost] | None = None
        self._context_owner: pytest.Function | None = None
        self._context: JobContext
        self._is_event_loop_overridden: bool | None = None
        self._is_policy_overridden: bool | None = None
        self._inherited_scopes: dict[Any, ScopeName] = {}

    def loop_scope_of(self, item: pytest.Function) -> ScopeName:
        """Return the scope of the loop that an async test runs in."""
        # Late, because the recipe for "one loop for all tests" adds marks in pytest_collection_modifyitems.
        for mark in item.own_markers:
            if mark.name == "asyncio":
                return self._read_loop_scope(mark, item)
        scope = self._inherited_scopes.get(item.parent)
        if scope is None:
            scope = self._read_loop_scope(item.get_closest_marker("asyncio"), item)
            self._inherited_scopes[item.parent] = scope
        return scope

    def _read_loop_scope(self, mark: pytest.Mark | None, item: pytest.Function) -> ScopeName:
        default = self.settings.test_loop_scope
        if mark is None or not mark.kwargs:
            return default
        scope = read_loop_scope(mark, default)
        if scope not in SCOPES:  # a mark that was added late: the others were checked at collection
            check_mark(mark, item.nodeid)
        return scope

    def close(self) -> None:
        """Give back what outlives the loops: the handler of Ctrl-C, and sockets that are kept for the next loop."""
        self.interrupts.restore()
        if self.loop_findings is not None:
            self.loop_findings.close()
        _plain.SpareLoop.close_spares()

    # -- running a test ------------------------------------------------------------------------------------------

    def run_test(self, item: pytest.Function, scope: ScopeName, start: Callable[[], Any]) -> None:
        """Run the coroutine that ``start`` makes, as the body of the test."""
        __tracebackhide__ = True
        context = self.ready_context_of(item)
        open_host = self.host_for(item, scope, may_be_legacy=True)
        host = open_host.host
        if open_host.scope == scope:  # pytest-asyncio has the runner among the arguments of each async test
            item.funcargs.setdefault(f"_{scope}_scoped_runner", HostRunner(self, item, scope))
        self.interrupts.install()
        task = host.task
        before = self._tasks_before(open_host)
        cancellations = task.cancelling() if task is not None else 0
        # No fixture waits in the test's own loop to be torn down there.
        is_last = not host.suspended and self.ends_with_test(open_host, item)
        try:
            value = host.run(start(), context.context, may_be_cancelled=True, is_last=is_last)
            if value is not None and self.loop_findings is not None and not self.is_searched:
                self.loop_findings.returned(item, value)
        except NestedLoopError:
            pytest.fail(crashes.describe_outer_loop("The async test"), pytrace=False)
        except BaseException as error:
            if not crashes.is_cancellation(error):
                host.forget_cancellations(cancellations)
                raise
            raise crashes.explain(error, host, "the test", item) from None
        finally:
            if before is not None and _plain.count_tasks() != hosts.open + len(before):
                self._note_new_tasks(host, before)
        host.forget_cancellations(cancellations)

    def ends_with_test(self, open_host: OpenHost, item: pytest.Function) -> bool:
        """Whether the host is of one test, so that its last job may end its task."""
        # Hypothesis runs a test many times; to a schedule all these are one task, the first.
        is_run_once = self.forced_factory is None or not isinstance(item, AsyncHypothesisTest)
        return open_host.scope == "function" and is_run_once

    def _tasks_before(self, open_host: OpenHost) -> list[asyncio.Task[Any]] | None:
        """Return what runs already in a loop that outlives the test; None if nobody wants to know."""
        if open_host.scope == "function" or self.loop_findings is None or not self._is_told:
            return None
        self.loop_findings.resume()
        return [] if 0 <= _plain.count_tasks() <= hosts.open else open_host.host.tasks()

    def _note_new_tasks(self, host: Host, before: list[asyncio.Task[Any]]) -> None:
        assert self.loop_findings is not None
        new = [task for task in host.tasks() if task not in before]
        if new:
            self.loop_findings.look_again_at(host, new)

    @property
    def _is_told(self) -> bool:
        """Whether anybody is told of what the loops tell now."""
        return not self.is_explored or self.is_reported

    # -- look-up -------------------------------------------------------------------------------------------------

    def context_of(self, item: pytest.Function) -> JobContext:
        """Return the context of the item's async jobs."""
        if self._context_owner is not item:
            # Kept here and not with the item, which lives to the end of the session: what survives a test makes the
            # garbage collector run more often (20 µs a test).
            self._context_owner = item
            self._context = JobContext()
        return self._context

    def ready_context_of(self, item: pytest.Function) -> JobContext:
        """Return the context of the item's async jobs, with all that sync code has changed."""
        if self._context_owner is item:
            self._context.take_ambient()
            return self._context
        return self.context_of(item)

    def forget_context(self) -> None:
        """Give the next async job a new context, also if it is of the same item: for a test that is run again."""
        self._context_owner = None

    def host_for(self, item: pytest.Function, scope: ScopeName, *, may_be_legacy: bool = False) -> OpenHost:
        """Return the host of that scope around the item; make it if there is none."""
        if self._is_event_loop_overridden is None:  # definitions are complete when the first test runs
            self._is_event_loop_overridden = is_defined_twice(item.session._fixturemanager, legacy_event_loop.NAME)
        if may_be_legacy and self._is_event_loop_overridden and legacy_event_loop.is_used_by(item):
            return self._legacy_host(item)
        recent = self._recent
        if recent is not None and recent[0] is item.parent and recent[1] == scope:
            return recent[2]
        node = find_scope_node(item, scope)
        key = id(node), scope
        found = self._open_hosts.get(key)
        if found is None:
            found = self._open_hosts[key] = self._open(item, node, scope)
        if node is not item:
            self._recent = item.parent, scope, found
        return found

    def hosts_around(self, item: pytest.Function) -> Iterator[OpenHost]:
        """Yield the hosts that are open for the item."""
        for node in item.iter_parents():
            yield from [found for (owner, _), found in self._open_hosts.items() if owner == id(node)]

    # -- opening and closing -------------------------------------------------------------------------------------

    @contextmanager
    def use_factory(self, factory: ScopedLoopFactory, *, is_explored: bool = True) -> Iterator[None]:
        """Make every loop with ``factory``, whatever was configured; loops that were made otherwise are closed."""
        previous = self.forced_factory, self.is_explored
        self.forced_factory, self.is_explored = factory, is_explored
        try:
            yield
        finally:
            self.forced_factory, self.is_explored = previous

    def retire_unfit(self, item: pytest.Function) -> None:
        """Close the wider loops that another factory made than the item's.

        Called before the item's fixtures are set up, so that none of them is taken from the cache with a dead loop.
        """
        if self._wide:
            factory = self._factory_for(item)
            for open_host in list(self._wide):
                if open_host.factory is not factory:
                    open_host.retire()

    def _factory_for(self, item: pytest.Function) -> Any:
        if self.forced_factory is not None:
            return self.forced_factory
        callspec = getattr(item, "callspec", None)
        return None if callspec is None else callspec.params.get(FACTORY_FIXTURE)

    def _open(self, item: pytest.Function, node: pytest.Item | pytest.Collector, scope: ScopeName) -> OpenHost:
        if self._is_policy_overridden is None:
            self._is_policy_overridden = is_defined_twice(item.session._fixturemanager, policy.NAME)
        restore_policy = policy.apply_override(item) if self._is_policy_overridden else None
        factory = self._factory_for(item)
        previous = _plain.get_current_loop()
        try:
            if self.forced_factory is not None:
                loop = self.forced_factory(scope)
            elif factory is not None:
                loop = _make_loop(factory)
            else:
                loop = _plain.new_loop()
            if self.prepare_loop is not None and self.forced_factory is None:
                self.prepare_loop(loop)
        except BaseException:
            if restore_policy is not None:
                restore_policy()
            raise
        if self.settings.debug:
            loop.set_debug(True)
        _plain.set_current_loop(loop)
        is_narrow = scope == "function"
        host = Host(loop, self.context_of(item).context if is_narrow else None)
        if self.loop_findings is not None and self._is_told:
            self.loop_findings.watch(host, item if is_narrow else None)

        def close() -> None:
            self._open_hosts.pop((id(node), scope), None)
            if not is_narrow:
                self._wide.remove(open_host)
                self._recent = None
                if host.watcher is None and self.loop_findings is not None:  # it was opened while a test was searched
                    self.loop_findings.look_again()
            try:
                host.close()
            except RuntimeError:
                warnings.warn(_TEARDOWN_WARNING % traceback.format_exc(), RuntimeWarning, stacklevel=1)
            finally:
                if _plain.get_current_loop() is loop:
                    _plain.set_current_loop(None if previous is None or previous.is_closed() else previous)
                if restore_policy is not None:
                    restore_policy()

        open_host = OpenHost(host, scope, factory, close)
        if not is_narrow:
            self._wide.append(open_host)
        node.addfinalizer(open_host.retire)
        if restore_policy is not None:
            # A parametrized policy ends before its node does.
            policy.finish_with_policy(item, open_host.retire)
        return open_host

    def _legacy_host(self, item: pytest.Function) -> OpenHost:
        definition, loop = legacy_event_loop.get_loop(item)
        node = find_scope_node(item, definition.scope)
        key = id(node), "event_loop fixture"
        found = self._open_hosts.get(key)
        if found is not None and found.host.loop is loop:
            return found
        host = Host(loop, self.context_of(item).context if definition.scope == "function" else None)

        def close() -> None:
            self._open_hosts.pop(key, None)
            host.release()

        found = self._open_hosts[key] = OpenHost(host, key[1], None, close)
        definition.addfinalizer(found.retire)  # before the fixture closes its loop
        return found


@contextmanager
def current_loop(loop: asyncio.AbstractEventLoop) -> Iterator[None]:
    """Let ``asyncio.get_event_loop()`` return the loop in sync code."""
    previous = _plain.get_current_loop()
    if previous is loop:
        yield
        return
    _plain.set_current_loop(loop)
    try:
        yield
    finally:
        _plain.set_current_loop(None if previous is None or previous.is_closed() else previous)


def _make_loop(factory: LoopFactory) -> asyncio.AbstractEventLoop:
    loop = factory()
    if not isinstance(loop, asyncio.AbstractEventLoop):
        name = getattr(factory, "__qualname__", repr(factory))
        pytest.fail(f"The loop factory {name} must return an event loop, but it returned {loop!r}.", pytrace=False)
    return loop


def _collect_error(function: Callable[[], object], errors: list[BaseException]) -> None:
    try:
        function()
    except BaseException as error:
        errors.append(error)


def _do_nothing() -> None:
    """Stand for what was done."""
