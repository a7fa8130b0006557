"""From findings to the failure of a test: as values for other plugins and ``--pdb``, as text for people."""

from __future__ import annotations

from collections.abc import Sequence

import pytest

from pytest_interleave.detectors.findings import Finding, FindingError
from pytest_interleave.plugin.detecting.rendering import TITLE, render
from pytest_interleave.plugin.failures import raised_at, text_at


def add_failures(
    item: pytest.Item, call: pytest.CallInfo[None], report: pytest.TestReport, findings: Sequence[Finding]
) -> None:
    """Let the report of a phase fail with what was found; what the test failed with by itself goes first."""
    errors = [FindingError(finding, render(finding, item.config.rootpath)) for finding in findings]
    text = _text_of(errors)
    if report.passed:
        error = errors[0] if len(errors) == 1 else ExceptionGroup(_headline(findings), errors)
        where = next((finding.where for finding in findings if finding.where), None)
        call.excinfo = raised_at(error, where, item)
        report.outcome = "failed"
        report.longrepr = text_at(text, where, item)
    elif report.failed:
        report.sections.append((TITLE, text))
        if call.excinfo is not None and not _is_expected(item, call.excinfo.value):
            call.excinfo = _group_of(call.excinfo.value, errors)


def own_failure(call: pytest.CallInfo[None]) -> BaseException | None:
    """Return what the test failed with, without what was found beside it."""
    error = call.excinfo.value if call.excinfo is not None else None
    if isinstance(error, BaseExceptionGroup) and isinstance(error.exceptions[-1], FindingError):
        return error.exceptions[0]
    return error


def _group_of(own: BaseException, errors: Sequence[FindingError]) -> pytest.ExceptionInfo[BaseException]:
    """Return the test's own failure and what was found, as if raised where the test failed: ``--pdb`` stops there."""
    text = f"the test failed, and {_headline([error.finding for error in errors])}"
    group = BaseExceptionGroup(text, [own, *errors])
    return pytest.ExceptionInfo.from_exception(group.with_traceback(own.__traceback__))


def _is_expected(item: pytest.Item, own: BaseException) -> bool:
    """Whether pytest looks at the very exception, to tell an expected failure."""
    return isinstance(own, pytest.xfail.Exception) or item.get_closest_marker("xfail") is not None


def _text_of(errors: Sequence[FindingError]) -> str:
    if len(errors) == 1:
        return str(errors[0])
    numbered = (f"[{number}] {error}" for number, error in enumerate(errors, 1))
    return "\n".join([_headline([error.finding for error in errors]), *numbered])


def _headline(findings: Sequence[Finding]) -> str:
    names = ", ".join(dict.fromkeys(finding.detector for finding in findings))
    return f"{len(findings)} finding{'s' if len(findings) > 1 else ''}: {names}"
