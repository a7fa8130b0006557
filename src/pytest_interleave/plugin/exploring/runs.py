"""One run of a test item: its function-scoped fixtures set up anew, the body, the tear-down, under a given decider.

pytest's ``SetupState`` is used without the hooks around it, which would cost ten times as much as a short test; items
whose fixtures need those hooks go through them.
"""

from __future__ import annotations

import inspect
import io
import random
import shutil
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext, redirect_stderr, redirect_stdout
from pathlib import Path
from types import CodeType
from typing import Any

import pytest
from _pytest.tmpdir import tmppath_result_key

from pytest_interleave.errors import RunEnded
from pytest_interleave.explore.execution import Limits
from pytest_interleave.explore.recorder import Recorder
from pytest_interleave.explore.result import RunResult
from pytest_interleave.loop.controlled import ControlledLoop
from pytest_interleave.loop.observe import Observer
from pytest_interleave.loop.threads import ending_with_the_process
from pytest_interleave.plugin.exploring.loops import LoopPool
from pytest_interleave.plugin.session import hosting_of
from pytest_interleave.schedule import Decider
from pytest_interleave.trace import Trace

#: Fixtures that look at what hooks around a phase put in the item's stash.
_NEED_HOOKS = frozenset({"caplog", "subtests"})


class NotExplored(Exception):
    """The item cannot be explored; what it did instead of running is left to pytest."""


class ItemExecution:
    """Repeats one item."""

    def __init__(self, item: pytest.Function, pool: LoopPool, *, stretch: bool, limits: Limits) -> None:
        self.item = item
        self.pool = pool
        self.stretch = stretch
        self.limits = limits
        self.script = _code_of(item)
        self._needs_hooks = bool(_NEED_HOOKS.intersection(item.fixturenames))
        self._state = item.session._setupstate
        self._recorder: Recorder | None = None
        self._trace: Trace | None = None
        self._random: Any = None

    def __call__(self, decider: Decider, observer: Observer | None = None) -> RunResult:
        """Make one run, in silence."""
        with self.controlled(decider, observer):
            error = self._run_phases()
        if isinstance(error, NotExplored):
            raise error
        return self.result(error)

    @contextmanager
    def controlled(self, decider: Decider, observer: Observer | None = None) -> Iterator[None]:
        """Let what happens inside be one run under the decider."""
        loop = self.pool.loop
        self._recorder = recorder = Recorder(decider)
        self._trace = trace = self.pool.begin(recorder, script=self.script, stretch=self.stretch, limits=self.limits)
        recorder.attach(trace)
        state = random.getstate()
        random.seed(0)
        try:
            with ending_with_the_process(), observer.watching(loop, trace) if observer is not None else nullcontext():
                yield
        finally:
            random.setstate(state)
            self.pool.end()

    def result(self, error: BaseException | None) -> RunResult:
        """Return what the last run came to."""
        loop, recorder, trace = self.pool.loop, self._recorder, self._trace
        assert recorder is not None
        assert trace is not None
        return RunResult(
            error=error,
            trace=trace,
            vector=recorder.vector,
            widths=recorder.widths,
            points=recorder.points,
            starts=recorder.starts,
            steps=self.pool.steps,
            forced_deadlines=loop.forced_deadlines,
            virtual_seconds=self.pool.seconds,
            blocked_at=error.places if isinstance(error, RunEnded) else (),
            constraints=recorder.constraints,
        )

    def forget(self) -> None:
        """Leave the item as pytest expects it before its own protocol."""
        item: Any = self.item
        hosting_of(item.config).forget_context()
        item._request = False
        item.funcargs = None
        self._renew_instance()

    def warm_up(self) -> None:
        """Set up and tear down once, so that fixtures of wider scope are there before the first run."""
        self._prepare()
        try:
            self._state.setup(self.item)
        finally:
            self._state.teardown_exact(self.item.parent)  # type: ignore[arg-type]

    # -- phases --------------------------------------------------------------------------------------------------

    def _prepare(self) -> None:
        item: Any = self.item
        self._renew_instance()
        hosting_of(item.config).forget_context()
        item._initrequest()
        item.stash.setdefault(tmppath_result_key, {})["call"] = True

    def _renew_instance(self) -> None:
        item = self.item
        if isinstance(item.parent, pytest.Class):
            for name in ("_instance", "_obj"):
                item.__dict__.pop(name, None)

    def _run_phases(self) -> BaseException | None:
        self._prepare()
        error: BaseException | None = None
        silence = io.StringIO()
        with redirect_stdout(silence), redirect_stderr(silence):
            for phase in (self._set_up_and_call, self._tear_down):
                try:
                    phase()
                except (KeyboardInterrupt, SystemExit, pytest.exit.Exception):
                    raise
                except pytest.skip.Exception as skip:
                    error = NotExplored(str(skip))
                except BaseException as raised:
                    error = error or raised
        return error

    def _set_up_and_call(self) -> None:
        if self._needs_hooks:
            self.item.ihook.pytest_runtest_setup(item=self.item)
            self.item.ihook.pytest_runtest_call(item=self.item)
            return
        self._state.setup(self.item)
        self.item.runtest()

    def _tear_down(self) -> None:
        parent: Any = self.item.parent
        folder = (self.item.funcargs or {}).get("tmp_path")
        try:
            if self._needs_hooks:
                self.item.ihook.pytest_runtest_teardown(item=self.item, nextitem=parent)
            else:
                self._state.teardown_exact(parent)
        finally:
            if isinstance(folder, Path):  # one for each of some hundred runs
                shutil.rmtree(folder, ignore_errors=True)


def _code_of(item: pytest.Function) -> CodeType | None:
    function: Any = item.function
    handle = getattr(function, "hypothesis", None)
    function = inspect.unwrap(getattr(handle, "inner_test", function))
    return getattr(function, "__code__", None)


__all__ = ["ControlledLoop", "ItemExecution", "NotExplored"]
