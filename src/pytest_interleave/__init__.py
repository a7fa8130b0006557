"""Run async tests under pytest, catch those that lie, and explore their interleavings in virtual time."""

from __future__ import annotations

__version__ = "0.1.0"
