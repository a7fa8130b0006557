"""What of the process is ours, and wakes no loop. Imports nothing: suites without async tests pay for it too."""

from __future__ import annotations

from typing import Any

#: The system's numbers of threads of ours.
threads: set[str] = set()
#: Handlers of signals that are ours.
handlers: list[Any] = []
