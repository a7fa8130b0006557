"""Many callers at once: load on what a test calls, and proof that calls overlap."""

from pytest_interleave.traffic import arrivals

__all__ = ["arrivals"]
