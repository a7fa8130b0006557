"""What can go wrong while measuring, told in one line each."""

from __future__ import annotations


class BenchmarkError(Exception):
    """The benchmarks cannot go on: a wrong option, a missing interpreter, an environment that will not build."""


class UnmeasuredError(Exception):
    """One subject has no figure. Its message becomes a note under the table, and the others go on."""
