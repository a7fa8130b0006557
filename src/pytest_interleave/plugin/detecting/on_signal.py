"""``kill -USR1 PID`` prints who awaits what, while a test hangs and after."""

from __future__ import annotations

import os
import signal
import sys
import threading
from contextlib import suppress
from types import FrameType

from pytest_interleave.loop import own

NAME = "interleave-on-signal"


class OnSignal:
    """Answers SIGUSR1, where the process has no answer of its own to it."""

    def __init__(self) -> None:
        self._stderr: int | None = None

    def pytest_configure(self) -> None:
        """Begin to answer."""
        try:
            # What pytest captures would be shown after the test, which hangs. Nothing is captured now.
            self._stderr = os.dup(sys.__stderr__.fileno() if sys.__stderr__ is not None else 2)
        except (OSError, ValueError):  # it has no standard error
            return
        number = getattr(signal, "SIGUSR1", None)
        if number is None or threading.current_thread() is not threading.main_thread():
            return
        if signal.getsignal(number) is signal.SIG_DFL:
            signal.signal(number, self._print)
            own.handlers.append(self._print)

    def pytest_unconfigure(self) -> None:
        """Leave the signal as it was."""
        if self._stderr is None:
            return
        if self._print in own.handlers:
            if signal.getsignal(signal.SIGUSR1) == self._print:
                signal.signal(signal.SIGUSR1, signal.SIG_DFL)
            own.handlers.remove(self._print)
        os.close(self._stderr)
        self._stderr = None

    def tell(self, text: str) -> None:
        """Write that to the standard error of the process now, from any thread."""
        if self._stderr is not None:
            with suppress(OSError):
                os.write(self._stderr, f"\n{text}\n".encode(errors="replace"))

    def _print(self, number: int, frame: FrameType | None) -> None:
        from pytest_interleave.plugin.detecting.tasks import describe_tasks

        self.tell(describe_tasks(frame))
