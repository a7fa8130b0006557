"""Settings as plain values; who reads them from ini files and flags is the plugin."""

from __future__ import annotations

#: Which schedules count, from what asyncio's own loop does with late arrivals alone to any order of steps.
MODES = ("stock", "realistic", "portable", "permissive")
#: What recordings ask the real hosts for.
RECORD_MODES = ("none", "missing", "all")
