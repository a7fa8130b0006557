"""Tell a test that failed on a bare 500 which exception the server's handler raised, and where.

Servers log it, and answer 500. What they log is taken at the logger, so it does not matter who started the server.
"""

from __future__ import annotations

import importlib.util
import logging
import traceback
from collections.abc import Callable, Sequence
from pathlib import Path
from types import CodeType

import pytest

from pytest_interleave.loop.requests import request_of
from pytest_interleave.origins import rank

#: Where a server logs what a handler raised, by the package it is of.
_LOGGERS = {"aiohttp": "aiohttp.server", "uvicorn": "uvicorn.error"}
#: A test that sends a hundred requests needs no hundred reasons.
_MOST = 3


class HandlerFailures:
    """Remembers what handlers raised in the test whose turn it is.

    It listens as a filter of the loggers that lets everything pass: a handler is lost when uvicorn configures logging.
    """

    def __init__(self, item_now: Callable[[], pytest.Item | None], root: Path) -> None:
        self._item_now = item_now
        self._root = root
        self._item: pytest.Item | None = None
        self._notes: list[tuple[str, tuple[tuple[CodeType, int], ...]]] = []
        # pytest looks at every logger that there is, six times a test: none shall be made for nothing.
        self._loggers = [name for package, name in _LOGGERS.items() if importlib.util.find_spec(package) is not None]

    def install(self) -> None:
        """Listen."""
        for name in self._loggers:
            logging.getLogger(name).addFilter(self)

    def uninstall(self) -> None:
        """Listen no longer."""
        for name in self._loggers:
            logging.getLogger(name).removeFilter(self)

    def filter(self, record: logging.LogRecord) -> bool:
        """Take what a server logs about a handler."""
        error = record.exc_info[1] if record.exc_info else None
        if error is not None:
            what = "".join(traceback.format_exception_only(error)).strip()
            frames = [(frame.f_code, line) for frame, line in traceback.walk_tb(error.__traceback__)]
            self.note(f"{_request_of(error)}the server's handler raised {what}", frames)
        return True

    def note(self, text: str, frames: Sequence[tuple[CodeType, int]] = ()) -> None:
        """Remember something that a failure of this test should tell, and where it came up."""
        item = self._item_now()
        if item is None:
            return
        if item is not self._item:
            self._item, self._notes = item, []
        # Whose code it is, is found out when somebody asks: that may read files, and a loop runs now.
        note = text, tuple(frames)
        if note not in self._notes:
            self._notes.append(note)

    def explain(self, item: pytest.Item, error: BaseException) -> None:
        """Add to a failure what was remembered, a line each."""
        if item is not self._item:
            return
        notes, self._notes = self._notes, []
        for text, frames in notes[:_MOST]:
            error.add_note(text + self._place_in(frames))
        if len(notes) > _MOST:
            error.add_note(f"and {len(notes) - _MOST} more of this kind")

    def _place_in(self, frames: Sequence[tuple[CodeType, int]]) -> str:
        for code, line in reversed(frames):
            path = code.co_filename
            if rank(path) == 2:
                shown = Path(path).relative_to(self._root) if Path(path).is_relative_to(self._root) else path
                return f"  ({shown}:{line} in {code.co_qualname})"
        return ""


def _request_of(error: BaseException) -> str:
    """Return method and path of the request that was handled, as the first frame that knows it calls it."""
    for frame, _ in traceback.walk_tb(error.__traceback__):
        request = request_of(frame.f_locals)
        if request:
            return f"{request}: "
    return ""
