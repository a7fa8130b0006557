"""What exploration adds to pytest's output: a section under a failure, lines in the summary, a JSON file.

What is known of a test travels on its last report, so that xdist's workers and a plain session work alike.
"""

from __future__ import annotations

import inspect
import json
import linecache
import shlex
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from _pytest.pathlib import bestrelpath

from pytest_interleave.clock.instants import write_instant
from pytest_interleave.errors import LeftBehind, LostException, RunEnded
from pytest_interleave.plugin.clock_options import FOR_WORKERS as CLOCKS_FOR_WORKERS
from pytest_interleave.plugin.clock_options import INI as CLOCKS_KEY
from pytest_interleave.plugin.clock_options import clocks_of, read_clocks, session_start
from pytest_interleave.plugin.detecting.failing import own_failure
from pytest_interleave.plugin.detecting.hooks import findings_of
from pytest_interleave.plugin.exploring import saved
from pytest_interleave.plugin.exploring.anyio_items import is_anyio_item
from pytest_interleave.plugin.exploring.options import ExploreSettings
from pytest_interleave.plugin.failures import argument_of, text_at
from pytest_interleave.plugin.items import PytestAsyncioFunction
from pytest_interleave.report.text import MOCKS_AT_ONCE, render_failure, render_note, render_summary_line, sentence_of

if TYPE_CHECKING:
    from pytest_interleave.plugin.exploring.explored import Explored

_TITLE = "interleave"
_LIVED_ON = (
    "It failed in asyncio's own order, but not in the first runs: perhaps because of what earlier runs left in "
    "fixtures that live on from run to run: {}."
)
_ATTRIBUTE = "interleave"
#: On the report of an async test that somebody else has run.
_BY_OTHERS = "interleave_by_others"
#: More lines than this in the summary only with -v.
_MOST_LINES = 20
#: More tests than this that are left out for one reason share a line.
_MOST_ALIKE = 3


class Reporter:
    """Collects what was explored, and shows it."""

    def __init__(self, config: pytest.Config, settings: ExploreSettings) -> None:
        self.config = config
        self.settings = settings
        self._records: list[dict[str, Any]] = []
        #: So many async tests passed that another plugin, or unittest, has run.
        self._by_others = 0
        self._current: _Current | None = None
        self._is_in_call = False
        if settings.json_path is not None and not hasattr(config, "workerinput"):
            # To fail now, and not after the last test; and a session that is killed leaves something to read.
            _write(settings.json_path, _as_json([]))

    # -- one test, where it ran ----------------------------------------------------------------------------------

    def begin(self, item: pytest.Function, explored: Explored, settings: ExploreSettings) -> None:
        """Complete the reports of the run that comes now, which is the one that counts."""
        self._current = _Current(item, explored, self._record(item, explored, settings))

    def forget(self) -> None:
        """Leave the reports that come now as they are."""
        self._current = None

    @pytest.hookimpl(wrapper=True, tryfirst=True)
    def pytest_runtest_call(self) -> Iterator[None]:
        """Note that reports which are made meanwhile are of sub-tests."""
        __tracebackhide__ = True
        self._is_in_call = True
        try:
            return (yield)
        finally:
            self._is_in_call = False

    @pytest.hookimpl(wrapper=True, tryfirst=True)
    def pytest_runtest_makereport(self, item: pytest.Item, call: pytest.CallInfo[None]) -> Iterator[None]:
        """Add what is known to the report that shows the failure, and the whole record to the last one."""
        current = self._current if not self._is_in_call else None
        if current is not None and current.item is not item:
            current = None
        if current is not None and current.explored.exploration.fails_again:
            _take_first_run(call)
        report: Any = yield
        if current is not None:
            current.complete(report, call)
        elif self.settings.enabled and call.when == "call" and _is_run_by_others(item):
            setattr(report, _BY_OTHERS, True)
        return report  # type: ignore[no-any-return]

    def _record(self, item: pytest.Function, explored: Explored, settings: ExploreSettings) -> dict[str, Any]:
        done = explored.exploration
        failure = explored.failure
        found = failure or next(iter(done.notes), None)
        token = saved.token_for(item, found, settings.mode) if found is not None else None
        if done.own_order_varies and (wider := _wider_fixtures(item)):
            done.reason += f", perhaps by what earlier runs left in fixtures that live on: {wider}"
        elif done.fails_again and (wider := _wider_fixtures(item)):
            done.reason += f", perhaps in fixtures that live on: {wider}"
        record: dict[str, Any] = {
            "nodeid": item.nodeid,
            "outcome": "passed",
            "verdict": done.verdict,
            "runs": done.runs,
            "found_in_run": found.found_in_run if found is not None else None,
            "seed": done.seed,
            "token": token,
            "label": found.label if found is not None else None,
            "tried": str(found.tried) if found is not None and found.tried is not None else None,
            "sentence": None,
            "seconds": round(done.seconds, 4),
            "suspensions": done.suspensions,
            "suspensions_tried": done.suspensions_tried,
            "cuts": done.cuts,
            "cuts_tried": done.cuts_tried,
            "line": f"not explored: {explored.reason}"
            if explored.reason
            else explored.replayed or render_summary_line(done),
            "is_explored": not explored.reason and bool(done.reason or not done.nothing_to_choose or failure),
            "is_shown": bool(
                explored.reason or explored.replayed or done.reason or not done.nothing_to_choose or failure
            ),
            "is_skipped": bool(explored.reason),
            "has_mocks_at_once": done.mocks_at_once > 0,
            "text": "",
            "note": "",
        }
        if explored.reason:
            record["text"] = f"Not explored: {explored.reason}."
            record["verdict"] = "not explored"
        if found is not None:
            command = _replay_command(item, str(token))
            found.explanation = explored.explanation
            record["sentence"] = sentence_of(found)
            if failure is not None:
                record["text"] = render_failure(found, done, replay_command=command)
                if failure.constraints == {} and failure.found_in_run > 1 and (wider := _wider_fixtures(item)):
                    record["text"] += f"\n{_LIVED_ON.format(wider)}"
                if explored.replayed:
                    record["text"] = f"{explored.replayed}\n\n{record['text']}"
            else:
                record["note"] = f"{item.nodeid}\n{render_note(found, done, replay_command=command)}"
        elif explored.replayed:
            record["text"] = explored.replayed
        return record

    @pytest.hookimpl(optionalhook=True)
    def pytest_configure_node(self, node: Any) -> None:
        """Give the seed, and where virtual clocks start, to a worker of pytest-xdist."""
        node.workerinput[CLOCKS_FOR_WORKERS] = str(session_start(self.config))
        node.workerinput["interleave_seed"] = str(self.settings.seed)

    # -- the session ---------------------------------------------------------------------------------------------

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        """Collect what came with the report."""
        record = getattr(report, _ATTRIBUTE, None)
        if record is not None:
            self._records.append(record)
        self._by_others += report.passed and getattr(report, _BY_OTHERS, False)

    @pytest.hookimpl(wrapper=True)
    def pytest_sessionfinish(self, session: pytest.Session) -> Iterator[None]:
        """Write the JSON file, once the detectors have looked at what is left."""
        result = yield
        self._finish(session)
        return result

    def _finish(self, session: pytest.Session) -> None:
        if hasattr(session.config, "workerinput"):
            return
        failed = {record["nodeid"]: record["token"] for record in self._records if record["verdict"] == "failed"}
        if self.settings.replay is None:
            saved.keep(session.config, {nodeid: token for nodeid, token in failed.items() if token})
        if self.settings.json_path is None:
            return
        keys = (
            "nodeid",
            "outcome",
            "verdict",
            "runs",
            "found_in_run",
            "seed",
            "token",
            "label",
            "tried",
            "sentence",
            "seconds",
            "suspensions",
            "suspensions_tried",
            "cuts",
            "cuts_tried",
        )
        found = dict(findings_of(session.config))
        tests = [
            {**{key: record[key] for key in keys}, "findings": found.pop(record["nodeid"], [])}
            for record in self._records
        ]
        tests += [{"nodeid": nodeid, "findings": values} for nodeid, values in found.items()]
        _write(self.settings.json_path, _as_json(tests))

    def pytest_report_header(self) -> str | None:
        """Say what will be explored, and the seed that repeats it."""
        settings = self.settings
        if not settings.enabled or settings.replay is not None:
            return None
        seconds = "" if settings.seconds == float("inf") else f" or {settings.seconds:g} s"
        budget = f"up to {settings.runs} runs{seconds} a test"
        start = read_clocks(self.config)
        clocks = "" if start is None else f", clocks from {write_instant(start)}"
        return f"interleave: {settings.mode}, {budget}{clocks}, --interleave-seed={settings.seed}"

    def pytest_terminal_summary(self, terminalreporter: pytest.TerminalReporter) -> None:
        """Say what was explored."""
        records = self._records
        if not records and not self._by_others:
            return
        write = terminalreporter.write_line
        terminalreporter.section("interleave", sep="=")
        is_verbose = self.config.get_verbosity() > 0
        shown = [record for record in records if is_verbose or record["is_shown"]]
        omitted = 0
        if len(shown) > _MOST_LINES and not is_verbose:
            telling = [record for record in shown if record["verdict"] not in ("exhausted", "sampled")]
            omitted = len(shown) - len(telling)
            shown = telling
        for line in _lines(shown, are_alike_told=is_verbose):
            write(line)
        if omitted:
            write(f"{omitted} more tests passed in all that was tried; -v lists them")
        for record in records:
            if record["note"]:
                write("")
                write(record["note"])
        if records:
            write(_total(records))
        if self._by_others:
            write(f"{self._by_others} run by another plugin or unittest, and not explored")


def _lines(shown: list[dict[str, Any]], *, are_alike_told: bool) -> Iterator[str]:
    """Yield a line for each test; one for all that are not explored for the same reason, where they are many."""
    alike = Counter(record["line"] for record in shown if record["is_skipped"])
    told = set()
    for record in shown:
        line = record["line"]
        count = alike[line] if record["is_skipped"] and not are_alike_told else 0
        if count <= _MOST_ALIKE:
            yield f"{record['nodeid']}: {line}"
        elif line not in told:
            told.add(line)
            yield f"{record['nodeid']} and {count - 1} more: {line}"


@dataclass
class _Current:
    """The test that pytest runs now, and what is known of it."""

    item: pytest.Function
    explored: Explored
    record: dict[str, Any]
    has_failed: bool = False

    def complete(self, report: Any, call: pytest.CallInfo[None]) -> None:
        """Add to the report what is known by now."""
        failure = self.explored.failure
        record = self.record
        if failure is not None and not (report.failed or self.has_failed) and report.when == self.explored.phase:
            report.outcome = "failed"
            report.longrepr = text_at(_describe(failure.error, self.item), None, self.item)
        error = own_failure(call)
        if report.failed and isinstance(error, RunEnded):
            # Its traceback is the loop's, which says nothing: where the tasks stood is what counts.
            lines = [f"{type(error).__name__}: {error}", *_stands(error, self.item.config.invocation_params.dir)]
            report.longrepr = text_at("\n".join(lines), None, self.item)
        if report.failed:
            if record["text"] and not self.has_failed:
                report.sections.append((_TITLE, record["text"]))
            self.has_failed = True
            record["outcome"] = "failed"
        elif report.skipped and not self.has_failed:
            record["outcome"] = "skipped"
        if report.when == "teardown":
            report.interleave = record
            if self.has_failed and record["token"]:  # what a JUnit file can hold
                summary = f"{record['sentence']}; {record['label']}; --interleave-replay={record['token']}"
                report.user_properties.append(("interleave", summary))


def _stands(error: RunEnded, folder: Path) -> Iterator[str]:
    """Say where the tasks stood, once of those that stood in the same line."""
    for place, count in Counter(filter(None, error.places)).items():
        file, _, line = place.rpartition(":")
        text = linecache.getline(file, int(line)).strip()
        yield f"    at {bestrelpath(folder, Path(place))}: {text}" + (f"  ({count} tasks)" if count > 1 else "")


def _describe(error: BaseException, item: pytest.Item) -> str:
    """Say why the test fails, although pytest's own run of it passed."""
    if isinstance(error, LeftBehind):
        return _describe_left(error, item)
    if isinstance(error, LostException):
        return str(error)
    return (
        f"{type(error).__name__}: {error}\n"
        "This was seen when the test was explored, but not when pytest ran the same schedule again."
    )


def _describe_left(error: LeftBehind, item: pytest.Item) -> str:
    """Say what a cancellation leaves behind, with the path as pytest prints paths."""
    text = str(error)
    for place in filter(None, error.places):
        text = text.replace(place, bestrelpath(item.config.invocation_params.dir, Path(place)))
    return f"{error.why}, and {text}"


def _wider_fixtures(item: pytest.Function) -> str:
    """Name what lives on from run to run, and may keep what runs leave there."""
    return ", ".join(
        f"{name} ({definitions[-1].scope})"
        for name, definitions in item._fixtureinfo.name2fixturedefs.items()
        if definitions and definitions[-1].scope != "function" and not _is_of_library(definitions[-1])
    )


def _is_of_library(definition: pytest.FixtureDef[Any]) -> bool:
    return str(definition.func.__module__).partition(".")[0] in ("_pytest", "pytest", "pytest_interleave", "anyio")


def _as_json(tests: list[dict[str, Any]]) -> str:
    return json.dumps({"tests": tests}, indent=1) + "\n"


def _take_first_run(call: pytest.CallInfo[None]) -> None:
    """Let the phase pass, as it did when the test was run first; what it fails with now is what that has left."""
    if call.excinfo is not None and isinstance(call.excinfo.value, (Exception, pytest.fail.Exception)):
        call.excinfo = None


def _is_run_by_others(item: pytest.Item) -> bool:
    """Whether another plugin, or unittest, awaits the test, and so decides how its loop runs."""
    if not isinstance(item, pytest.Function) or isinstance(item, PytestAsyncioFunction) or is_anyio_item(item):
        return False
    return inspect.iscoroutinefunction(inspect.unwrap(item.function))


def _write(path: str, text: str) -> None:
    try:
        Path(path).parent.mkdir(parents=True, exist_ok=True)
        Path(path).write_text(text)
    except OSError as error:
        raise pytest.UsageError(f"--interleave-json: cannot write {path}: {error.strerror}") from None


def _replay_command(item: pytest.Item, token: str) -> str:
    """Return the line to paste in the folder where pytest was started."""
    config = item.config
    options = [argument_of(item), f"--interleave-replay={token}"]
    start = clocks_of(item)
    if start is not None:
        options += ["-o", f"{CLOCKS_KEY}={write_instant(start)}"]
    if config.getoption("interleave_mocks"):
        options.append("--interleave-mocks")
    mode = config.getoption("asyncio_mode", None)
    if mode:
        options.append(f"--asyncio-mode={mode}")
    return " ".join(["pytest", *map(shlex.quote, options)])


def _total(records: list[dict[str, Any]]) -> str:
    explored = [record for record in records if record["is_explored"]]
    left_out = sum(record["is_skipped"] for record in records)
    quiet = len(records) - len(explored) - left_out
    runs = sum(record["runs"] for record in records)
    seconds = sum(record["seconds"] for record in records)
    verdicts = [
        f"{count} {verdict}"
        for verdict in ("failed", "exhausted", "sampled", "inconclusive")
        if (count := sum(record["verdict"] == verdict for record in explored))
    ]
    cost = f"in {runs} run{'s' * (runs != 1)}, {seconds:.1f} s"
    parts = [f"{len(explored)} explored {cost}" + f" ({', '.join(verdicts)})" * bool(verdicts)] if explored else []
    if quiet:
        parts.append(f"{quiet} had nothing to explore" + f" {cost}" * (not explored))
        mocked = sum(not (each["is_explored"] or each["is_skipped"]) and each["has_mocks_at_once"] for each in records)
        if mocked:
            parts[-1] += f" ({'their' if mocked == quiet else f'{mocked} of them: their'} {MOCKS_AT_ONCE})"
    if left_out:
        parts.append(f"{left_out} not explored")
    return "; ".join(parts)
