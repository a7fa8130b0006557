"""How a test is explored: in silence first, then once by pytest's own protocol, which reports it.

That last run is asyncio's own order if nothing was found, and the failing schedule otherwise: the failure that pytest
prints, with its assertion details and captured output, is the real one, and ``--pdb`` stops in it.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import pytest
from _pytest.runner import runtestprotocol
from _pytest.skipping import evaluate_skip_marks

from pytest_interleave.explore.execution import Limits
from pytest_interleave.explore.explain import explain
from pytest_interleave.explore.exploration import Exploration, Explanation, Failure
from pytest_interleave.explore.result import RunResult
from pytest_interleave.explore.search import Budget, Search
from pytest_interleave.explore.token import Token, test_number
from pytest_interleave.loop.controlled import ControlledLoop
from pytest_interleave.plugin.exploring import saved
from pytest_interleave.plugin.exploring.anyio_items import controlled_anyio, is_anyio_item
from pytest_interleave.plugin.exploring.loops import LoopPool
from pytest_interleave.plugin.exploring.options import ExploreSettings, settings_for
from pytest_interleave.plugin.exploring.reports import Reporter
from pytest_interleave.plugin.exploring.runs import ItemExecution, NotExplored
from pytest_interleave.plugin.items import AsyncGenerator, PytestAsyncioFunction
from pytest_interleave.plugin.session import hosting_of
from pytest_interleave.schedule import Decider, Fifo, Vector
from pytest_interleave.strategies.guided import Guided

_WIDER = ("class", "module", "package", "session")


@dataclass
class Explored:
    """What became of one item."""

    exploration: Exploration
    failure: Failure | None = None
    explanation: Explanation | None = None
    replayed: str = ""
    reason: str = ""
    reports: list[pytest.TestReport] = field(default_factory=list)


class Explorer:
    """Takes the items that are to be explored out of pytest's own protocol."""

    def __init__(self, config: pytest.Config, settings: ExploreSettings) -> None:
        self.config = config
        self.settings = settings
        self.reporter = Reporter(config, settings)
        config.pluginmanager.register(self.reporter, "interleave-reports")
        self._pool: LoopPool | None = None

    def pytest_runtest_protocol(self, item: pytest.Item, nextitem: pytest.Item | None) -> bool | None:
        """Explore the item, then let pytest run and report it under the schedule that matters."""
        if not self._may_explore(item):
            return None
        assert isinstance(item, pytest.Function)
        item.ihook.pytest_runtest_logstart(nodeid=item.nodeid, location=item.location)
        try:
            self._explore_and_report(item, nextitem)
        finally:
            item.ihook.pytest_runtest_logfinish(nodeid=item.nodeid, location=item.location)
        return True

    def pytest_unconfigure(self) -> None:
        """Close the loop that all tests shared."""
        if self._pool is not None:
            self._pool.close()
            self._pool = None

    # -- which items ---------------------------------------------------------------------------------------------

    def _may_explore(self, item: pytest.Item) -> bool:
        if not isinstance(item, pytest.Function) or isinstance(item, AsyncGenerator):
            return False
        if not self.settings.enabled and item.get_closest_marker("interleave") is None:
            return False
        if not isinstance(item, PytestAsyncioFunction) and not is_anyio_item(item):
            return False
        option = item.config.option
        if getattr(option, "setuponly", False) or getattr(option, "setupplan", False) or getattr(option, "usepdb_trace", False):
            return False
        if item.get_closest_marker("xfail") is not None:
            return False
        try:
            return settings_for(item, self.settings).enabled and evaluate_skip_marks(item) is None
        except pytest.fail.Exception:
            return True  # it is reported where the item's own failures are

    # -- one item ------------------------------------------------------------------------------------------------

    def _explore_and_report(self, item: pytest.Function, nextitem: pytest.Item | None) -> None:
        pool = self._pool
        if pool is None:
            pool = self._pool = LoopPool()
        try:
            settings = settings_for(item, self.settings)
        except pytest.fail.Exception as wrong:
            self._fail(item, str(wrong), nextitem)
            return
        hosting = hosting_of(item.config)
        with hosting.use_factory(pool.factory), controlled_anyio(item, pool):
            execution = ItemExecution(item, pool, stretch=settings.mode != "stock", limits=Limits())
            pool.use(None)
            explored, decider = self._search(item, execution, settings)
            with execution.controlled(decider) if decider is not None else _plain():
                reports = runtestprotocol(item, nextitem=nextitem, log=False)
            explored.reports = reports
        self.reporter.report(item, explored, settings, execution)

    def _search(
        self, item: pytest.Function, execution: ItemExecution, settings: ExploreSettings
    ) -> tuple[Explored, Decider | None]:
        """Explore; return what was found and the decider for the run that pytest reports."""
        seed = settings.seed
        try:
            self._control_wider_loop(item, execution)
            if settings.replay is not None:
                return self._replay(item, execution, settings, settings.replay)
            search = Search(
                execution,
                seed=seed,
                mode=settings.mode,
                budget=Budget(settings.runs, settings.seconds),
                saved=saved.deciders(item),
                is_repeated_by_caller=True,
                order_only=settings.order_only,
            )
            exploration = search.run()
        except NotExplored as reason:
            execution.forget()
            return Explored(Exploration(seed=seed, mode=settings.mode), reason=str(reason)), Fifo()
        except (KeyboardInterrupt, SystemExit, pytest.exit.Exception):
            raise
        failure = next(iter(exploration.failures), None)
        if failure is None and settings.order_only == "fail":
            failure = next(iter(exploration.notes), None)
        found = failure or next(iter(exploration.notes), None)
        explanation = explain(execution, found, exploration) if found is not None else None
        execution.forget()
        saved.keep(item, settings, exploration)
        decider = Search.decider_for(failure) if failure is not None else Fifo()
        return Explored(exploration, failure=failure, explanation=explanation), decider

    def _control_wider_loop(self, item: pytest.Function, execution: ItemExecution) -> None:
        """If the test runs in a loop of wider scope, have that loop there before the first run."""
        if not isinstance(item, PytestAsyncioFunction) or item._loop_scope not in _WIDER:
            return
        execution.warm_up()
        open_host = hosting_of(item.config).host_for(item, item._loop_scope, may_be_legacy=True)
        loop = open_host.host.loop
        if not isinstance(loop, ControlledLoop):
            raise NotExplored("it runs in a loop of its own")
        open_host.host.run(_nothing())  # its task is there from the first run on
        execution.pool.use(loop)

    def _replay(
        self, item: pytest.Function, execution: ItemExecution, settings: ExploreSettings, token: Token
    ) -> tuple[Explored, Decider | None]:
        exploration = Exploration(seed=settings.seed, mode=token.mode)
        explored = Explored(exploration)
        if token.test != test_number(item.nodeid):
            explored.reason = "the replay token belongs to another test"
            return explored, Fifo()
        exploration.baseline = execution(Fifo())
        decider: Decider = (
            Guided(token.constraints)
            if token.constraints is not None
            else Vector(token.vector, holds_steps=token.holds_steps)
        )
        result: RunResult = execution(decider)
        exploration.runs = 2
        execution.forget()
        form = "constraints" if token.constraints is not None else "exact choices"
        if result.failed:
            assert result.error is not None
            assert result.signature is not None
            explored.failure = Failure(
                error=result.error,
                signature=result.signature,
                label="latency",
                found_in_run=1,
                seed=settings.seed,
                constraints=token.constraints,
                vector=token.vector,
                result=result,
                holds_steps=token.holds_steps,
            )
            explored.failure.label = Search.label_for(explored.failure, token.mode)
            exploration.verdict = "failed"
            explored.explanation = explain(execution, explored.failure, exploration)
            execution.forget()
            explored.replayed = f"replayed from the token's {form}"
        else:
            exploration.verdict = "sampled"
            explored.replayed = f"the token's {form} were replayed, and the test does not fail under them"
        return explored, Search.decider_for(explored.failure) if explored.failure is not None else decider

    def _fail(self, item: pytest.Function, text: str, nextitem: pytest.Item | None) -> None:
        def fail() -> None:
            pytest.fail(text, pytrace=False)

        call = pytest.CallInfo.from_call(fail, when="setup")
        report = item.ihook.pytest_runtest_makereport(item=item, call=call)
        item.ihook.pytest_runtest_logreport(report=report)
        item.session._setupstate.teardown_exact(nextitem)


async def _nothing() -> None:
    """Do nothing, in the host's task."""


class _plain:  # noqa: N801 - a context manager that does nothing
    def __enter__(self) -> None: ...

    def __exit__(self, *exc: Any) -> None: ...


