"""What exploration adds to pytest's output: a section under a failure, lines in the summary, a JSON file.

What is known of a test travels on its last report, so that xdist's workers and a plain session work alike.
"""

from __future__ import annotations

import json
import shlex
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from pytest_interleave.plugin.exploring import saved
from pytest_interleave.plugin.exploring.options import ExploreSettings
from pytest_interleave.plugin.exploring.runs import ItemExecution
from pytest_interleave.report.text import render_failure, render_note, render_summary_line, sentence_of

if TYPE_CHECKING:
    from pytest_interleave.plugin.exploring.protocol import Explored

_TITLE = "interleave"
_ATTRIBUTE = "interleave"
#: More lines than this in the summary only with -v.
_MOST_LINES = 20


class Reporter:
    """Collects what was explored, and shows it."""

    def __init__(self, config: pytest.Config, settings: ExploreSettings) -> None:
        self.config = config
        self.settings = settings
        self._records: list[dict[str, Any]] = []

    # -- one test, where it ran ----------------------------------------------------------------------------------

    def report(
        self, item: pytest.Function, explored: Explored, settings: ExploreSettings, execution: ItemExecution
    ) -> None:
        """Complete the reports of the run that counts, and hand them to pytest."""
        reports = explored.reports
        failure = explored.failure
        record = self._record(item, explored, settings, execution)
        failed = next((report for report in reports if report.failed), None)
        if failure is not None and failed is None:
            failed = reports[min(1, len(reports) - 1)]
            failed.outcome = "failed"
            failed.longrepr = (
                f"{type(failure.error).__name__}: {failure.error}\n"
                f"This was seen in run {failure.found_in_run}, but not when pytest ran the same schedule again."
            )
        if failed is not None and record["text"]:
            failed.sections.append((_TITLE, record["text"]))
        if any(report.failed for report in reports):
            record["outcome"] = "failed"
        elif any(report.skipped for report in reports):
            record["outcome"] = "skipped"
        if reports:
            setattr(reports[-1], _ATTRIBUTE, record)
        for report in reports:
            item.ihook.pytest_runtest_logreport(report=report)

    def _record(
        self, item: pytest.Function, explored: Explored, settings: ExploreSettings, execution: ItemExecution
    ) -> dict[str, Any]:
        done = explored.exploration
        failure = explored.failure
        found = failure or next(iter(done.notes), None)
        token = saved.token_for(item, found, settings.mode) if found is not None else None
        record: dict[str, Any] = {
            "nodeid": item.nodeid,
            "outcome": "passed",
            "verdict": done.verdict,
            "runs": done.runs,
            "found_in_run": found.found_in_run if found is not None else None,
            "seed": done.seed,
            "token": token,
            "label": found.label if found is not None else None,
            "sentence": None,
            "seconds": round(done.seconds, 4),
            "points": done.points,
            "orders": done.orders,
            "line": explored.reason or explored.replayed or render_summary_line(done),
            "text": "",
            "note": "",
        }
        if explored.reason:
            record["text"] = f"Not explored: {explored.reason}."
        if found is not None:
            command = f"pytest {shlex.quote(item.nodeid)} --interleave-replay={token}"
            found.explanation = explored.explanation
            record["sentence"] = sentence_of(found)
            if failure is not None:
                record["text"] = render_failure(found, done, replay_command=command)
                if explored.replayed:
                    record["text"] = f"{explored.replayed}\n\n{record['text']}"
            else:
                record["note"] = f"{item.nodeid}\n{render_note(found, done, replay_command=command)}"
        elif explored.replayed:
            record["text"] = explored.replayed
        return record

    # -- the session ---------------------------------------------------------------------------------------------

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        """Collect what came with the report."""
        record = getattr(report, _ATTRIBUTE, None)
        if record is not None:
            self._records.append(record)

    def pytest_sessionfinish(self, session: pytest.Session) -> None:
        """Write the JSON file."""
        if self.settings.json_path is None or hasattr(session.config, "workerinput"):
            return
        keys = ("nodeid", "outcome", "verdict", "runs", "found_in_run", "seed", "token", "label", "sentence", "seconds")
        tests = [{key: record[key] for key in keys} for record in self._records]
        path = Path(self.settings.json_path)
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(json.dumps({"tests": tests}, indent=1) + "\n")
        except OSError as error:
            raise pytest.UsageError(f"--interleave-json: cannot write {path}: {error.strerror}") from None

    def pytest_report_header(self) -> str | None:
        """Say what will be explored, and the seed that repeats it."""
        settings = self.settings
        if not settings.enabled or settings.replay is not None:
            return None
        seconds = "" if settings.seconds == float("inf") else f" or {settings.seconds:g} s"
        return f"interleave: {settings.mode}, up to {settings.runs} runs{seconds} a test, --interleave-seed={settings.seed}"

    def pytest_terminal_summary(self, terminalreporter: pytest.TerminalReporter) -> None:
        """Say what was explored."""
        records = self._records
        if not records:
            return
        write = terminalreporter.write_line
        terminalreporter.section("interleave", sep="=")
        explored = [record for record in records if record["points"]]
        shown = records if self.config.get_verbosity() > 0 else explored
        if len(shown) <= _MOST_LINES or self.config.get_verbosity() > 0:
            for record in shown:
                write(f"{record['nodeid']}: {record['line']}")
        for record in records:
            if record["note"]:
                write("")
                write(record["note"])
        write(_total(records, explored))


def _total(records: list[dict[str, Any]], explored: list[dict[str, Any]]) -> str:
    runs = sum(record["runs"] for record in records)
    seconds = sum(record["seconds"] for record in records)
    verdicts = [
        f"{count} {verdict}"
        for verdict in ("failed", "exhausted", "sampled", "inconclusive")
        if (count := sum(record["verdict"] == verdict for record in explored))
    ]
    quiet = len(records) - len(explored)
    parts = [f"{len(explored)} explored in {runs} runs, {seconds:.1f} s" + (f" ({', '.join(verdicts)})" if verdicts else "")]
    if quiet:
        parts.append(f"{quiet} had nothing to explore")
    return "; ".join(parts)
