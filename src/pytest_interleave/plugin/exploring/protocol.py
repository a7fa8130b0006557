"""How a test is explored: in silence first, then once by pytest's own protocol, which reports it.

That last run is asyncio's own order if nothing was found, and the failing schedule otherwise: the failure that pytest
prints, with its assertion details and captured output, is the real one, and ``--pdb`` stops in it.
"""

from __future__ import annotations

import functools
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager

import pytest
from _pytest.runner import runtestprotocol
from _pytest.skipping import evaluate_skip_marks

from pytest_interleave.detectors.findings import Finding
from pytest_interleave.errors import ClocksUnavailable, LeftBehind, Spinning
from pytest_interleave.exploration import again
from pytest_interleave.exploration.execution import Limits
from pytest_interleave.exploration.explain import explain
from pytest_interleave.exploration.outcomes import Exploration, Failure
from pytest_interleave.exploration.result import RunResult
from pytest_interleave.exploration.search import Budget, Search
from pytest_interleave.exploration.token import test_number
from pytest_interleave.exploration.trial import VIRTUAL_CLOCKS, try_on_plain_loop
from pytest_interleave.loop import spinning
from pytest_interleave.loop.controlled import ControlledLoop
from pytest_interleave.loop.doubles import Doubles
from pytest_interleave.loop.threads import ending_with_the_process, running_threads
from pytest_interleave.plugin.clock_options import KEY, clocks_of, session_start
from pytest_interleave.plugin.detecting.hooks import report_finding
from pytest_interleave.plugin.exploring import saved
from pytest_interleave.plugin.exploring.anyio_items import controlled_anyio, is_anyio_item, wide_loop
from pytest_interleave.plugin.exploring.blocking import find_blocking_calls
from pytest_interleave.plugin.exploring.explored import Explored
from pytest_interleave.plugin.exploring.hypothesis_items import fixed_examples
from pytest_interleave.plugin.exploring.loops import LoopPool
from pytest_interleave.plugin.exploring.options import ExploreSettings, settings_for
from pytest_interleave.plugin.exploring.own_loops import describe_own_loop
from pytest_interleave.plugin.exploring.progress import Progress
from pytest_interleave.plugin.exploring.replay import replay
from pytest_interleave.plugin.exploring.reports import Reporter
from pytest_interleave.plugin.exploring.runs import ItemExecution, NotExplored
from pytest_interleave.plugin.exploring.silence import Silence
from pytest_interleave.plugin.exploring.timers import Timers
from pytest_interleave.plugin.items import AsyncGenerator, PytestAsyncioFunction
from pytest_interleave.plugin.session import hosting_of
from pytest_interleave.plugin.virtual_clocks import virtual_clocks_of
from pytest_interleave.plugin.virtual_options import MARK as VIRTUAL_MARK
from pytest_interleave.plugin.virtual_options import read_mark as read_virtual_mark
from pytest_interleave.schedule import Fifo
from pytest_interleave.strategies.guided import repeat

_WIDER = ("class", "module", "package", "session")


class Explorer:
    """Takes the items that are to be explored out of pytest's own protocol."""

    def __init__(self, config: pytest.Config, settings: ExploreSettings, reporter: Reporter) -> None:
        self.config = config
        self.settings = settings
        self.reporter = reporter
        self.pool = LoopPool()
        self.pool.rest(running_threads())
        self._silence = Silence(config)
        self._timers = Timers()
        #: What was found of the test that runs now, before it ran for its report.
        self._found: list[Finding] = []
        config.pluginmanager.register(self._timers, "interleave-timers")
        self._clocks = virtual_clocks_of(config)

    @property
    def is_silent(self) -> bool:
        """Whether what runs now is a run of the search, which does not reach pytest's reports."""
        return self._silence.is_on

    @pytest.hookimpl(tryfirst=True)
    def pytest_collection(self) -> None:
        """Look which threads were there before any test: those of plugins (pytest-xdist, pytest-rerunfailures)."""
        self.pool.rest(running_threads())

    def pytest_collection_modifyitems(self, session: pytest.Session, items: list[pytest.Item]) -> None:
        """Leave only the test whose schedule is to be replayed."""
        token = self.settings.replay
        if token is None:
            return
        others = [item for item in items if test_number(item.nodeid) != token.test]
        if len(others) == len(items) and items and not hasattr(session.config, "workerinput"):
            raise pytest.UsageError("--interleave-replay: the token belongs to another test than those selected")
        if others:
            session.config.hook.pytest_deselected(items=others)
            items[:] = [item for item in items if test_number(item.nodeid) == token.test]

    def pytest_runtest_protocol(self, item: pytest.Item, nextitem: pytest.Item | None) -> bool | None:
        """Explore the item, then let pytest run and report it under the schedule that matters."""
        if not self._may_explore(item):
            return None
        assert isinstance(item, pytest.Function)
        item.ihook.pytest_runtest_logstart(nodeid=item.nodeid, location=item.location)
        try:
            self._explore_and_run(item, nextitem)
        finally:
            self.reporter.forget()
        item.ihook.pytest_runtest_logfinish(nodeid=item.nodeid, location=item.location)
        return True

    @pytest.hookimpl(tryfirst=True)
    def pytest_runtest_call(self, item: pytest.Item) -> None:
        """Let the report of the test itself have what the search found."""
        found, self._found = self._found, []
        for finding in found:
            report_finding(self.config, item, finding)

    def pytest_unconfigure(self) -> None:
        """Close what all tests shared."""
        self.pool.close()
        self._silence.close()
        spinning.stop()

    # -- which items ---------------------------------------------------------------------------------------------

    def _may_explore(self, item: pytest.Item) -> bool:
        if not isinstance(item, pytest.Function) or isinstance(item, AsyncGenerator):
            return False
        if not self.settings.enabled and item.get_closest_marker("interleave") is None:
            return False
        if not isinstance(item, PytestAsyncioFunction) and not is_anyio_item(item):
            return False
        option = item.config.option
        if any(getattr(option, name, False) for name in ("setuponly", "setupplan", "trace")):
            return False
        if item.get_closest_marker("xfail") is not None:
            return False
        try:
            return settings_for(item, self.settings).enabled and evaluate_skip_marks(item) is None
        except ValueError:
            return True  # it is reported where the item's own failures are

    # -- one item ------------------------------------------------------------------------------------------------

    def _explore_and_run(self, item: pytest.Function, nextitem: pytest.Item | None) -> None:
        text = ""
        self._found = []
        spinning.forget()
        try:
            settings: ExploreSettings | None = settings_for(item, self.settings)
            start = clocks_of(item)
        except ValueError as wrong:
            text = f"{item.nodeid}: {wrong}"
            settings = None
        if settings is None:
            self._fail(item, text, nextitem)
            return
        reason = describe_own_loop(item)
        if reason is not None:
            nothing = Exploration(seed=settings.seed, mode=settings.mode)
            self.reporter.begin(item, Explored(nothing, reason=reason), settings)
            runtestprotocol(item, nextitem=nextitem)
            return
        with ExitStack() as stack:
            stack.enter_context(ending_with_the_process())  # what one run leaves behind once, some hundred leave often
            hosting = hosting_of(item.config)
            stack.enter_context(hosting.use_factory(self.pool.factory))
            stack.enter_context(controlled_anyio(item, self.pool))
            doubles = Doubles(may_be_late=settings.mocks)
            stack.enter_context(doubles.watched())
            execution = ItemExecution(
                item, self.pool, stretch=settings.mode != "stock", limits=_limits_of(item, settings)
            )
            try:
                stack.enter_context(self._clocks_from(start))
            except ClocksUnavailable as why:
                self._fail(item, str(why), nextitem)
                return
            self.pool.use(None)
            explored = self._explore_in_silence(item, execution, settings)
            explored.exploration.mocks_at_once = 0 if settings.mocks else doubles.asked
            self.reporter.begin(item, explored, settings)
            if explored.failure is not None and not explored.failure.is_own_order:
                stack.enter_context(fixed_examples(item))  # else Hypothesis may do all it does in asyncio's own order
            self._timers.restart(item)
            baseline = explored.exploration.baseline
            is_long = baseline is not None and (baseline.gave_up or isinstance(baseline.error, Spinning))
            if explored.failure is None:  # asyncio's own order: no step of it is too long, as before or only now
                seconds = float("inf") if is_long else execution.limits.real_seconds
                execution.limits = Limits(sys.maxsize, execution.limits.virtual_seconds, seconds)
            stack.enter_context(execution.controlled(explored.decider, is_in_real_time=explored.is_in_real_time))
            # What a failing schedule leaves behind may be so because it fails.
            hosting.is_reported = explored.failure is None
            try:
                runtestprotocol(item, nextitem=nextitem)
            finally:
                hosting.is_reported = False

    @contextmanager
    def _clocks_from(self, start: int | None) -> Iterator[None]:
        """Let Python's clocks follow the loops of the test, from that instant on; None: leave them real."""
        with self._clocks.following(start, self.pool.loop.resting_threads) as self.pool.clocks:
            try:
                yield
            finally:
                self.pool.clocks = None

    def _explore_in_silence(
        self, item: pytest.Function, execution: ItemExecution, settings: ExploreSettings
    ) -> Explored:
        """Explore; return what was found, and the decider for the run that pytest reports."""
        progress = Progress(item, self._silence)
        timers = self._timers
        hosting = hosting_of(item.config)
        hosting.is_searched = True

        def begin_run() -> None:
            timers.restart(item)
            progress.count()

        try:
            with self._silence, fixed_examples(item), execution.repeating(begin_run):
                try:
                    self._control_wider_loop(item, execution)
                    if settings.replay is not None:
                        explored = replay(execution, settings, settings.replay)
                    else:
                        explored = self._search(execution, settings)
                        if explored.is_clean:
                            self._found = self._run_again(item, execution, explored.exploration)
                    self._try_on_plain_loop(explored, execution)
                except NotExplored as reason:
                    nothing = Exploration(seed=settings.seed, mode=settings.mode)
                    explored = Explored(nothing, reason=str(reason))
        finally:
            hosting.is_searched = False
            progress.clear()
        explored.phase = execution.phase
        return explored

    def _run_again(self, item: pytest.Function, execution: ItemExecution, done: Exploration) -> list[Finding]:
        """Make one more run of a test that passed, and return which of its calls block in it."""
        results: list[RunResult] = []
        loops = self.pool.loops_of_next_run()
        found = find_blocking_calls(item, loops, lambda: results.append(execution(Fifo())))
        if not done.nothing_to_choose:
            return found
        second = results[0] if results else execution(Fifo())  # the first that is made again
        if second.failed and again.fails_always(execution):
            again.note(done, second.signature)
            return []
        return found

    def _search(self, execution: ItemExecution, settings: ExploreSettings) -> Explored:
        search = Search(
            execution,
            seed=settings.seed,
            mode=settings.mode,
            budget=Budget(settings.runs, settings.seconds),
            saved=[
                decider
                for decider in saved.deciders(execution.item)
                if settings.cancel or not getattr(decider, "is_cut", False)
            ],
            is_repeated_by_caller=True,
            order_only=settings.order_only,
            in_real_time=execution.in_real_time,
            unstretched=execution.unstretched,
            with_clocks=functools.partial(self._run_with_clocks, execution) if self.pool.clocks is None else None,
            clocks_setting=f"@pytest.mark.interleave({KEY}=True)",
            cancel=settings.cancel,
            limited=execution.limited,
        )
        exploration = search.run()
        failure = next(iter(exploration.failures), None)
        if failure is None and settings.order_only == "fail":
            failure = next(iter(exploration.notes), None)
        found = failure or next(iter(exploration.notes), None)
        explanation = explain(execution, found, exploration) if found is not None else None
        return Explored(
            exploration,
            failure=failure,
            explanation=explanation,
            is_in_real_time=exploration.passes_in_real_time,
            decider=repeat(failure) if failure is not None and not _is_cut(failure) else Fifo(),
        )

    def _run_with_clocks(self, execution: ItemExecution) -> RunResult:
        with self._clocks_from(session_start(self.config)):
            return execution(Fifo())

    @staticmethod
    def _try_on_plain_loop(explored: Explored, execution: ItemExecution) -> None:
        failure = explored.failure
        if failure is None:
            return
        failure.explanation = explored.explanation
        pool = execution.pool
        reason = "" if pool.is_pooled else "its loop is shared with other tests"
        if pool.clocks is not None:
            reason = VIRTUAL_CLOCKS
        failure.tried = try_on_plain_loop(execution.on_loop, failure, reason=reason)

    def _control_wider_loop(self, item: pytest.Function, execution: ItemExecution) -> None:
        """If the test runs in a loop of wider scope, have that loop there before the first run."""
        if not isinstance(item, PytestAsyncioFunction):
            execution.warm_up()
            execution.pool.use(wide_loop(item, execution.pool))
            return
        if item._loop_scope not in _WIDER:
            return
        execution.warm_up()
        open_host = hosting_of(item.config).host_for(item, item._loop_scope, may_be_legacy=True)
        loop = open_host.host.loop
        if not isinstance(loop, ControlledLoop):
            raise NotExplored("it runs in a loop of its own")
        open_host.host.run(_nothing())  # its task is there from the first run on
        execution.pool.use(loop)

    def _fail(self, item: pytest.Function, text: str, nextitem: pytest.Item | None) -> None:
        def fail() -> None:
            pytest.fail(text, pytrace=False)

        def end() -> None:
            item.session._setupstate.teardown_exact(nextitem)

        ends_session = (KeyboardInterrupt, pytest.exit.Exception)
        setup = pytest.CallInfo.from_call(fail, when="setup")
        teardown = pytest.CallInfo.from_call(end, when="teardown", reraise=ends_session)
        for call in (setup, teardown):
            if call.excinfo is not None:
                report = item.ihook.pytest_runtest_makereport(item=item, call=call)
                item.ihook.pytest_runtest_logreport(report=report)


def _is_cut(failure: Failure) -> bool:
    """Whether the test is cut short there: what it then does is no news, and pytest runs it as it is."""
    return isinstance(failure.error, LeftBehind)


def _limits_of(item: pytest.Item, settings: ExploreSettings) -> Limits:
    """Return how long one run of the item may take: what its mark gives it in a plain run, it has here, too."""
    mark = item.get_closest_marker(VIRTUAL_MARK)
    try:
        seconds = read_virtual_mark(mark) if mark is not None and "limit" in mark.kwargs else None
    except ValueError:
        seconds = None  # it was refused
    seconds = settings.virtual_seconds or seconds
    return Limits() if seconds is None else Limits(virtual_seconds=seconds)


async def _nothing() -> None:
    """Do nothing, in the host's task."""
