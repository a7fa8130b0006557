"""From a finding to a failed test, or to a line in the summary.

Detectors call ``report_finding``. What it keeps goes out with the next report of the test, so that it reaches xdist's
controller; what belongs to no test goes out at the end of the session.
"""

from __future__ import annotations

import json
import sys
from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any, cast

import pytest

from pytest_interleave.detectors.findings import Finding, Level
from pytest_interleave.errors import Deadlocked, TimedOut
from pytest_interleave.plugin.detecting.ambient import NAME as LEAKED_CONTEXT
from pytest_interleave.plugin.detecting.ambient import Ambient
from pytest_interleave.plugin.detecting.failing import add_failures
from pytest_interleave.plugin.detecting.never_awaited import NeverAwaited
from pytest_interleave.plugin.detecting.options import DetectSettings, level_of
from pytest_interleave.plugin.detecting.remains import tell_of_remains
from pytest_interleave.plugin.detecting.rendering import TITLE, relative, render
from pytest_interleave.plugin.failures import text_at
from pytest_interleave.plugin.http.handler_failures import HandlerFailures
from pytest_interleave.plugin.measurements import MEASURING, show_measurements
from pytest_interleave.plugin.misuse import Explanations

NAME = "interleave-detecting"
_ATTRIBUTE = "interleave_findings"
#: What ended a test and says everything itself. (To write ``A | B`` in a call is to make that anew.)
_WITH_TEXT = (Deadlocked, TimedOut)
#: More findings than this in the summary only with -v.
_MOST = 20


def report_finding(config: pytest.Config, item: pytest.Item | None, finding: Finding) -> None:
    """Take a finding of a detector: of this test, in its current phase, or of the session if there is no item."""
    hooks = hooks_of(config)
    if hooks is not None:
        hooks.take(item, finding)


def is_failure(config: pytest.Config, item: pytest.Item, finding: Finding) -> bool:
    """Whether that finding would fail the test."""
    hooks = hooks_of(config)
    return hooks is not None and level_of(finding, item, hooks.settings) is Level.FAIL


def has_passed(config: pytest.Config) -> bool:
    """Whether the test whose turn it is has neither failed nor been skipped so far."""
    hooks = hooks_of(config)
    return hooks is None or hooks.has_passed


def hooks_of(config: pytest.Config) -> DetectingHooks | None:
    """Return what keeps the session's findings, if anything does."""
    hooks: DetectingHooks | None = config.pluginmanager.get_plugin(NAME)
    return hooks


def findings_of(config: pytest.Config) -> dict[str, list[dict[str, Any]]]:
    """Return what was found in each test, as JSON values; what belongs to no test is under the empty name."""
    hooks = hooks_of(config)
    return {} if hooks is None else hooks.found


class DetectingHooks:
    """Keeps findings until a report can bear them, and shows them in the end."""

    def __init__(self, config: pytest.Config, settings: DetectSettings, explanations: Explanations) -> None:
        self.config = config
        self.settings = settings
        #: The test whose turn it is, from its set-up to the next one's.
        self.item: pytest.Item | None = None
        #: Whether its reports so far are of what passed.
        self.has_passed = True
        #: To be called before the last report of that test is made.
        self.suspects: list[Callable[[], None]] = []
        #: What another thread saw of the test that runs: to be called before its next report is made.
        self.sightings: deque[Callable[[], object]] = deque()
        #: Who waited for what when Ctrl-C came.
        self.interrupted: list[str] = []
        self._explanations = explanations
        self._ambient = None if settings.levels[LEAKED_CONTEXT] is Level.OFF else Ambient()
        self._never_awaited = NeverAwaited(self)
        self._never_awaited.install()
        self.handler_failures = HandlerFailures(self._item_to_report, config.rootpath)
        self.handler_failures.install()
        #: What reports brought, by node id, and what belongs to no test, under the empty name.
        self.found: dict[str, list[dict[str, Any]]] = {}
        self._are_reports_sent = are_reports_sent(config)
        self._pending: dict[pytest.Item, list[tuple[Level, Finding]]] = {}
        self._of_session: list[dict[str, Any]] = []

    @property
    def is_collecting(self) -> bool:
        """Whether the garbage collector is at work: what it drops may be of any test."""
        return self._never_awaited.is_collecting

    def _item_to_report(self) -> pytest.Item | None:
        """Return the test whose run pytest will report; None in the runs of a search, which show other things."""
        explorer = self.config.pluginmanager.get_plugin("interleave-explorer")
        return None if explorer is not None and explorer.is_silent else self.item

    def take(self, item: pytest.Item | None, finding: Finding) -> bool:
        """Keep the finding, unless it is off or allowed; return whether it is kept."""
        level = level_of(finding, item, self.settings)
        if level is Level.OFF:
            return False
        if item is None:
            self._of_session.append(self._as_json(level, finding))
        elif item is self.item:
            pending = self._pending.setdefault(item, [])
            if (level, finding) not in pending:
                pending.append((level, finding))
        else:
            self._of_session.append(self._as_json(level, _too_late(item, finding)))
        return True

    def has_taken(self, item: pytest.Item | None, finding: Finding) -> bool:
        """Whether the next report of the test will have what the same detector found at the same place."""
        return item is not None and any(
            (other.detector, other.where) == (finding.detector, finding.where)
            for _, other in self._pending.get(item, ())
        )

    def _as_json(self, level: Level, finding: Finding) -> dict[str, Any]:
        return {**finding.as_json(), "where": relative(finding, self.config.rootpath), "level": level.value}

    @pytest.hookimpl(tryfirst=True)
    def pytest_runtest_protocol(self, item: pytest.Item) -> None:
        """Remember whose turn it is."""
        self.item = item
        self.has_passed = True
        self._never_awaited.begin()
        if self._ambient is not None:
            self._ambient.begin(item)

    @pytest.hookimpl(tryfirst=True)
    def pytest_runtest_makereport(self, item: pytest.Item, call: pytest.CallInfo[None]) -> pytest.TestReport | None:
        """Explain a failure; if anything was found in this phase, make the report, with that in it.

        No wrapper, which would cost every test 6 µs, three times as much as this.
        """
        ended_by = None
        if call.excinfo is not None:
            self.has_passed = False
            ended_by = call.excinfo.value
            self._explanations.explain(item, call.excinfo)
            self.handler_failures.explain(item, ended_by)
        if call.when == "teardown":
            if self.suspects:
                self.look_again()
            if self._ambient is not None:
                left = self._ambient.end(item)
                if left is not None:
                    self.take(item, left)
        while self.sightings:
            self.sightings.popleft()()
        has_text = ended_by is not None and isinstance(ended_by, _WITH_TEXT)
        if not self._pending and not has_text and MEASURING not in sys.modules:
            return None
        found = self._pending.pop(item, [])
        report = _make_report(self, item, call)
        if has_text and report.failed:
            report.longrepr = text_at(str(ended_by), None, item)
        failures = [finding for level, finding in found if level is Level.FAIL]
        if failures:
            add_failures(item, call, report, failures)
        self.has_passed &= not report.failed
        if found:
            setattr(report, _ATTRIBUTE, [self._as_json(level, finding) for level, finding in found])
            if not self._are_reports_sent:
                self.collect(report)
        show_measurements(report, self.config)
        return report

    def look_again(self) -> None:
        """Look whether what was suspect is still there."""
        suspects, self.suspects = self.suspects, []
        for look in suspects:
            look()

    def collect(self, report: pytest.TestReport) -> None:
        """Keep for the end what the report brought."""
        found = getattr(report, _ATTRIBUTE, None)
        if found:
            self.found.setdefault(report.nodeid, []).extend(found)

    def collect_of_session(self, values: dict[str, Any]) -> None:
        """Keep for the end what another process found outside its tests."""
        self._of_session += values.get(_ATTRIBUTE, [])

    @pytest.hookimpl(wrapper=True, trylast=True)
    def pytest_sessionfinish(self, session: pytest.Session) -> Iterator[None]:
        """Count what belongs to no test, and write the JSON file if the explorer does not; just before the summary."""
        result = yield
        self._finish(session)
        return result

    def _finish(self, session: pytest.Session) -> None:
        if self.item is not None:
            tell_of_remains(self._never_awaited)
        for item, found in self._pending.items():  # came after the last report of its test
            self._of_session += [self._as_json(level, _too_late(item, finding)) for level, finding in found]
        self._pending.clear()
        config = session.config
        if hasattr(config, "workerinput"):
            config.workeroutput[_ATTRIBUTE] = self._of_session  # type: ignore[attr-defined]
            return
        if self._of_session:
            self.found.setdefault("", []).extend(self._of_session)
            is_failure = any(found["level"] == Level.FAIL.value for found in self._of_session)
            if is_failure and session.exitstatus in (pytest.ExitCode.OK, pytest.ExitCode.NO_TESTS_COLLECTED):
                session.exitstatus = pytest.ExitCode.TESTS_FAILED
        path = config.getoption("interleave_json", None)
        if path is not None and not config.pluginmanager.has_plugin("interleave-reports"):
            _write(path, tests_with_findings(config))

    @pytest.hookimpl(tryfirst=True)
    def pytest_unconfigure(self) -> None:
        """Look no longer."""
        self._never_awaited.uninstall()
        self.handler_failures.uninstall()

    def pytest_terminal_summary(self, terminalreporter: pytest.TerminalReporter) -> None:
        """List who waited for what at Ctrl-C, and findings that failed no test, each place once."""
        if self.interrupted:
            terminalreporter.section("interleave: who waited for what at Ctrl-C", sep="=")
            for line in self.interrupted:
                terminalreporter.write_line(line)
        groups: dict[tuple[str, str], list[tuple[str, dict[str, Any]]]] = {}
        for nodeid, found in self.found.items():
            for values in found:
                if values["level"] == Level.REPORT.value or not nodeid:
                    groups.setdefault((values["detector"], values["where"] or values["summary"]), []).append(
                        (nodeid, values)
                    )
        if not groups:
            return
        terminalreporter.section(TITLE, sep="=")
        is_verbose = self.config.get_verbosity() > 0
        shown = list(groups.values()) if is_verbose else list(groups.values())[:_MOST]
        for group in shown:
            nodeid, values = group[0]
            terminalreporter.write_line(render(Finding.from_json(values), self.config.rootpath))
            times = "" if len(group) == 1 else f" and {len(group) - 1} more"
            if nodeid:
                terminalreporter.write_line(f"  in {nodeid}{times}")
        if len(groups) > len(shown):
            terminalreporter.write_line(f"{len(groups) - len(shown)} more places: pytest -v shows all")


def are_reports_sent(config: pytest.Config) -> bool:
    """Whether tests run in another process than the one that ends with their summary (xdist, pytest-forked)."""
    return hasattr(config, "workerinput") or any(
        config.getoption(name, None) for name in ("numprocesses", "tx", "forked")
    )


class SentFindings:
    """Collects what is found in other processes; where tests run in this one, no hook need look at each report."""

    def __init__(self, hooks: DetectingHooks) -> None:
        self._hooks = hooks

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        """Take what came with the report."""
        self._hooks.collect(report)

    @pytest.hookimpl(optionalhook=True)
    def pytest_testnodedown(self, node: Any) -> None:
        """Take what a worker of xdist found outside its tests."""
        self._hooks.collect_of_session(getattr(node, "workeroutput", None) or {})


def _make_report(own: object, item: pytest.Item, call: pytest.CallInfo[None]) -> pytest.TestReport:
    """Return the report that pytest, or another plugin, makes of a phase."""
    arguments = {"item": item, "call": call}
    for implementation in reversed(item.ihook.pytest_runtest_makereport.get_hookimpls()):
        is_wrapper = implementation.wrapper or implementation.hookwrapper
        if is_wrapper or implementation.plugin is own:
            continue
        report = implementation.function(*(arguments[name] for name in implementation.argnames))
        if report is not None:
            return cast("pytest.TestReport", report)
    return pytest.TestReport.from_item_and_call(item, call)


def _too_late(item: pytest.Item, finding: Finding) -> Finding:
    return replace(finding, details=(*finding.details, f"This belongs to {item.nodeid}, which had ended."))


def tests_with_findings(config: pytest.Config) -> list[dict[str, Any]]:
    """Return an entry of the JSON file for each test in which something was found."""
    return [{"nodeid": nodeid, "findings": found} for nodeid, found in findings_of(config).items()]


def _write(path: str, tests: list[dict[str, Any]]) -> None:
    try:
        Path(path).parent.mkdir(parents=True, exist_ok=True)
        Path(path).write_text(json.dumps({"tests": tests}, indent=1) + "\n")
    except OSError as error:
        raise pytest.UsageError(f"--interleave-json: cannot write {path}: {error.strerror}") from None
