"""Nothing of what the hundreds of runs of a test print, log, warn or leave to the garbage collector is heard.

The one run that pytest reports comes after, and is heard as ever.
"""

from __future__ import annotations

import gc
import logging
import math
import os
import sys
import threading
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, TextIO

import pytest

from pytest_interleave.plugin.garbage import is_frozen


class Silence:
    """``with silence: …`` around runs that nobody is to hear; ``with silence.lifted(): …`` inside, to say something."""

    def __init__(self, config: pytest.Config) -> None:
        self._config = config
        self._nowhere: TextIO | None = None
        self._saved_fds: list[tuple[int, int]] = []
        self._saved: list[tuple[Any, str, Any]] = []
        self._handlers: list[logging.Handler] = []
        self._catch: warnings.catch_warnings[Any] | None = None
        self._freezes: bool | None = None
        self._promotions = math.nan

    @property
    def is_on(self) -> bool:
        """Whether what happens now is one of many runs, which only the explorer looks at."""
        return self._catch is not None

    def __enter__(self) -> None:
        self._mute_output()
        plugin = self._config.pluginmanager.get_plugin("logging-plugin")
        for name in ("log_cli_handler", "log_file_handler"):
            handler = getattr(plugin, name, None)
            if handler is not None:
                handler.addFilter(_refuse)
                self._handlers.append(handler)
        self._catch = warnings.catch_warnings()
        self._catch.__enter__()
        warnings.showwarning = _drop
        self._replace(sys, "unraisablehook", _drop)
        self._replace(threading, "excepthook", _drop)
        # A breakpoint in the test is for the run that is reported.
        self._replace(sys, "breakpointhook", _drop)
        if "pdb" in sys.modules:
            self._replace(sys.modules["pdb"], "set_trace", _drop)
        # What the runs leave is collected here and not in the next test, which it would warn; without a look at
        # everything else that is alive.
        if self._freezes is None:
            self._freezes = not is_frozen()  # asked once a session: Python counts all that is frozen
        if self._freezes:
            gc.freeze()
        self._promotions = _promotions()

    def __exit__(self, *exc: object) -> None:
        gc.collect(1 if self._promotions == _promotions() else 2)
        if self._freezes:
            gc.unfreeze()
        while self._saved:
            owner, name, value = self._saved.pop()
            setattr(owner, name, value)
        if self._catch is not None:
            self._catch.__exit__(None, None, None)
            self._catch = None
        while self._handlers:
            self._handlers.pop().removeFilter(_refuse)
        self._unmute_output()
        capture: Any = self._config.pluginmanager.get_plugin("capturemanager")
        if capture is not None and capture.is_globally_capturing():
            capture.read_global_capture()  # handlers that were made with the captured stream write to it still

    @contextmanager
    def lifted(self) -> Iterator[None]:
        """Let output through."""
        streams = sys.stdout, sys.stderr
        self._unmute_output()
        try:
            yield
        finally:
            self._mute_output()
            sys.stdout, sys.stderr = streams

    def close(self) -> None:
        """Close the null device."""
        if self._nowhere is not None:
            self._nowhere.close()
            self._nowhere = None

    def _mute_output(self) -> None:
        nowhere = self._nowhere
        if nowhere is None or nowhere.closed:
            nowhere = self._nowhere = open(os.devnull, "w", encoding="utf-8", errors="replace")  # noqa: SIM115
        self._streams = sys.stdout, sys.stderr
        for number, stream in ((1, sys.stdout), (2, sys.stderr)):
            try:
                stream.flush()
                saved = os.dup(number)
                os.dup2(nowhere.fileno(), number)
            except (AttributeError, OSError, ValueError):
                continue  # closed, or there is none
            self._saved_fds.append((number, saved))
        sys.stdout = sys.stderr = nowhere

    def _unmute_output(self) -> None:
        if self._nowhere is not None and not self._nowhere.closed:
            self._nowhere.flush()
        while self._saved_fds:
            number, saved = self._saved_fds.pop()
            os.dup2(saved, number)
            os.close(saved)
        sys.stdout, sys.stderr = self._streams

    def _replace(self, owner: Any, name: str, value: Any) -> None:
        self._saved.append((owner, name, getattr(owner, name)))
        setattr(owner, name, value)


def _drop(*args: object, **kwargs: object) -> None:
    """Say nothing."""


def _refuse(record: logging.LogRecord) -> bool:
    return False


def _promotions() -> float:
    """Count how often the collector made all objects old; not a number, which equals none, where it does at once.

    What is made between two equal counts is not old yet, and a look at what is not old finds all garbage of that time.
    """
    if sys.version_info >= (3, 14):
        return math.nan
    _, middle, old = (generation["collections"] for generation in gc.get_stats())
    return float(middle + old)
