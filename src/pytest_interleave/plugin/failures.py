"""Failures that nothing raised: what a detector found, a deadlock, what was seen in another run.

pytest prints a text that stands in place of an exception twice, whole: for the failure, and in its short summary. So it
gets these texts as if they were an exception's, with their first line as what happened and with a place: for the
summary, for editors that jump there, for services that note failures beside the code, and for ``--pdb``.
"""

from __future__ import annotations

from typing import Any

import pytest
from _pytest.pathlib import bestrelpath


def raised_at(error: BaseException, where: str | None, item: pytest.Item) -> pytest.ExceptionInfo[BaseException]:
    """Return the error as if that line (``path:line``) had raised it, or else the first one of the test."""
    path, _, line = (where or place_of(item)).rpartition(":")
    if not line.isdecimal():
        path, _, line = place_of(item).rpartition(":")
    code = compile("\n" * (int(line) - 1) + "raise finding", item.config.rootpath / path, "exec")
    try:
        exec(code, {"finding": error})
    except BaseException as raised:
        found = raised.__traceback__
        return pytest.ExceptionInfo.from_exception(raised.with_traceback(found and found.tb_next))
    raise AssertionError("unreachable")


def text_at(text: str, where: str | None, item: pytest.Item) -> Any:
    """Return what a report has of a failure with this text: whole, and with its first line for the summary."""
    told = raised_at(pytest.fail.Exception(text, pytrace=False), where, item).getrepr(style="value")
    assert told.reprcrash is not None
    told.reprcrash.message = text.partition("\n")[0]
    return told


def place_of(item: pytest.Item) -> str:
    """Return where the test begins, as ``path:line``."""
    path, line, _ = item.location
    return f"{item.config.rootpath / path}:{(line or 0) + 1}"


def argument_of(item: pytest.Item) -> str:
    """Return what stands for the test in a command, in the folder where pytest was started: not always its root."""
    _, colons, name = item.nodeid.partition("::")
    return f"{bestrelpath(item.config.invocation_params.dir, item.path)}{colons}{name}"
