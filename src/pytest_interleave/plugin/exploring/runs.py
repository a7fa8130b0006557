"""One run of a test item: its function-scoped fixtures set up anew, the body, the tear-down, under a given decider.

pytest's ``SetupState`` is used without the hooks around it, which would cost ten times as much as a short test. What
fixtures need of those hooks (``caplog``) is done here.
"""

from __future__ import annotations

import gc
import inspect
import random
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from types import CodeType
from typing import Any

import pytest
from _pytest.logging import LogCaptureHandler, caplog_handler_key, caplog_records_key, catching_logs
from _pytest.tmpdir import tmppath_result_key

from pytest_interleave.exploration.execution import Limits, Stretchable
from pytest_interleave.exploration.recorder import Recorder
from pytest_interleave.exploration.result import RunResult
from pytest_interleave.exploration.seeding import seed_random
from pytest_interleave.loop.controlled import ControlledLoop
from pytest_interleave.loop.cutting import Census, Cutting
from pytest_interleave.loop.observe import Observer
from pytest_interleave.plugin.exploring import subtests
from pytest_interleave.plugin.exploring.anyio_items import cut_softly, forget_broken_runner
from pytest_interleave.plugin.exploring.hypothesis_items import original_error
from pytest_interleave.plugin.exploring.leftovers import Leftovers
from pytest_interleave.plugin.exploring.loops import LoopPool
from pytest_interleave.plugin.exploring.lost import LostExceptions
from pytest_interleave.plugin.items import PytestAsyncioFunction
from pytest_interleave.plugin.misuse import repair_unhandled_fixtures
from pytest_interleave.plugin.session import hosting_of
from pytest_interleave.schedule import Decider, Fifo
from pytest_interleave.strategies.guided import Guided
from pytest_interleave.trace import Trace

_ENDS_SESSION = (KeyboardInterrupt, pytest.exit.Exception)
_NO_VERDICT = (pytest.skip.Exception, pytest.xfail.Exception)


class NotExplored(Exception):
    """The item cannot be explored; what it did instead of running is left to pytest."""


class NoVerdict(NotExplored):
    """A run ended with a skip: where it is the first, the test is skipped; a later one has just not failed."""


class ItemExecution(Stretchable):
    """Repeats one item."""

    def __init__(self, item: pytest.Function, pool: LoopPool, *, stretch: bool, limits: Limits) -> None:
        self.item = item
        self.pool = pool
        self.stretch = stretch
        self.limits = limits
        self.script = _code_of(item)
        #: The phase in which the last run failed first.
        self.phase = "call"
        self._hosting = hosting_of(item.config)
        self._state = item.session._setupstate
        self._leftovers: Leftovers | None = None
        self._lost = LostExceptions(item)
        self._logs = LogCaptureHandler() if "caplog" in item.fixturenames else None
        self._has_subtests = subtests.NAME in item.fixturenames
        #: Runs the body of the test; without a hook where nobody would hear it.
        self._run_body: Callable[[], object] = item.runtest
        if isinstance(item, PytestAsyncioFunction) and item.is_called_by_pytest_alone():
            self._run_body = item.run_directly
        self._is_method = isinstance(item.parent, pytest.Class)
        self._recorder: Recorder | None = None
        self._cutting: Cutting | None = None
        self._census: Census | None = None
        self._random: Any = None
        self._begin_run: Callable[[], object] | None = None
        #: A run came to its end without a skip.
        self._has_verdict = False

    def __call__(self, decider: Decider, observer: Observer | None = None) -> RunResult:
        """Make one run, which nobody hears if ``repeating`` is on."""
        is_cut = getattr(decider, "is_cut", False)
        run = self._run_phases_of_cut if is_cut else self._run_phases
        if is_cut and self._census is None and getattr(decider, "constraints", None):
            self(Guided({}, is_cut=True))  # what is left when nothing is cancelled
        if observer is not None:
            with self.controlled(decider, observer):
                error = run()
        else:
            self._begin(decider)
            try:
                error = run()
            finally:
                self.pool.end()
        if not is_cut:
            error = self._add_lost(error)
        result = self.result(error)
        if not result.steps and self.phase == "call" and error is None:
            raise NotExplored("it runs in a loop that was made for another test")
        return result

    def on_loop(self, loop: ControlledLoop) -> BaseException | None:
        """Make one run on that loop, and close it; return how the run failed."""
        phase = self.phase
        if self._begin_run is not None:
            self._begin_run()
        seed_random()
        try:
            with self.pool.lending(loop):
                self._lost.listen(loop, is_wide=False, is_observed=False)
                return self._add_lost(self._run_phases())
        except NotExplored:
            return None
        finally:
            self.phase = phase

    def in_real_time(self) -> RunResult:
        """Make one run in asyncio's own order, at the pace of the world."""
        with self.controlled(Fifo(), is_in_real_time=True):
            error = self._run_phases()
        return self.result(self._add_lost(error))

    def _add_lost(self, error: BaseException | None) -> BaseException | None:
        """Return how the run failed, if only by an exception that nobody retrieved."""
        lost = self._lost.verdict(error, was_struck=bool(self.pool.loop.strikes))
        if error is None and lost is not None:
            self.phase = "call"
        return lost

    def _run_phases_of_cut(self) -> BaseException | None:
        """Run a test in which a task may be cancelled; return what it left behind."""
        self._cutting = cutting = Cutting(
            self.pool.loop, self.script, self._census, is_loop_of_test=self.pool.is_pooled
        )
        try:
            with cutting.watching():
                error = self._run_phases()
                if self.pool.loop.cutting is not None:  # the loop outlives the test
                    cutting.look_at_what_is_left()
        finally:
            self._cutting = None
        if self._census is None:
            self._census = cutting.take_census()
        return cutting.judge(error, self.phase)

    @contextmanager
    def repeating(self, begin_run: Callable[[], object]) -> Iterator[None]:
        """Take back, after each run, what it left on pytest's objects; in the end leave the item as it was.

        ``begin_run`` is called before each run.
        """
        self._begin_run = begin_run
        self._leftovers = Leftovers(self.item)
        self._leftovers.note_folders()
        self._random = random.getstate()
        gc.callbacks.append(self._lost.note_collection)
        try:
            yield
        finally:
            gc.callbacks.remove(self._lost.note_collection)
            random.setstate(self._random)
            self._leftovers.forget_folders()
            self._leftovers = None
            self._begin_run = None
            self.forget()

    @contextmanager
    def controlled(
        self, decider: Decider, observer: Observer | None = None, *, is_in_real_time: bool = False
    ) -> Iterator[None]:
        """Let what happens inside be one run under the decider."""
        state = random.getstate() if self._leftovers is None else None
        trace = self._begin(decider, is_observed=observer is not None)
        if is_in_real_time:
            self.pool.loop.go_in_real_time()
            if self.pool.clocks is not None:
                self.pool.clocks.end()
        try:
            with observer.watching(self.pool.loop, trace) if observer is not None else nullcontext():
                yield
        finally:
            if state is not None:
                random.setstate(state)
            self.pool.end()

    def _begin(self, decider: Decider, *, is_observed: bool = False) -> Trace:
        if self._begin_run is not None:
            self._begin_run()
        self._recorder = recorder = Recorder(decider)
        trace = self.pool.begin(recorder, script=self.script, stretch=self.stretch, limits=self.limits)
        recorder.attach(trace)
        if self._leftovers is not None:  # else it is pytest's own run, in which the detectors listen
            self._lost.listen(self.pool.loop, is_wide=not self.pool.is_pooled, is_observed=is_observed)
        seed_random()
        return trace

    def result(self, error: BaseException | None) -> RunResult:
        """Return what the last run came to."""
        assert self._recorder is not None
        return self._recorder.result(error, self.pool.loop, steps=self.pool.steps)

    def forget(self) -> None:
        """Leave the item as pytest expects it before its own protocol."""
        item: Any = self.item
        self._hosting.forget_context()
        repair_unhandled_fixtures()
        item._request = False
        item.funcargs = None
        self._renew_instance()

    def warm_up(self) -> None:
        """Set up and tear down once, so that fixtures of wider scope are there before the first run."""
        self._prepare()
        self.pool.begin_clocks()
        with self._going_clocks():
            self._warm_up()

    def _warm_up(self) -> None:
        phase = "set-up"
        try:
            try:
                self._state.setup(self.item)
                phase = "tear-down"
            finally:
                self._state.teardown_exact(self.item.parent)  # type: ignore[arg-type]
        except (*_ENDS_SESSION, NotExplored):
            raise
        except BaseException as error:
            raise NotExplored(f"its {phase} fails with {type(error).__name__}") from None

    # -- phases --------------------------------------------------------------------------------------------------

    def _prepare(self) -> None:
        item: Any = self.item
        self._renew_instance()
        self._hosting.forget_context()
        forget_broken_runner()
        repair_unhandled_fixtures()
        item._initrequest()
        item.stash[tmppath_result_key] = {"call": True}

    def _renew_instance(self) -> None:
        if self._is_method:
            for name in ("_instance", "_obj"):
                self.item.__dict__.pop(name, None)

    def _going_clocks(self) -> AbstractContextManager[None]:
        clocks = self.pool.clocks
        return nullcontext() if clocks is None else clocks.going()

    def _run_phases(self) -> BaseException | None:
        self._prepare()
        if self.pool.clocks is None and self._logs is None:  # as most, which need not pay for what they do not use
            error = self._set_up_call_and_tear_down()
        else:
            with self._going_clocks(), self._catching_logs():
                error = self._set_up_call_and_tear_down()
        if isinstance(error, NotExplored):
            if isinstance(error, NoVerdict) and self._has_verdict:
                return None
            raise error
        self._has_verdict = True
        return error

    def _set_up_call_and_tear_down(self) -> BaseException | None:
        error = self._set_up_and_call()
        if self._cutting is not None and self._cutting.is_open:
            self._cutting.end_body(error)
        leftovers = self._leftovers
        folder = leftovers.folder_of_test() if leftovers is not None else None
        self._begin_phase("teardown")
        try:
            self._state.teardown_exact(self.item.parent)  # type: ignore[arg-type]
        except _ENDS_SESSION:
            raise
        except BaseException as raised:
            if error is None:
                self.phase = "teardown"
                error = _without_verdict(raised) or raised
        if leftovers is not None:
            leftovers.clear(folder)
        return error

    def _set_up_and_call(self) -> BaseException | None:
        item = self.item
        phase = "setup"
        try:
            self._begin_phase(phase)
            self._state.setup(item)
            phase = "call"
            self._begin_phase(phase)
            if self._has_subtests:
                self._run_with_subtests()
            elif self._cutting is None:
                self._run_body()
            else:
                with cut_softly(item, self._cutting):
                    item.runtest()
        except _ENDS_SESSION:
            raise
        except BaseException as raised:
            none = _without_verdict(raised)
            if none is not None:
                return none
            self.phase = phase
            raised = original_error(raised)
            if item.get_closest_marker("xfail") is not None:  # added by a fixture or by the test itself
                return NotExplored("it is marked xfail when it runs")
            return raised
        return None

    def _run_with_subtests(self) -> None:
        item: Any = self.item
        item.funcargs[subtests.NAME] = silent = subtests.SilentSubtests()
        item.runtest()
        if silent.failure is not None:
            raise silent.failure

    @contextmanager
    def _catching_logs(self) -> Iterator[None]:
        if self._logs is None:
            yield
            return
        plugin: Any = self.item.config.pluginmanager.get_plugin("logging-plugin")
        stash = self.item.stash
        stash[caplog_records_key] = {}
        stash[caplog_handler_key] = self._logs
        with catching_logs(self._logs, level=getattr(plugin, "log_level", None)):
            yield
        stash.setdefault(caplog_records_key, {}).clear()

    def _begin_phase(self, when: str) -> None:
        if self._cutting is not None:
            self._cutting.is_open = when == "call"
        handler = self._logs
        if handler is not None:
            handler.reset()
            self.item.stash[caplog_records_key][when] = handler.records


def _without_verdict(error: BaseException) -> NoVerdict | None:
    """Return why there is nothing to say of the item if that is how it ends; None if it fails."""
    is_group_of_skips = isinstance(error, BaseExceptionGroup) and error.split(pytest.skip.Exception)[1] is None
    if is_group_of_skips or isinstance(error, _NO_VERDICT):
        return NoVerdict(str(error) or type(error).__name__)
    return None


def _code_of(item: pytest.Function) -> CodeType | None:
    function: Any = item.function
    handle = getattr(function, "hypothesis", None)
    function = inspect.unwrap(getattr(handle, "inner_test", function))
    return getattr(function, "__code__", None)


__all__ = ["ItemExecution", "NotExplored"]
