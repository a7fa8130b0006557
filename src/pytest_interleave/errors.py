"""What can go wrong, as exceptions. User errors derive from ``Exception``; our own control flow never escapes."""

from __future__ import annotations


class InterleaveError(Exception):
    """Base class of every error that pytest-interleave raises at its user."""
