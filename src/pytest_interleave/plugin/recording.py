"""``--interleave-record``: what recordings ask the real hosts for in this session, and what was written.

Registered only where the flag is given.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from pytest_interleave.settings import RECORD_MODES

_ATTRIBUTE = "interleave_recorded"


def add_options(parser: pytest.Parser) -> None:
    """Register the flag. There is no ini key: what asks real hosts is said each time."""
    parser.getgroup("interleave").addoption(
        "--interleave-record",
        metavar="WHAT",
        default=None,
        help="let recordings ask the real hosts for all, for what is missing, or for none (default)",
    )


def is_recording(config: pytest.Config) -> bool:
    """Whether real hosts may be asked, or raise a one-line UsageError."""
    value = config.getoption("interleave_record")
    if value is not None and value not in RECORD_MODES:
        raise pytest.UsageError(
            f"{value!r} is not a valid --interleave-record. Valid values: {', '.join(RECORD_MODES)}."
        )
    return value in ("missing", "all")


class RecordingSession:
    """Lets recordings ask the real hosts, and says in the end what they wrote."""

    def __init__(self, config: pytest.Config) -> None:
        from pytest_interleave.net import recording

        self._mode: str = config.getoption("interleave_record")
        self._root = config.rootpath
        self._written: dict[Path, int] = {}
        self._recording = recording
        self._mode_before = recording.default_mode
        recording.default_mode = self._mode
        recording.written.clear()

    @pytest.hookimpl(trylast=True)
    def pytest_unconfigure(self) -> None:
        """Ask nobody any longer."""
        self._recording.default_mode = self._mode_before

    def pytest_report_header(self) -> str:
        """Say what this session is for."""
        return f"interleave: recording {self._mode}; async tests with `hosts` run once, in real time"

    @pytest.hookimpl(wrapper=True, trylast=True)  # before xdist sends off what a worker has to say
    def pytest_sessionfinish(self, session: pytest.Session) -> Iterator[None]:
        """Take what was written, or send it to xdist's controller."""
        result = yield
        written = {os.fspath(path): count for path, count in self._recording.written.items()}
        if hasattr(session.config, "workerinput"):
            session.config.workeroutput[_ATTRIBUTE] = written  # type: ignore[attr-defined]
        else:
            self._add(written)
        return result

    @pytest.hookimpl(optionalhook=True)
    def pytest_testnodedown(self, node: Any) -> None:
        """Take what one of xdist's workers wrote."""
        self._add(getattr(node, "workeroutput", {}).get(_ATTRIBUTE, {}))

    def _add(self, written: dict[str, int]) -> None:
        for name, count in written.items():
            path = Path(name)
            self._written[path] = self._written.get(path, 0) + count

    def pytest_terminal_summary(self, terminalreporter: pytest.TerminalReporter) -> None:
        """List the files."""
        if not self._written:
            terminalreporter.write_line("interleave: nothing was recorded")
            return
        for path, count in sorted(self._written.items()):
            shown = path.relative_to(self._root) if path.is_relative_to(self._root) else path
            exchanges = "1 exchange" if count == 1 else f"{count} exchanges"
            terminalreporter.write_line(
                f"interleave: recorded {exchanges} in {shown}; look for secrets before you commit"
            )
